//! In: `gather_subset` as a task writes it, or the name of a fact. Out: the parts of the script that are needed.

use crate::error::ModuleError;

macro_rules! subsets {
    ($($variant:ident $name:literal,)*) => {
        /// A part of the facts that can be gathered alone.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Subset { $($variant,)* }
        impl Subset {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

subsets! {
    Apparmor "apparmor", Caps "caps", Cmdline "cmdline", DateTime "date_time", Distribution "distribution", Dns "dns",
    Env "env", Fips "fips", Local "local", Lsb "lsb", PkgMgr "pkg_mgr", Platform "platform", Python "python",
    Selinux "selinux", ServiceMgr "service_mgr", SshPubKeys "ssh_pub_keys", User "user", Chroot "chroot",
    Loadavg "loadavg", Processor "processor", Memory "memory", Mounts "mounts", Devices "devices", Dmi "dmi",
    Uptime "uptime", Network "network", Virtual "virtual",
}

/// As many of [`Subset::ALL`] as Ansible gathers always, unless a task says `!min`.
const MINIMAL: usize = 17;
const HARDWARE: &[Subset] = &[
    Subset::Processor,
    Subset::Memory,
    Subset::Mounts,
    Subset::Devices,
    Subset::Dmi,
    Subset::Uptime,
];

/// Facts whose names are names of subsets as well.
const FACTS: &[&str] = &[
    "architecture",
    "distribution_major_version",
    "distribution_release",
    "distribution_version",
    "effective_group_ids",
    "effective_user_id",
    "kernel_version",
    "machine_id",
    "os_family",
    "processor_cores",
    "processor_count",
    "python_version",
    "real_user_id",
    "ssh_host_key_dsa_public",
    "ssh_host_key_ecdsa_public",
    "ssh_host_key_ed25519_public",
    "ssh_host_key_rsa_public",
    "system_capabilities",
    "system_capabilities_enforced",
    "user_dir",
    "user_gecos",
    "user_gid",
    "user_id",
    "user_shell",
    "user_uid",
    "virtualization_tech_guest",
    "virtualization_tech_host",
];

fn meant(name: &str) -> Option<Vec<Subset>> {
    Some(match name {
        "all" => Subset::ALL.to_vec(),
        "min" => Subset::ALL[..MINIMAL].to_vec(),
        "hardware" => HARDWARE.to_vec(),
        "virtualization_type" | "virtualization_role" => vec![Subset::Virtual],
        "interfaces" | "default_ipv4" | "default_ipv6" | "all_ipv4_addresses"
        | "all_ipv6_addresses" => vec![Subset::Network],
        "fibre_channel_wwn" => vec![Subset::Devices],
        "facter" | "ohai" | "systemd" => Vec::new(),
        "is_chroot" => vec![Subset::Chroot],
        "ssh_host_pub_keys" => vec![Subset::SshPubKeys],
        "nvme" | "iscsi" | "system" | "kernel" | "machine" | "platform_machine" => {
            vec![Subset::Platform]
        }
        "pkg_mgr" => vec![Subset::PkgMgr],
        _ => Subset::ALL
            .iter()
            .copied()
            .filter(|subset| subset.name() == name)
            .chain(of_fact(name).filter(|_| FACTS.contains(&name)))
            .collect::<Vec<_>>(),
    })
    .filter(|found| !found.is_empty() || matches!(name, "facter" | "ohai" | "systemd"))
}

/// The subsets that a `gather_subset` asks for, by Ansible's rules: `min` unless `!min`, all when nothing is named, and
/// what is named wins over `!all`.
pub fn wanted(gather_subset: &[String]) -> Result<Vec<Subset>, ModuleError> {
    let (mut added, mut named, mut excluded) = (Vec::new(), Vec::new(), Vec::new());
    let mut minimal = true;
    let mut any_added = false;
    for word in gather_subset {
        let (is_excluded, name) = match word.trim().strip_prefix('!') {
            Some(name) => (true, name),
            None => (false, word.trim()),
        };
        let subsets = meant(name).ok_or_else(|| {
            let names: Vec<&str> = Subset::ALL.iter().map(|subset| subset.name()).collect();
            ModuleError::argument("gather_subset", format!("`{name}` is no subset of facts")).hint(
                format!("subsets are all, min, hardware, {}", names.join(", ")),
            )
        })?;
        match (is_excluded, name) {
            (true, "min") => minimal = false,
            (true, "all") => excluded.extend_from_slice(Subset::ALL),
            (true, _) => excluded.extend(subsets),
            (false, "all") => {
                any_added = true;
                added.extend(subsets);
            }
            (false, _) => {
                any_added = true;
                named.extend(subsets);
            }
        }
    }
    if !any_added {
        added.extend_from_slice(Subset::ALL);
    }
    let kept = |subset: &Subset| {
        let index = Subset::ALL.iter().position(|other| other == subset);
        let is_minimal = index.is_some_and(|index| index < MINIMAL);
        let by_all = gather_subset.iter().any(|word| word.trim() == "!all");
        let is_named_out = gather_subset
            .iter()
            .filter_map(|word| word.trim().strip_prefix('!'))
            .any(|name| {
                name != "all" && name != "min" && meant(name).is_some_and(|of| of.contains(subset))
            });
        if named.contains(subset) {
            return true;
        }
        if is_named_out {
            return false;
        }
        if is_minimal {
            return minimal;
        }
        added.contains(subset) && !(by_all && excluded.contains(subset))
    };
    Ok(Subset::ALL.iter().copied().filter(kept).collect())
}

/// The subset that has a fact, by its name with or without `ansible_`. `None` when no subset has such a name for sure:
/// then the name may be an interface's, and network facts are needed to know.
pub fn of_fact(name: &str) -> Option<Subset> {
    let name = name.strip_prefix("ansible_").unwrap_or(name);
    Some(match name {
        "apparmor" => Subset::Apparmor,
        "system_capabilities" | "system_capabilities_enforced" => Subset::Caps,
        "cmdline" | "proc_cmdline" => Subset::Cmdline,
        "date_time" => Subset::DateTime,
        "os_family" => Subset::Distribution,
        "dns" => Subset::Dns,
        "env" => Subset::Env,
        "fips" => Subset::Fips,
        "local" => Subset::Local,
        "lsb" => Subset::Lsb,
        "pkg_mgr" => Subset::PkgMgr,
        "system"
        | "kernel"
        | "kernel_version"
        | "machine"
        | "nodename"
        | "hostname"
        | "fqdn"
        | "domain"
        | "architecture"
        | "userspace_bits"
        | "userspace_architecture"
        | "machine_id"
        | "iscsi_iqn"
        | "hostnqn" => Subset::Platform,
        "python" | "python_version" => Subset::Python,
        "selinux" | "selinux_python_present" => Subset::Selinux,
        "service_mgr" => Subset::ServiceMgr,
        "effective_user_id"
        | "effective_group_id"
        | "effective_group_ids"
        | "real_user_id"
        | "real_group_id" => Subset::User,
        "is_chroot" => Subset::Chroot,
        "loadavg" => Subset::Loadavg,
        "flags" => Subset::Processor,
        "mounts" => Subset::Mounts,
        "devices" | "device_links" | "fibre_channel_wwn" | "lvm" => Subset::Devices,
        "uptime_seconds" => Subset::Uptime,
        "system_vendor" | "form_factor" => Subset::Dmi,
        "interfaces"
        | "default_ipv4"
        | "default_ipv6"
        | "all_ipv4_addresses"
        | "all_ipv6_addresses"
        | "locally_reachable_ips" => Subset::Network,
        _ => {
            let starts: &[(&str, Subset)] = &[
                ("distribution", Subset::Distribution),
                ("ssh_host_key_", Subset::SshPubKeys),
                ("user_", Subset::User),
                ("processor", Subset::Processor),
                ("mem", Subset::Memory),
                ("swap", Subset::Memory),
                ("bios_", Subset::Dmi),
                ("board_", Subset::Dmi),
                ("chassis_", Subset::Dmi),
                ("product_", Subset::Dmi),
                ("virtualization_", Subset::Virtual),
            ];
            return starts
                .iter()
                .find(|(start, _)| name.starts_with(start))
                .map(|(_, subset)| *subset);
        }
    })
}

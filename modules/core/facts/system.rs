//! In: files of `/etc`, `uname`, `id`, `date`. Out: what the system is, who the user is, what time it is there.

use serde_json::{Map, Value, json};

use super::{Facts, Sources, Subset, put};

pub(super) fn facts(subset: Subset, sources: &Sources, facts: &mut Facts) {
    match subset {
        Subset::Platform => platform(sources, facts),
        Subset::Distribution => distribution(sources, facts),
        Subset::DateTime => put(facts, "date_time", date_time(sources.first("date"))),
        Subset::Env => {
            let pairs = sources.text("env").lines().filter_map(|line| {
                let (name, value) = line.split_once('=')?;
                Some((name.to_owned(), json!(value.replace('\u{1}', "\n"))))
            });
            put(facts, "env", pairs.collect::<Map<_, _>>());
        }
        Subset::User => user(sources, facts),
        Subset::Lsb => put(facts, "lsb", lsb(sources)),
        Subset::Cmdline => {
            put(facts, "cmdline", cmdline(sources.text("cmdline"), false));
            put(
                facts,
                "proc_cmdline",
                cmdline(sources.text("cmdline"), true),
            );
        }
        Subset::Dns => put(facts, "dns", dns(sources)),
        Subset::Fips => put(facts, "fips", sources.first("fips") == "1"),
        Subset::Apparmor => {
            let status = if sources.first("apparmor") == "enabled" {
                "enabled"
            } else {
                "disabled"
            };
            put(facts, "apparmor", json!({"status": status}));
        }
        Subset::Selinux => {
            put(facts, "selinux", selinux(sources));
            put(facts, "selinux_python_present", true);
        }
        Subset::Caps => caps(sources, facts),
        Subset::Loadavg => {
            let numbers = sources
                .first("loadavg")
                .split(' ')
                .filter_map(|text| text.parse::<f64>().ok());
            let pairs = ["1m", "5m", "15m"].into_iter().zip(numbers);
            let value: Map<String, Value> = pairs
                .map(|(name, load)| (name.to_owned(), json!(load)))
                .collect();
            put(facts, "loadavg", value);
        }
        Subset::Chroot => {
            let roots: Vec<&str> = sources.lines("chroot").collect();
            put(
                facts,
                "is_chroot",
                matches!(roots[..], [own, first] if own != first),
            );
        }
        Subset::PkgMgr => put(facts, "pkg_mgr", pkg_mgr(sources)),
        Subset::ServiceMgr => put(facts, "service_mgr", service_mgr(sources)),
        Subset::SshPubKeys => {
            for kind in ["dsa", "rsa", "ecdsa", "ed25519"] {
                let mut words = sources.first(&format!("ssh-{kind}")).split_whitespace();
                if let (Some(keytype), Some(key)) = (words.next(), words.next()) {
                    put(facts, &format!("ssh_host_key_{kind}_public"), key);
                    put(
                        facts,
                        &format!("ssh_host_key_{kind}_public_keytype"),
                        keytype,
                    );
                }
            }
        }
        _ => python(sources, facts),
    }
}

fn platform(sources: &Sources, facts: &mut Facts) {
    let uname: Vec<&str> = sources.lines("uname").collect();
    if let [system, node, kernel, version, machine] = uname[..] {
        put(facts, "system", system);
        put(facts, "nodename", node);
        put(facts, "kernel", kernel);
        put(facts, "kernel_version", version);
        put(facts, "machine", machine);
        let hostname = node.split('.').next().unwrap_or_default();
        put(facts, "hostname", hostname);
        let bits = match sources.first("bits") {
            "" if machine.contains("64") || machine == "s390x" => "64",
            "" => "32",
            bits => bits,
        };
        put(facts, "userspace_bits", bits);
        let is_x86 = machine == "x86_64" || (machine.starts_with('i') && machine.ends_with("86"));
        let (own, space) = match (is_x86, bits) {
            (true, "32") => (
                if machine == "x86_64" {
                    "x86_64"
                } else {
                    "i386"
                },
                "i386",
            ),
            (true, _) => ("x86_64", "x86_64"),
            _ => (machine, machine),
        };
        put(facts, "architecture", own);
        put(facts, "userspace_architecture", space);
        // As `socket.getfqdn`: the first name with a dot among those of the address, else its first name.
        let names: Vec<&str> = sources.first("getent").split_whitespace().skip(1).collect();
        let fqdn = names
            .iter()
            .find(|name| name.contains('.'))
            .or(names.first())
            .unwrap_or(&node);
        put(facts, "fqdn", *fqdn);
        put(
            facts,
            "domain",
            fqdn.split_once('.').map_or("", |(_, domain)| domain),
        );
    }
    if sources.get("machine-id").is_some() {
        put(facts, "machine_id", sources.first("machine-id"));
    }
    let iscsi = sources
        .lines("iscsi")
        .find_map(|line| line.strip_prefix("InitiatorName="));
    put(facts, "iscsi_iqn", iscsi.unwrap_or_default());
    put(facts, "hostnqn", sources.first("hostnqn"));
}

/// `ID` of os-release, Ansible's name of it, its family.
const SYSTEMS: &[(&str, &str, &str)] = &[
    ("debian", "Debian", "Debian"),
    ("ubuntu", "Ubuntu", "Debian"),
    ("raspbian", "Debian", "Debian"),
    ("linuxmint", "Linux Mint", "Debian"),
    ("kali", "Kali", "Debian"),
    ("pop", "Pop!_OS", "Debian"),
    ("devuan", "Devuan", "Debian"),
    ("rhel", "RedHat", "RedHat"),
    ("rhcos", "RedHat", "RedHat"),
    ("centos", "CentOS", "RedHat"),
    ("scos", "CentOS", "RedHat"),
    ("fedora", "Fedora", "RedHat"),
    ("rocky", "Rocky", "RedHat"),
    ("almalinux", "AlmaLinux", "RedHat"),
    ("ol", "OracleLinux", "RedHat"),
    ("amzn", "Amazon", "RedHat"),
    ("virtuozzo", "Virtuozzo", "RedHat"),
    ("openEuler", "openEuler", "RedHat"),
    ("alpine", "Alpine", "Alpine"),
    ("opensuse-leap", "openSUSE Leap", "Suse"),
    ("opensuse-tumbleweed", "openSUSE Tumbleweed", "Suse"),
    ("sles", "SLES", "Suse"),
    ("sles_sap", "SLES_SAP", "Suse"),
    ("arch", "Archlinux", "Archlinux"),
    ("manjaro", "Manjaro", "Archlinux"),
    ("gentoo", "Gentoo", "Gentoo"),
    ("flatcar", "Flatcar", "Flatcar"),
    (
        "mariner",
        "Common Base Linux Mariner",
        "Common Base Linux Mariner",
    ),
    ("void", "Void", "Void"),
];

fn release<'a>(sources: &'a Sources, key: &str) -> &'a str {
    sources
        .lines("os-release")
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| *name == key)
        .map_or("", |(_, value)| value.trim_matches(['"', '\'']))
}

fn distribution(sources: &Sources, facts: &mut Facts) {
    let id = release(sources, "ID");
    let known = SYSTEMS.iter().find(|(own, _, _)| *own == id);
    let like = release(sources, "ID_LIKE");
    let like = || {
        like.split_whitespace()
            .find_map(|like| SYSTEMS.iter().find(|(own, _, _)| *own == like))
    };
    let name = known.map_or_else(|| release(sources, "NAME"), |(_, name, _)| name);
    let name = if name.is_empty() {
        sources.lines("uname").next().unwrap_or("Linux")
    } else {
        name
    };
    let family = known.or_else(like).map_or(name, |(_, _, family)| family);
    let mut version = release(sources, "VERSION_ID");
    let numbered =
        |text: &str| text.starts_with(|first: char| first.is_ascii_digit()) && text.contains('.');
    // os-release of these has the major version only.
    if id == "debian" && numbered(sources.first("debian_version")) {
        version = sources.first("debian_version");
    }
    let red_hat = sources.first("redhat-release");
    let in_parens = red_hat
        .rsplit_once('(')
        .map(|(_, rest)| rest.trim_end_matches(')'));
    let codename = match release(sources, "VERSION_CODENAME") {
        "" => in_parens.unwrap_or(""),
        codename => codename,
    };
    let (file, variety) = match family {
        "RedHat" if !red_hat.is_empty() => ("/etc/redhat-release", "RedHat"),
        "Alpine" => ("/etc/alpine-release", "Alpine"),
        "Suse" => ("/etc/os-release", "SUSE"),
        "Debian" => ("/etc/os-release", "Debian"),
        _ => ("/etc/os-release", "NA"),
    };
    let (major, minor) = version.split_once('.').unwrap_or((version, ""));
    put(facts, "distribution", name);
    put(facts, "os_family", family);
    put(
        facts,
        "distribution_version",
        if version.is_empty() { "NA" } else { version },
    );
    put(
        facts,
        "distribution_major_version",
        if major.is_empty() { "NA" } else { major },
    );
    if id == "debian" && !minor.is_empty() {
        put(facts, "distribution_minor_version", minor);
    }
    put(
        facts,
        "distribution_release",
        if codename.is_empty() { "NA" } else { codename },
    );
    put(facts, "distribution_file_parsed", true);
    put(facts, "distribution_file_path", file);
    put(facts, "distribution_file_variety", variety);
}

fn date_time(line: &str) -> Value {
    let fields: Vec<&str> = line.split('|').collect();
    let [
        year,
        month,
        day,
        hour,
        minute,
        second,
        epoch,
        tz,
        offset,
        weekday,
        number,
        week,
        nanos,
    ] = fields[..]
    else {
        return json!({});
    };
    let seconds = epoch.parse::<i64>().unwrap_or_default();
    let utc = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    // busybox prints what it does not know as it stands.
    let micros = if nanos.len() == 9 && nanos.bytes().all(|byte| byte.is_ascii_digit()) {
        &nanos[..6]
    } else {
        "000000"
    };
    let local = format!("{year}{month}{day}T{hour}{minute}{second}");
    json!({
        "year": year, "month": month, "day": day, "hour": hour, "minute": minute, "second": second, "epoch": epoch,
        "epoch_int": epoch, "date": format!("{year}-{month}-{day}"), "time": format!("{hour}:{minute}:{second}"),
        "tz": tz, "tz_dst": tz, "tz_offset": offset, "weekday": weekday, "weekday_number": number, "weeknumber": week,
        "iso8601": utc.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "iso8601_micro": format!("{}.{micros}Z", utc.strftime("%Y-%m-%dT%H:%M:%S")),
        "iso8601_basic": format!("{local}{micros}"), "iso8601_basic_short": local,
    })
}

fn user(sources: &Sources, facts: &mut Facts) {
    let ids = sources
        .lines("user")
        .filter_map(|line| line.parse::<u32>().ok());
    let names = [
        "effective_user_id",
        "real_user_id",
        "effective_group_id",
        "real_group_id",
    ];
    for (name, id) in names.into_iter().zip(ids) {
        put(facts, name, id);
    }
    let fields: Vec<&str> = sources.first("passwd").split(':').collect();
    if let [name, _, uid, gid, gecos, dir, shell] = fields[..] {
        put(facts, "user_id", name);
        put(facts, "user_uid", uid.parse::<u32>().unwrap_or_default());
        put(facts, "user_gid", gid.parse::<u32>().unwrap_or_default());
        put(facts, "user_gecos", gecos);
        put(facts, "user_dir", dir);
        put(facts, "user_shell", shell);
    }
}

fn lsb(sources: &Sources) -> Map<String, Value> {
    let mut all = Map::new();
    let said = sources.lines("lsb").filter_map(|line| line.split_once(':'));
    let filed = sources
        .lines("lsb-file")
        .filter_map(|line| line.split_once('='));
    for (key, value) in said.chain(filed) {
        let value = value.trim().trim_matches('"');
        let name = match key {
            "Distributor ID" | "DISTRIB_ID" => "id",
            "Description" | "DISTRIB_DESCRIPTION" => "description",
            "Release" | "DISTRIB_RELEASE" => "release",
            "Codename" | "DISTRIB_CODENAME" => "codename",
            _ => continue,
        };
        if name == "release" {
            let major = value.split('.').next().unwrap_or_default();
            all.insert("major_release".to_owned(), json!(major));
        }
        all.insert(name.to_owned(), json!(value));
    }
    all
}

/// With `all`, a word that comes more than once is a list; else the last one counts.
fn cmdline(text: &str, all: bool) -> Map<String, Value> {
    let mut words = Map::new();
    for word in shlex::split(text).unwrap_or_default() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), json!(value)),
            None => (word, json!(true)),
        };
        match words.get_mut(&name) {
            Some(Value::Array(list)) if all => list.push(value),
            Some(before) if all && value != json!(true) => *before = json!([before.clone(), value]),
            _ => {
                words.insert(name, value);
            }
        }
    }
    words
}

fn dns(sources: &Sources) -> Value {
    let mut dns = json!({});
    for line in sources.lines("resolv") {
        let mut words = line.split_whitespace();
        let (Some(key), rest) = (words.next(), words.collect::<Vec<_>>()) else {
            continue;
        };
        match key {
            "nameserver" => {
                let mut all = dns["nameservers"].as_array().cloned().unwrap_or_default();
                all.extend(rest.iter().map(|word| json!(word)));
                dns["nameservers"] = json!(all);
            }
            "domain" => dns["domain"] = json!(rest.first()),
            "search" | "sortlist" => dns[key] = json!(rest),
            "options" => {
                let options = rest.iter().map(|option| match option.split_once(':') {
                    Some((name, value)) => (name.to_owned(), json!(value)),
                    None => ((*option).to_owned(), json!(true)),
                });
                dns["options"] = Value::Object(options.collect());
            }
            _ => {}
        }
    }
    dns
}

fn selinux(sources: &Sources) -> Value {
    let lines: Vec<&str> = sources.lines("selinux").collect();
    let (Some(mode), config) = (lines.first(), &lines[..]) else {
        return json!({"status": "disabled"});
    };
    let said = |key: &str| {
        config
            .iter()
            .find_map(|line| line.strip_prefix(key))
            .unwrap_or("unknown")
    };
    let policy = lines
        .get(1)
        .filter(|line| !line.contains('='))
        .map_or(json!("unknown"), |line| {
            line.parse::<u32>()
                .map_or(json!(line), |number| json!(number))
        });
    json!({
        "status": "enabled", "mode": if *mode == "1" { "enforcing" } else { "permissive" }, "policyvers": policy,
        "config_mode": said("SELINUX="), "type": said("SELINUXTYPE="),
    })
}

fn caps(sources: &Sources, facts: &mut Facts) {
    let current = sources
        .lines("caps")
        .find_map(|line| line.strip_prefix("Current:"));
    let (enforced, list) = match current.map(str::trim) {
        None => (json!("N/A"), json!("N/A")),
        Some("=ep") => (json!("False"), json!([])),
        Some(text) => {
            let list = text.split('=').nth(1).unwrap_or_default();
            (
                json!("True"),
                json!(list.split(',').map(str::trim).collect::<Vec<_>>()),
            )
        }
    };
    put(facts, "system_capabilities_enforced", enforced);
    put(facts, "system_capabilities", list);
}

fn pkg_mgr(sources: &Sources) -> &'static str {
    let has = |name: &str| {
        sources
            .lines("pkg_mgr")
            .any(|line| line.rsplit('/').next() == Some(name))
    };
    let dnf = if has("dnf5") && !has("dnf-3") {
        "dnf5"
    } else {
        "dnf"
    };
    // A system with dnf may have apt to build foreign packages, and the other way round: the family decides.
    let is_debian = has("apt-get") && sources.text("os-release").contains("debian");
    if has("ostree") && !has("dnf") && !has("apt-get") {
        return "atomic_container";
    }
    match () {
        () if is_debian => "apt",
        () if has("dnf5") || has("dnf-3") || has("dnf") || has("microdnf") => dnf,
        () if has("yum") => "yum",
        () if has("apt-get") => "apt",
        () if has("zypper") => "zypper",
        () if has("pacman") => "pacman",
        () if has("apk") => "apk",
        () if has("emerge") => "portage",
        () => "unknown",
    }
}

fn service_mgr(sources: &Sources) -> String {
    let lines: Vec<&str> = sources.lines("service_mgr").collect();
    let has = |word: &str| lines.contains(&word);
    let first = lines.first().filter(|line| !line.starts_with('+'));
    let first = first
        .and_then(|line| line.rsplit('/').next())
        .unwrap_or_default();
    let is_init = first.is_empty() || first == "init" || first.ends_with("sh");
    let name = match first {
        "procd" => "openwrt_init",
        "runit-init" => "runit",
        "svscan" => "svc",
        "openrc-init" => "openrc",
        name if !is_init => name,
        _ if has("+systemd") => "systemd",
        _ if has("+upstart") => "upstart",
        _ if has("+openrc") => "openrc",
        _ if lines.iter().any(|line| line.ends_with("/systemd")) => "systemd",
        _ if has("+sysvinit") => "sysvinit",
        _ => "service",
    };
    name.to_owned()
}

fn python(sources: &Sources, facts: &mut Facts) {
    let lines: Vec<&str> = sources.lines("python").collect();
    let [executable, version] = lines[..] else {
        return;
    };
    let words: Vec<&str> = version.split(' ').collect();
    let [major, minor, micro, level, serial] = words[..] else {
        return;
    };
    let number = |text: &str| text.parse::<u32>().unwrap_or_default();
    put(facts, "python_version", format!("{major}.{minor}.{micro}"));
    put(
        facts,
        "python",
        json!({
            "executable": executable, "type": "cpython", "has_sslcontext": true,
            "version": {"major": number(major), "minor": number(minor), "micro": number(micro), "releaselevel": level, "serial": number(serial)},
            "version_info": [number(major), number(minor), number(micro), level, number(serial)],
        }),
    );
}

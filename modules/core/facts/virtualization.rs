//! In: what the kernel, DMI and the first process show. Out: what the host runs in, and what it can run.

use std::collections::BTreeSet;

use super::{Facts, Sources, put};

pub(super) fn facts(sources: &Sources, facts: &mut Facts) {
    // The first that is found names the type, as in Ansible; all that are found are listed.
    let mut guests: Vec<&str> = Vec::new();
    let mut hosts: Vec<&str> = Vec::new();
    let has = |path: &str| sources.lines("virt").any(|line| line == path);
    let cgroup = sources.text("cgroup1");
    if has("/.dockerenv")
        || has("/.dockerinit")
        || cgroup.contains("/docker/")
        || cgroup.contains("/docker-")
    {
        guests.extend(["docker", "container"]);
    }
    if cgroup.contains("/lxc/") || cgroup.contains("/machine.slice/lxc") {
        guests.extend(["lxc", "container"]);
    }
    match sources.first("environ1").strip_prefix("container=") {
        Some("lxc") => guests.extend(["lxc", "container"]),
        Some("podman") => guests.extend(["podman", "container"]),
        Some(_) => guests.push("container"),
        None => {}
    }
    if has("/run/.containerenv") {
        guests.extend(["podman", "container"]);
    }
    if has("/run/systemd/container") {
        guests.push("container");
    }
    if has("/proc/vz") {
        if has("/proc/bc") {
            hosts.push("openvz");
        } else {
            guests.push("openvz");
        }
    }
    if has("/proc/xen") || sources.first("sys-hypervisor") == "xen" {
        guests.push("xen");
    }
    let product = sources.first("dmi-product_name");
    let vendor = sources.first("dmi-sys_vendor");
    let bios = sources.first("dmi-bios_vendor");
    guests.extend(machine(product, vendor, bios));
    let cpuinfo = sources.text("cpuinfo");
    if cpuinfo.contains("QEMU Virtual CPU") || cpuinfo.contains("Common KVM processor") {
        guests.push("kvm");
    }
    let modules: Vec<&str> = sources.lines("modules").collect();
    if has("/dev/kvm") || modules.contains(&"kvm") {
        hosts.push("kvm");
    }
    if modules.contains(&"vboxdrv") {
        hosts.push("virtualbox");
    }
    if guests.is_empty() && modules.contains(&"virtio") {
        guests.push("kvm");
    }
    let (kind, role) = match (guests.first(), hosts.first()) {
        (Some(kind), _) => (*kind, "guest"),
        (None, Some(kind)) => (*kind, "host"),
        (None, None) => ("NA", "NA"),
    };
    put(facts, "virtualization_type", kind);
    put(facts, "virtualization_role", role);
    put(facts, "virtualization_tech_guest", sorted(guests));
    put(facts, "virtualization_tech_host", sorted(hosts));
}

fn sorted(names: Vec<&str>) -> Vec<&str> {
    names
        .into_iter()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// What a virtual machine's firmware says of itself.
fn machine(product: &str, vendor: &str, bios: &str) -> Option<&'static str> {
    let is_kvm_product = ["KVM", "KVM Server", "Bochs", "AHV"].contains(&product)
        || product.starts_with("OpenStack");
    let is_kvm_vendor = [
        "QEMU",
        "Amazon EC2",
        "DigitalOcean",
        "Google",
        "Scaleway",
        "Nutanix",
        "KubeVirt",
        "oVirt",
        "OpenStack Foundation",
        "Hetzner",
        "Linode",
    ]
    .contains(&vendor);
    Some(match (product, vendor, bios) {
        (product, _, _) if product.starts_with("VMware") => "VMware",
        ("VirtualBox", _, _) | (_, "innotek GmbH", _) => "virtualbox",
        ("Virtual Machine", "Microsoft Corporation", _) => "VirtualPC",
        ("RHEV Hypervisor", _, _) => "RHEV",
        ("oVirt Node", _, _) => "oVirt",
        (_, "Parallels Software International Inc.", _) => "parallels",
        ("HVM domU", _, _) | (_, _, "Xen") => "xen",
        _ if is_kvm_product || is_kvm_vendor => "kvm",
        _ => return None,
    })
}

//! In: `/proc/cpuinfo`, `/proc/meminfo`, mounts, block devices, DMI. Out: processors, memory, mounts, devices, the machine.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::{Facts, Sources, Subset, put};

pub(super) fn facts(subset: Subset, sources: &Sources, facts: &mut Facts) {
    match subset {
        Subset::Processor => processor(sources, facts),
        Subset::Memory => memory(sources, facts),
        Subset::Mounts => put(facts, "mounts", mounts(sources)),
        Subset::Devices => {
            let links = Links::of(sources);
            put(facts, "devices", devices(sources, &links));
            put(facts, "device_links", json!(links.0));
            let ports = sources
                .lines("fc")
                .map(|name| name.trim_start_matches("0x"));
            put(facts, "fibre_channel_wwn", ports.collect::<Vec<_>>());
            put(facts, "lvm", lvm(sources));
        }
        Subset::Dmi => dmi(sources, facts),
        _ => {
            let seconds = sources.first("uptime").split(['.', ' ']).next();
            if let Some(seconds) = seconds.and_then(|text| text.parse::<u64>().ok()) {
                put(facts, "uptime_seconds", seconds);
            }
        }
    }
}

/// Counts as Ansible does, also where the kernel says little (ARM, POWER, s390x).
fn processor(sources: &Sources, facts: &mut Facts) {
    let mut shown = Vec::new();
    let mut counts: HashMap<&str, u64> = HashMap::new();
    // In the order of the file: the first socket and the first core speak for all.
    let mut sockets: Vec<(&str, u64)> = Vec::new();
    let mut cores: Vec<(&str, u64)> = Vec::new();
    let (mut socket, mut core) = ("0", "0");
    let (mut zp, mut zmt) = (0, 1);
    for line in sources.lines("cpuinfo") {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        let (key, value) = (key.trim(), value.trim());
        let number = value.parse().unwrap_or(1);
        match key {
            "flags" => put(facts, "flags", value.split_whitespace().collect::<Vec<_>>()),
            "model name" | "Processor" | "vendor_id" | "cpu" | "Vendor" | "processor" => {
                shown.push(value);
                *counts.entry(key).or_default() += 1;
            }
            "physical id" => {
                socket = value;
                set(&mut sockets, socket, None);
            }
            "core id" => {
                core = value;
                set(&mut cores, core, None);
            }
            "cpu cores" => set(&mut sockets, socket, Some(number)),
            "siblings" => set(&mut cores, core, Some(number)),
            "# processors" => zp = number,
            "max thread id" => zmt = number + 1,
            _ => {}
        }
    }
    let count = |key: &str| counts.get(key).copied().unwrap_or_default();
    let machine = sources.lines("uname").last().unwrap_or_default();
    let is_counted = ["armv", "aarch", "ppc"]
        .iter()
        .any(|start| machine.starts_with(start));
    let named = if is_counted {
        count("processor")
    } else if count("vendor_id") > 0 && count("vendor_id") == count("model name") {
        count("vendor_id")
    } else {
        shown.len() as u64
    };
    let (number, per_socket, threads) = if machine == "s390x" {
        (1, zp / zmt, zmt)
    } else {
        let number = if sockets.is_empty() {
            named
        } else {
            sockets.len() as u64
        };
        let per_socket = sockets.first().map_or(1, |(_, cores)| *cores).max(1);
        let siblings = cores.first().map_or(1, |(_, siblings)| *siblings);
        (number, per_socket, (siblings + per_socket / 2) / per_socket)
    };
    let usable = sources
        .first("nproc")
        .parse()
        .unwrap_or_else(|_| count("processor"));
    put(facts, "processor", shown);
    put(facts, "processor_count", number);
    put(facts, "processor_cores", per_socket);
    put(facts, "processor_threads_per_core", threads);
    put(facts, "processor_vcpus", number * per_socket * threads);
    put(facts, "processor_nproc", usable);
}

fn set<'a>(all: &mut Vec<(&'a str, u64)>, id: &'a str, number: Option<u64>) {
    match all.iter_mut().find(|(own, _)| *own == id) {
        Some((_, own)) => *own = number.unwrap_or(*own),
        None => all.push((id, number.unwrap_or(1))),
    }
}

fn memory(sources: &Sources, facts: &mut Facts) {
    let sizes: HashMap<&str, u64> = sources
        .lines("meminfo")
        .filter_map(|line| {
            let (key, value) = line.split_once(':')?;
            let size: u64 = value.split_whitespace().next()?.parse().ok()?;
            Some((key, size / 1024))
        })
        .collect();
    if sizes.is_empty() {
        return;
    }
    let size = |key: &str| sizes.get(key).copied().unwrap_or_default();
    let (total, free) = (size("MemTotal"), size("MemFree"));
    let nocache = size("Cached") + free + size("Buffers");
    put(facts, "memtotal_mb", total);
    put(facts, "memfree_mb", free);
    put(facts, "swaptotal_mb", size("SwapTotal"));
    put(facts, "swapfree_mb", size("SwapFree"));
    let swap_used = size("SwapTotal").saturating_sub(size("SwapFree"));
    put(
        facts,
        "memory_mb",
        json!({
            "real": {"total": total, "used": total.saturating_sub(free), "free": free},
            "nocache": {"free": nocache, "used": total.saturating_sub(nocache)},
            "swap": {"total": size("SwapTotal"), "free": size("SwapFree"), "used": swap_used, "cached": size("SwapCached")},
        }),
    );
}

fn mounts(sources: &Sources) -> Vec<Value> {
    let uuids: HashMap<&str, &str> = sources
        .lines("uuids")
        .filter_map(|line| line.split_once(' '))
        .collect();
    let sizes: HashMap<&str, Vec<u64>> = sources
        .lines("sizes")
        .filter_map(|line| {
            let (mount, numbers) = line.split_once(' ')?;
            let numbers: Vec<u64> = numbers
                .split(' ')
                .filter_map(|text| text.parse().ok())
                .collect();
            (numbers.len() == 6).then_some((mount, numbers))
        })
        .collect();
    let mut all: BTreeMap<usize, Value> = BTreeMap::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (index, line) in sources.lines("mounts").enumerate() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [device, mount, fstype, options, dump, pass] = fields[..] else {
            continue;
        };
        if !(device.starts_with('/') || device.contains(":/")) || fstype == "none" {
            continue;
        }
        let device = unescape(device);
        let uuid = uuids.get(device.as_str()).copied().unwrap_or("N/A");
        let mut value = Map::from_iter([
            ("mount".to_owned(), json!(unescape(mount))),
            ("fstype".to_owned(), json!(fstype)),
            ("options".to_owned(), json!(options)),
            (
                "dump".to_owned(),
                json!(dump.parse::<u32>().unwrap_or_default()),
            ),
            (
                "passno".to_owned(),
                json!(pass.parse::<u32>().unwrap_or_default()),
            ),
            ("uuid".to_owned(), json!(uuid)),
            ("device".to_owned(), json!(device)),
        ]);
        if let Some([block, total, available, inodes, free]) =
            sizes.get(mount).and_then(|all| all.get(1..))
        {
            for (key, number) in [
                ("size_total", total * block),
                ("size_available", available * block),
                ("block_size", *block),
                ("block_total", *total),
                ("block_available", *available),
                ("block_used", total.saturating_sub(*available)),
                ("inode_total", *inodes),
                ("inode_available", *free),
                ("inode_used", inodes.saturating_sub(*free)),
            ] {
                value.insert(key.to_owned(), json!(number));
            }
        }
        let place = *places.entry(mount).or_insert(index);
        all.insert(place, Value::Object(value));
    }
    all.into_values().collect()
}

/// The kernel writes blanks of paths as `\040`.
fn unescape(text: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (code, plain)| {
        text.replace(code, plain)
    })
}

/// Other names of disks and partitions by kind (`ids`, `labels`, `uuids`), and the devices that are built on them
/// (`masters`).
struct Links(BTreeMap<&'static str, BTreeMap<String, Vec<String>>>);

impl Links {
    fn of(sources: &Sources) -> Self {
        let mut all: BTreeMap<&'static str, BTreeMap<String, Vec<String>>> =
            ["ids", "labels", "masters", "uuids"]
                .map(|kind| (kind, BTreeMap::new()))
                .into();
        for line in sources.lines("disk-links") {
            let mut words = line.splitn(3, '|');
            let (Some(kind), Some(device), Some(name)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            if let Some(of_kind) = all.get_mut(kind) {
                of_kind
                    .entry(device.to_owned())
                    .or_default()
                    .push(name.to_owned());
            }
        }
        for names in all.values_mut().flat_map(BTreeMap::values_mut) {
            names.sort();
        }
        Self(all)
    }

    /// Those of one device, and nothing else of it yet.
    fn device(&self, name: &str) -> Map<String, Value> {
        let own: Map<String, Value> = self
            .0
            .iter()
            .map(|(kind, all)| {
                (
                    (*kind).to_owned(),
                    json!(all.get(name).cloned().unwrap_or_default()),
                )
            })
            .collect();
        Map::from_iter([("links".to_owned(), Value::Object(own))])
    }
}

/// Volume groups, logical and physical volumes; `N/A` where the host has no LVM or does not say.
fn lvm(sources: &Sources) -> Value {
    let rows = |name: &str| -> Option<Vec<Vec<String>>> {
        let rows = sources.get(name)?.lines().filter(|line| line.contains(','));
        Some(
            rows.map(|line| line.trim().split(',').map(ToOwned::to_owned).collect())
                .collect(),
        )
    };
    let (Some(groups), Some(volumes), Some(disks)) =
        (rows("lvm-vgs"), rows("lvm-lvs"), rows("lvm-pvs"))
    else {
        return json!("N/A");
    };
    let field = |row: &[String], index: usize| row.get(index).cloned().unwrap_or_default();
    // VG, #PV, #LV, #SN, Attr, VSize, VFree
    let vgs: Map<String, Value> = groups.iter().map(|row| (field(row, 0), json!({
        "size_g": field(row, 5), "free_g": field(row, 6), "num_lvs": field(row, 2), "num_pvs": field(row, 1)}))).collect();
    // LV, VG, Attr, LSize
    let lvs: Map<String, Value> = volumes
        .iter()
        .map(|row| {
            (
                field(row, 0),
                json!({"size_g": field(row, 3), "vg": field(row, 1)}),
            )
        })
        .collect();
    // PV, VG, Fmt, Attr, PSize, PFree
    let pvs: Map<String, Value> = disks
        .iter()
        .map(|row| {
            (
                field(row, 0),
                json!({
        "size_g": field(row, 4), "free_g": field(row, 5), "vg": field(row, 1)}),
            )
        })
        .collect();
    json!({"vgs": vgs, "lvs": lvs, "pvs": pvs})
}

fn devices(sources: &Sources, links: &Links) -> Value {
    let mut all = Map::new();
    for line in sources.lines("devices") {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        if let Some(disk) = line.strip_prefix('+') {
            let disk = disk.split('|').next().unwrap_or_default();
            let [_, name, start, sectors] = fields[..] else {
                continue;
            };
            let mut part = links.device(name);
            for (key, value) in [
                ("start", json!(start)),
                ("sectors", json!(sectors.parse::<u64>().unwrap_or_default())),
                ("sectorsize", json!(512)),
                ("size", json!(human(sectors))),
                ("uuid", part["links"]["uuids"][0].clone()),
                ("holders", json!([])),
            ] {
                part.insert(key.to_owned(), value);
            }
            if let Some(disk) = all.get_mut(disk) {
                let disk: &mut Value = disk;
                disk["partitions"][name] = Value::Object(part);
            }
            continue;
        }
        let [
            removable,
            sectors,
            rotational,
            scheduler,
            sector_size,
            discard,
            vendor,
            model,
            serial,
            name,
            holders,
        ] = fields[..]
        else {
            continue;
        };
        let some = |text: &str| {
            if text.is_empty() {
                Value::Null
            } else {
                json!(text)
            }
        };
        let scheduler = scheduler
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'))
            .map_or(scheduler, |(chosen, _)| chosen);
        let mut device = links.device(name);
        for (key, value) in [
            // Of every kernel whose `/sys/block` has links Ansible says 1, also of real disks.
            ("virtual", json!(1)),
            ("vendor", some(vendor)),
            ("model", some(model)),
            ("sas_address", Value::Null),
            ("sas_device_handle", Value::Null),
            ("removable", some(removable)),
            ("support_discard", some(discard)),
            ("rotational", some(rotational)),
            ("scheduler_mode", json!(scheduler)),
            ("sectors", json!(sectors.parse::<u64>().unwrap_or_default())),
            ("sectorsize", some(sector_size)),
            ("size", json!(human(sectors))),
            ("host", json!("")),
            (
                "holders",
                json!(holders.split_whitespace().collect::<Vec<_>>()),
            ),
            ("partitions", json!({})),
        ] {
            device.insert(key.to_owned(), value);
        }
        if !serial.is_empty() {
            device.insert("serial".to_owned(), json!(serial));
        }
        all.insert(name.to_owned(), Value::Object(device));
    }
    Value::Object(all)
}

/// Sectors of 512 bytes as Ansible shows them: `252.00 GB`.
fn human(sectors: &str) -> String {
    const UNITS: [&str; 6] = ["Bytes", "KB", "MB", "GB", "TB", "PB"];
    let bytes = u128::from(sectors.parse::<u64>().unwrap_or_default()) * 512;
    let mut unit = 0;
    let mut size = 1_u128;
    while unit + 1 < UNITS.len() && bytes >= size * 1024 {
        size *= 1024;
        unit += 1;
    }
    let hundredths = (bytes * 100 + size / 2) / size;
    format!(
        "{}.{:02} {}",
        hundredths / 100,
        hundredths % 100,
        UNITS[unit]
    )
}

/// What DMI's numbers of a chassis mean.
const FORMS: [&str; 37] = [
    "Unknown",
    "Other",
    "Unknown",
    "Desktop",
    "Low Profile Desktop",
    "Pizza Box",
    "Mini Tower",
    "Tower",
    "Portable",
    "Laptop",
    "Notebook",
    "Hand Held",
    "Docking Station",
    "All In One",
    "Sub Notebook",
    "Space-saving",
    "Lunch Box",
    "Main Server Chassis",
    "Expansion Chassis",
    "Sub Chassis",
    "Bus Expansion Chassis",
    "Peripheral Chassis",
    "RAID Chassis",
    "Rack Mount Chassis",
    "Sealed-case PC",
    "Multi-system",
    "CompactPCI",
    "AdvancedTCA",
    "Blade",
    "Blade Enclosure",
    "Tablet",
    "Convertible",
    "Detachable",
    "IoT Gateway",
    "Embedded PC",
    "Mini PC",
    "Stick PC",
];

fn dmi(sources: &Sources, facts: &mut Facts) {
    let names: HashSet<(&str, &str)> = [
        ("bios_date", "bios_date"),
        ("bios_vendor", "bios_vendor"),
        ("bios_version", "bios_version"),
        ("board_asset_tag", "board_asset_tag"),
        ("board_name", "board_name"),
        ("board_serial", "board_serial"),
        ("board_vendor", "board_vendor"),
        ("board_version", "board_version"),
        ("chassis_asset_tag", "chassis_asset_tag"),
        ("chassis_serial", "chassis_serial"),
        ("chassis_vendor", "chassis_vendor"),
        ("chassis_version", "chassis_version"),
        ("form_factor", "chassis_type"),
        ("product_name", "product_name"),
        ("product_serial", "product_serial"),
        ("product_uuid", "product_uuid"),
        ("product_version", "product_version"),
        ("system_vendor", "sys_vendor"),
    ]
    .into();
    for (name, source) in names {
        let text = sources.first(&format!("dmi-{source}"));
        let shown = match (name, text) {
            (_, "") => "NA",
            ("form_factor", number) => number
                .parse::<usize>()
                .ok()
                .and_then(|number| FORMS.get(number))
                .copied()
                .unwrap_or("Unknown"),
            (_, text) => text,
        };
        put(facts, name, shown);
    }
}

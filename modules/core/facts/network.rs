//! In: `/sys/class/net` and what `ip` prints. Out: interfaces, their addresses, the ways out.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value, json};

use super::{Facts, Sources, put};

/// `ip` names the flag of a loopback device; the kernel numbers it.
const LOOPBACK_TYPE: &str = "772";
const PROMISCUOUS: u32 = 0x100;

pub(super) fn facts(sources: &Sources, facts: &mut Facts) {
    let mut links: Map<String, Value> = sources.lines("links").filter_map(link).collect();
    let (mut all4, mut all6) = (Vec::new(), Vec::new());
    for line in sources.lines("addresses") {
        let Some(address) = Address::parse(line) else {
            continue;
        };
        address.collect(&mut all4, &mut all6);
        // A label (`eth0:1`) is an interface of its own, as Ansible has it.
        let own = if links.contains_key(address.label) {
            address.label
        } else {
            if address.label != address.device {
                links.insert(address.label.to_owned(), json!({"device": address.label}));
            }
            address.label
        };
        if let Some(Value::Object(device)) = links.get_mut(own) {
            address.add_to(device);
        }
    }
    put(
        facts,
        "interfaces",
        links.keys().cloned().collect::<Vec<_>>(),
    );
    put(
        facts,
        "default_ipv4",
        default(sources.first("route4"), &links, false),
    );
    put(
        facts,
        "default_ipv6",
        default(sources.first("route6"), &links, true),
    );
    put(facts, "all_ipv4_addresses", all4);
    put(facts, "all_ipv6_addresses", all6);
    put(
        facts,
        "locally_reachable_ips",
        json!({"ipv4": reachable(sources, "local4"), "ipv6": reachable(sources, "local6")}),
    );
    for (name, value) in links {
        put(facts, &name.replace(['-', ':', '.'], "_"), value);
    }
}

fn link(line: &str) -> Option<(String, Value)> {
    let fields: Vec<&str> = line.split('|').collect();
    let [
        name,
        mac,
        mtu,
        kind,
        flags,
        state,
        speed,
        bond,
        bridge,
        pci,
        module,
    ] = fields[..]
    else {
        return None;
    };
    let flags = u32::from_str_radix(flags.trim_start_matches("0x"), 16).unwrap_or_default();
    let kind = match kind {
        LOOPBACK_TYPE => "loopback",
        _ if !bond.is_empty() => "bonding",
        _ if !bridge.is_empty() => "bridge",
        "1" => "ether",
        "32" => "infiniband",
        "65534" | "768" | "769" => "tunnel",
        "512" => "ppp",
        _ => "unknown",
    };
    let mut device = Map::from_iter([
        ("device".to_owned(), json!(name)),
        ("active".to_owned(), json!(state != "down")),
        ("promisc".to_owned(), json!(flags & PROMISCUOUS != 0)),
        ("type".to_owned(), json!(kind)),
    ]);
    if !mac.is_empty() && mac != "00:00:00:00:00:00" {
        device.insert("macaddress".to_owned(), json!(mac));
    }
    for (key, number) in [("mtu", mtu), ("speed", speed)] {
        if let Ok(number) = number.parse::<i64>() {
            device.insert(key.to_owned(), json!(number));
        }
    }
    for (key, text) in [("pciid", pci), ("module", module)] {
        if !text.is_empty() {
            device.insert(key.to_owned(), json!(text));
        }
    }
    Some((name.to_owned(), Value::Object(device)))
}

/// One line of `ip -o addr show`.
struct Address<'a> {
    device: &'a str,
    label: &'a str,
    is_v6: bool,
    address: &'a str,
    prefix: u32,
    broadcast: &'a str,
    scope: &'a str,
}

impl<'a> Address<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        // iproute2 ends the first half with a backslash; what follows are lifetimes.
        let words: Vec<&str> = line.split('\\').next()?.split_whitespace().collect();
        let [_, device, family, address, rest @ ..] = &words[..] else {
            return None;
        };
        let is_v6 = match *family {
            "inet" => false,
            "inet6" => true,
            _ => return None,
        };
        let device = device.trim_end_matches(':').split('@').next()?;
        let (address, prefix) = match address.split_once('/') {
            Some((address, prefix)) => (address, prefix.parse().ok()?),
            None => (*address, if is_v6 { 128 } else { 32 }),
        };
        let after = |word: &str| {
            let at = rest.iter().position(|other| *other == word)?;
            rest.get(at + 1).copied()
        };
        let label = rest
            .last()
            .filter(|last| !is_v6 && last.starts_with(device))
            .copied()
            .unwrap_or(device);
        Some(Self {
            device,
            label,
            is_v6,
            address,
            prefix,
            broadcast: after("brd").unwrap_or_default(),
            scope: after("scope").unwrap_or_default(),
        })
    }

    fn collect(&self, all4: &mut Vec<String>, all6: &mut Vec<String>) {
        if self.is_v6 {
            if self.address.parse() != Ok(Ipv6Addr::LOCALHOST) {
                all6.push(self.address.to_owned());
            }
        } else if !self.address.starts_with("127.") {
            all4.push(self.address.to_owned());
        }
    }

    fn add_to(&self, device: &mut Map<String, Value>) {
        if self.is_v6 {
            let value = json!({"address": self.address, "prefix": self.prefix.to_string(), "scope": self.scope});
            if let Value::Array(list) = device.entry("ipv6").or_insert_with(|| json!([])) {
                list.push(value);
            }
            return;
        }
        let mask = u32::MAX.checked_shl(32 - self.prefix).unwrap_or_default();
        let Ok(address) = self.address.parse::<Ipv4Addr>() else {
            return;
        };
        let network = Ipv4Addr::from(u32::from(address) & mask);
        let value = json!({
            "address": self.address, "broadcast": self.broadcast, "netmask": Ipv4Addr::from(mask).to_string(),
            "network": network.to_string(), "prefix": self.prefix.to_string(),
        });
        if device.contains_key("ipv4") {
            let others = device
                .entry("ipv4_secondaries")
                .or_insert_with(|| json!([]));
            if let Value::Array(list) = others {
                list.push(value);
            }
        } else {
            device.insert("ipv4".to_owned(), value);
        }
    }
}

/// From the answer of `ip route get`, which way packets to the world go.
fn default(route: &str, links: &Map<String, Value>, is_v6: bool) -> Value {
    let words: Vec<&str> = route.split_whitespace().collect();
    let after = |word: &str| {
        let at = words.iter().position(|other| *other == word)?;
        words.get(at + 1).copied()
    };
    let (Some(name), Some(source)) = (after("dev"), after("src")) else {
        return json!({});
    };
    let mut way = Map::from_iter([
        ("address".to_owned(), json!(source)),
        ("interface".to_owned(), json!(name)),
    ]);
    if let Some(gateway) = after("via") {
        way.insert("gateway".to_owned(), json!(gateway));
    }
    let Some(device) = links.get(name) else {
        return Value::Object(way);
    };
    for key in ["macaddress", "mtu", "type"] {
        if let Some(value) = device.get(key) {
            way.insert(key.to_owned(), value.clone());
        }
    }
    let candidates: Vec<&Value> = if is_v6 {
        device["ipv6"].as_array().into_iter().flatten().collect()
    } else {
        let others = device["ipv4_secondaries"].as_array().into_iter().flatten();
        std::iter::once(&device["ipv4"]).chain(others).collect()
    };
    let own = candidates.iter().find(|one| one["address"] == source);
    if let Some(Value::Object(own)) = own {
        way.extend(own.clone());
    }
    if !is_v6 {
        way.insert("alias".to_owned(), json!(name));
    }
    Value::Object(way)
}

/// The addresses that the host takes as its own.
fn reachable(sources: &Sources, source: &str) -> Vec<String> {
    let mut all: Vec<String> = sources
        .lines(source)
        .filter_map(|line| line.strip_prefix("local "))
        .filter_map(|rest| rest.split_whitespace().next())
        .map(ToOwned::to_owned)
        .collect();
    all.sort();
    all.dedup();
    all
}

//! Facts of a host. In: the subsets that are wanted. Out: Ansible's facts under Ansible's names, by one round trip: a
//! script prints sources as they are, and pure functions read them. No Python is needed on the host.
//!
//! What differs from Ansible's own `setup`, and why:
//!
//! * `host` of devices is empty, and `sas_address` of theirs unknown: they need tools (`lspci`, `sg_inq`) that few hosts
//!   have.
//! * `ansible_python` is `/usr/bin/python3`, else the first on the path, not the one that ran the module, and is missing
//!   where there is none. `ansible_selinux_python_present` is always true: no library is needed.
//! * `ansible_interfaces` and the lists of virtualization are sorted; Ansible's order is that of Python's sets.
//! * `ansible_loadavg` has two digits, as the kernel prints it.
//! * `ansible_date_time.tz_dst` is the zone of now, since only Python's library tells the other one.
//! * `ansible_mounts` does not mark bind mounts, and takes from several mounts on one folder the last.
//! * `ansible_is_chroot` compares the roots only, and is false where the first process may not be looked at.

mod hardware;
mod local;
mod network;
mod subsets;
mod system;
mod virtualization;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::host;
use crate::error::ModuleError;
use crate::platform::Platform;

pub use subsets::{Subset, of_fact, wanted};

const COLLECT: &str = include_str!("collect.sh");

/// Where local facts are unless a task says another folder.
pub const LOCAL_FACTS: &str = "/etc/ansible/facts.d";

/// What one run of the script printed, by the name of the source.
pub(super) struct Sources(BTreeMap<String, String>);

impl Sources {
    fn parse(text: &str) -> Self {
        let parts = text.split("\n\u{1}").skip(1);
        let pairs = parts.filter_map(|part| {
            let (name, content) = part.split_once('\n')?;
            Some((name.to_owned(), content.to_owned()))
        });
        Self(pairs.collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The text of a source, empty when the host does not have it.
    fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    fn lines(&self, name: &str) -> impl Iterator<Item = &str> {
        self.text(name)
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    }

    fn first(&self, name: &str) -> &str {
        self.lines(name).next().unwrap_or_default()
    }
}

/// Facts under their full names (`ansible_distribution`).
pub type Facts = Map<String, Value>;

/// Gathers the facts of these subsets, and warnings. `local_facts` is the folder of `*.fact` files; `seconds` is the
/// limit of each question that may hang (a dead NFS server, a script of local facts).
pub async fn gather(
    platform: &Platform,
    subsets: &[Subset],
    local_facts: &str,
    seconds: u32,
) -> Result<(Facts, Vec<String>), ModuleError> {
    let names: Vec<&str> = subsets.iter().map(|subset| subset.name()).collect();
    let words = [names.join(" "), local_facts.to_owned(), seconds.to_string()];
    let output = host::script(platform, COLLECT, &words, None).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let sources = Sources::parse(&text);
    if sources.get("end").is_none() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(ModuleError::failed(format!(
            "facts of {} could not be gathered, status {}: {}",
            platform.shell()?.place(),
            output.rc,
            said.trim()
        ))
        .hint("the host needs a POSIX shell as /bin/sh; gather less with `gather_subset`"));
    }
    Ok(read(&sources, subsets))
}

fn read(sources: &Sources, subsets: &[Subset]) -> (Facts, Vec<String>) {
    let mut facts = Facts::new();
    let mut warnings = Vec::new();
    for subset in subsets {
        match subset {
            Subset::Local => facts.extend([(
                "ansible_local".to_owned(),
                local::facts(sources, &mut warnings),
            )]),
            Subset::Network => network::facts(sources, &mut facts),
            Subset::Virtual => virtualization::facts(sources, &mut facts),
            Subset::Processor
            | Subset::Memory
            | Subset::Mounts
            | Subset::Devices
            | Subset::Dmi
            | Subset::Uptime => hardware::facts(*subset, sources, &mut facts),
            other => system::facts(*other, sources, &mut facts),
        }
    }
    (facts, warnings)
}

/// Adds a fact under its full name.
fn put(facts: &mut Facts, name: &str, value: impl Into<Value>) {
    facts.insert(format!("ansible_{name}"), value.into());
}

#[cfg(test)]
mod tests;

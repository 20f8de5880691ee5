//! A cache of facts in files, one of JSON for each host, as Ansible's `jsonfile` writes them. In: a host's facts. Out:
//! those of an earlier run, unless they are too old.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use minijinja::Value;
use minijinja::value::Serde;
use serde_json::{Map, Value as Json};

use super::Vars;
use crate::template::Lazy;

/// Where facts are kept between runs.
#[derive(Debug, Clone)]
pub struct FactCache {
    pub dir: PathBuf,
    /// What names of files begin with.
    pub prefix: String,
    /// How long facts are good for; `None` is for ever.
    pub timeout: Option<Duration>,
}

impl FactCache {
    /// The file of a host. A name that would lead elsewhere has none.
    fn path(&self, host: &str) -> Option<PathBuf> {
        (!host.contains('/')).then(|| self.dir.join(format!("{}{host}", self.prefix)))
    }

    /// Facts that are not too old. A file that cannot be read is no cache: the facts are gathered again.
    pub(super) fn load(&self, host: &str) -> Vars {
        let read = || {
            let path = self.path(host)?;
            let age = SystemTime::now().duration_since(fs::metadata(&path).ok()?.modified().ok()?);
            if let (Some(most), Ok(age)) = (self.timeout, age)
                && age > most
            {
                return None;
            }
            let text = fs::read_to_string(&path).ok()?;
            let facts: Map<String, Json> = serde_json::from_str(&text).ok()?;
            Some(facts)
        };
        read()
            .unwrap_or_default()
            .into_iter()
            .map(|(name, value)| (Arc::from(name), Lazy::Data(Value::from(Serde(value)))))
            .collect()
    }

    /// Writes a host's facts, beside the file and renamed: another run may read it now.
    pub(super) fn store(&self, host: &str, facts: &Vars) -> std::io::Result<()> {
        let Some(path) = self.path(host) else {
            return Ok(());
        };
        let facts: Map<String, Json> = facts
            .iter()
            .filter_map(|(name, value)| match value {
                Lazy::Data(value) => Some((name.to_string(), serde_json::to_value(value).ok()?)),
                _ => None,
            })
            .collect();
        fs::create_dir_all(&self.dir)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(serde_json::to_string_pretty(&facts)?.as_bytes())?;
        file.persist(path)?;
        Ok(())
    }

    pub(super) fn forget(&self, host: &str) {
        if let Some(path) = self.path(host) {
            // Not there is what is wanted.
            let _ = fs::remove_file(path);
        }
    }
}

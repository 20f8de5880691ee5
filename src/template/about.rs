//! In: a template file, and where its text will go. Out: the variables that such a template has of itself.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use indexmap::IndexMap;
use minijinja::Value;
use nix::unistd::{Uid, User};

use super::clock;

/// Their names; `ansible_managed` may be set like any other variable.
pub const TEMPLATE_NAMES: &[&str] = &[
    "ansible_managed",
    "template_destpath",
    "template_fullpath",
    "template_host",
    "template_mtime",
    "template_path",
    "template_run_date",
    "template_uid",
];

/// `name` is what the task or the lookup says, `path` the file that was found. `ansible_managed` is left out where it is
/// set already.
pub fn about(
    name: &str,
    path: &Path,
    dest: Option<&str>,
    is_managed_set: bool,
) -> IndexMap<Arc<str>, Value> {
    let meta = std::fs::metadata(path).ok();
    let owner = meta.as_ref().map(|meta| {
        let user = User::from_uid(Uid::from_raw(meta.uid())).ok().flatten();
        user.map_or_else(|| Value::from(meta.uid()), |user| Value::from(user.name))
    });
    let changed = meta.and_then(|meta| meta.modified().ok());
    // As `uname -n` says.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let values = [
        Value::from("Ansible managed"),
        dest.map_or_else(|| Value::from(()), Value::from),
        Value::from(path.display().to_string()),
        Value::from(host.trim_end()),
        changed.map_or_else(|| Value::from(()), clock::local),
        Value::from(name),
        clock::local(SystemTime::now()),
        owner.unwrap_or_default(),
    ];
    TEMPLATE_NAMES
        .iter()
        .zip(values)
        .filter(|(name, _)| !(is_managed_set && **name == "ansible_managed"))
        .map(|(name, value)| (Arc::from(*name), value))
        .collect()
}

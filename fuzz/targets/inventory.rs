//! The first line is a pattern, the rest an inventory: INI, or YAML when the line begins with a space.
#![no_main]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use layerplay::inventory::load;
use layerplay::source::Reader;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static DIR: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

fn path(name: &str) -> PathBuf {
    DIR.path().join(name)
}

fuzz_target!(|text: &str| {
    let (pattern, text) = text.split_once('\n').unwrap_or(("all", text));
    let path = path(if pattern.starts_with(' ') { "i.yml" } else { "i.ini" });
    fs::write(&path, text).expect("the file is written");
    let sources = [path.to_string_lossy().into_owned(), format!("{pattern},")];
    let inventory = load(&sources, &Reader::default()).inventory;
    for host in inventory.hosts.keys().take(5) {
        let groups = inventory.groups_of(host);
        assert_eq!(&*groups[0], "all");
    }
    assert_eq!(inventory.members("all").len(), inventory.hosts.len());
    if let Ok(found) = inventory.select(pattern) {
        for host in &found.hosts {
            let is_here = matches!(&**host, "localhost" | "127.0.0.1" | "::1");
            assert!(is_here || inventory.hosts.contains_key(host));
        }
    }
});

//! `layerplay init DIR`: writes a project to start from. Existing files are never overwritten.

use std::path::Path;

use crate::cli::{exit, printer};
use crate::playbook::{self, Catalogue};

/// What a new project holds: the same files that this repository runs in its tests.
const FILES: &[(&str, &str)] = &[
    (
        "playbooks/promote.yml",
        include_str!("../../../playbooks/promote.yml"),
    ),
    (
        "playbooks/remove.yml",
        include_str!("../../../playbooks/remove.yml"),
    ),
    (
        "playbooks/verify.yml",
        include_str!("../../../playbooks/verify.yml"),
    ),
    (
        "playbooks/layers/hello/Containerfile.j2",
        include_str!("../../../playbooks/layers/hello/Containerfile.j2"),
    ),
    (
        "playbooks/layers/hello/etc/motd.d/hello",
        include_str!("../../../playbooks/layers/hello/etc/motd.d/hello"),
    ),
    (
        "playbooks/layers/hello/usr/lib/tmpfiles.d/hello.conf",
        include_str!("../../../playbooks/layers/hello/usr/lib/tmpfiles.d/hello.conf"),
    ),
    (
        "inventory/clusters.yml",
        include_str!("../../../inventory/example.yml"),
    ),
];

/// What editors complete and check playbooks with.
const SCHEMA: &str = "playbook.schema.json";

pub(in crate::cli) fn run(dir: &Path) -> u8 {
    let schema = match Catalogue::new() {
        Ok(catalogue) => format!("{:#}\n", playbook::schema(&catalogue)),
        Err(problems) => return super::project::show(&problems),
    };
    let mut files: Vec<(&str, String)> = FILES
        .iter()
        .map(|(name, text)| {
            let is_playbook = name.starts_with("playbooks/")
                && Path::new(name).extension() == Some("yml".as_ref());
            let head = if is_playbook {
                format!("# yaml-language-server: $schema=../{SCHEMA}\n")
            } else {
                String::new()
            };
            (*name, head + text)
        })
        .collect();
    files.push((SCHEMA, schema));
    if let Some(taken) = files
        .iter()
        .map(|(name, _)| dir.join(name))
        .find(|path| path.exists())
    {
        printer::err(&format!(
            "error: `{}` exists already; nothing was written",
            taken.display()
        ));
        printer::err("help: name a new folder");
        return exit::ERROR;
    }
    for (name, text) in &files {
        let path = dir.join(name);
        let written = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::write(&path, text));
        if let Err(problem) = written {
            printer::err(&format!(
                "error: cannot write `{}`: {problem}",
                path.display()
            ));
            return exit::ERROR;
        }
        printer::out(&path.display().to_string());
    }
    printer::err("next: name your clusters in inventory/clusters.yml");
    exit::OK
}

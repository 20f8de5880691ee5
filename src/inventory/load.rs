//! In: the `-i` options. Out: one inventory, read from all of them in order, with every problem found.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use layerplay_modules::platform::at_home;

use super::{Inventory, ini, script, yaml};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::{self, Reader, SourceFile};

/// What the sources gave.
#[derive(Debug)]
pub struct Loaded {
    pub inventory: Inventory,
    pub problems: Diagnostics,
}

/// Endings of files in an inventory folder that are no inventories (Ansible's `INVENTORY_IGNORED` and editors' copies).
const PASSED_OVER: &[&str] = &[
    "~", ".orig", ".bak", ".cfg", ".retry", ".pyc", ".pyo", ".csv", ".md", ".swp", ".rpm", ".txt",
];

/// Reads all sources. A comma in a source makes it a list of hosts (`a,b` or `a,`).
pub fn load(sources: &[String], reader: &Reader) -> Loaded {
    let mut inventory = Inventory::default();
    let mut problems = Diagnostics::default();
    for source in sources {
        inventory.sources.push(source.clone());
        if source.contains(',') {
            for name in source
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
            {
                match inventory.expand(name) {
                    Ok(names) => {
                        for name in names {
                            inventory.add_member("ungrouped", &name);
                        }
                    }
                    Err(message) => problems.push(Diagnostic::error(Code::INVENTORY, message)),
                }
            }
            continue;
        }
        let path = at_home(source);
        if path.is_dir() {
            remember(&mut inventory, &path);
            folder(&path, reader, &mut inventory, &mut problems);
        } else {
            let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
            remember(&mut inventory, parent.unwrap_or(Path::new(".")));
            problems.extend(file(&path, reader, &mut inventory));
        }
    }
    inventory.settle();
    Loaded {
        inventory,
        problems,
    }
}

fn remember(inventory: &mut Inventory, dir: &Path) {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    inventory.dirs.retain(|known| *known != dir);
    inventory.dirs.push(dir);
}

fn folder(dir: &Path, reader: &Reader, inventory: &mut Inventory, problems: &mut Diagnostics) {
    let mut entries: Vec<PathBuf> = match fs::read_dir(dir) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(problem) => {
            problems.push(Diagnostic::error(
                Code::INVENTORY,
                format!(
                    "inventory folder `{}` cannot be read: {problem}",
                    dir.display()
                ),
            ));
            return;
        }
    };
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.')
            || matches!(&*name, "group_vars" | "host_vars")
            || PASSED_OVER.iter().any(|ending| name.ends_with(ending))
        {
            continue;
        }
        if path.is_dir() {
            folder(&path, reader, inventory, problems);
        } else {
            problems.extend(file(&path, reader, inventory));
        }
    }
}

fn file(path: &Path, reader: &Reader, inventory: &mut Inventory) -> Diagnostics {
    let is_executable = fs::metadata(path)
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    let source = match reader.read(path) {
        Ok(source) => source,
        // Compiled plugins are no text and still run.
        Err(source::SourceError::NotText { .. }) if is_executable => {
            return script::read(path, inventory);
        }
        Err(problem @ source::SourceError::Vault { .. }) => {
            return Diagnostic::error(Code::INVENTORY, format!("inventory {problem}")).into();
        }
        Err(problem) => {
            return Diagnostic::error(Code::INVENTORY, format!("inventory {problem}"))
                .help(
                    "`-i` names a file, a folder, an executable, or hosts with a comma: `-i host,`",
                )
                .into();
        }
    };
    if is_executable && source.text.starts_with("#!") {
        return script::read(path, inventory);
    }
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("yml" | "yaml" | "json") => yaml::read(&source, reader, inventory),

        ending if ending != Some("ini") && looks_like_yaml(&source) => {
            yaml::read(&source, reader, inventory)
        }
        _ => {
            hide_settings(&source, reader);
            ini::read(&source, inventory)
        }
    }
}

/// Masks the values of an INI inventory that was encrypted.
fn hide_settings(file: &SourceFile, reader: &Reader) {
    if !file.is_secret {
        return;
    }
    for line in file.text.lines() {
        // `name = value` in a section of variables, `host name=value ...` in the others.
        if let Some((_, value)) = line.split_once(" = ") {
            reader.hide(value);
        }
        for word in shlex::split(line).unwrap_or_default() {
            if let Some((_, value)) = word.split_once('=') {
                reader.hide(value);
            }
        }
    }
}

/// Without a telling name: YAML begins with `---`, `{`, or a key that ends with a colon; INI with a host or a section.
fn looks_like_yaml(file: &SourceFile) -> bool {
    file.text
        .lines()
        .map(str::trim_end)
        .find(|line| !line.trim().is_empty() && !line.trim_start().starts_with(['#', ';']))
        .is_some_and(|line| {
            line == "---"
                || line.starts_with('{')
                || (line.ends_with(':') && !line.contains(['=', ' ']))
        })
}

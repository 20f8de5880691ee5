//! In: the working directory, the home, the environment. Out: the settings files that count, read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Entry, cfg, toml};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::{self, SourceFile};

/// A settings file and what is in it.
pub(super) struct Read {
    pub(super) file: Arc<SourceFile>,
    pub(super) entries: Vec<Entry>,
}

type Parse = fn(&Arc<SourceFile>) -> (Vec<Entry>, Diagnostics);

/// `layerplay.toml` before `ansible.cfg`. Of several `ansible.cfg` the first counts alone, as in Ansible.
pub(super) fn find(
    here: &Path,
    home: Option<&Path>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> (Vec<Read>, Diagnostics) {
    let mut problems = Diagnostics::default();
    let named = |variable: &str, file: &str| {
        environment(variable)
            .filter(|name| !name.is_empty())
            .map(|name| {
                let path = super::kinds::resolve(&name, here);
                if path.is_dir() { path.join(file) } else { path }
            })
    };
    let mut read = Vec::new();
    let own = named("LAYERPLAY_CONFIG", "layerplay.toml")
        .or_else(|| in_folder(here, "layerplay.toml", &mut problems));
    read.extend(own.and_then(|path| parsed(&path, toml::entries, &mut problems)));
    let ansible = named("ANSIBLE_CONFIG", "ansible.cfg")
        .or_else(|| in_folder(here, "ansible.cfg", &mut problems))
        .or_else(|| {
            home.map(|home| home.join(".ansible.cfg"))
                .filter(|path| path.is_file())
        })
        .or_else(|| Some(PathBuf::from("/etc/ansible/ansible.cfg")).filter(|path| path.is_file()));
    read.extend(ansible.and_then(|path| parsed(&path, cfg::entries, &mut problems)));
    (read, problems)
}

/// A file in the working directory. In a folder where everybody may write it could be anybody's, and it says what runs.
fn in_folder(here: &Path, name: &str, problems: &mut Diagnostics) -> Option<PathBuf> {
    let path = here.join(name);
    if !path.is_file() {
        return None;
    }
    let is_open = fs::metadata(here).is_ok_and(|meta| meta.permissions().mode() & 0o002 != 0);
    if is_open {
        problems.push(
            Diagnostic::warning(
                Code::SETTINGS,
                format!(
                    "`{}` is not read: everybody may write in its folder",
                    path.display()
                ),
            )
            .help(format!(
                "`chmod o-w {}`, or name the file with `{}`",
                here.display(),
                if name == "ansible.cfg" {
                    "ANSIBLE_CONFIG"
                } else {
                    "LAYERPLAY_CONFIG"
                }
            )),
        );
        return None;
    }
    Some(path)
}

fn parsed(path: &Path, parse: Parse, problems: &mut Diagnostics) -> Option<Read> {
    match source::read(path) {
        Ok(file) => {
            let (entries, found) = parse(&file);
            problems.extend(found);
            Some(Read { file, entries })
        }
        Err(problem) => {
            problems.push(Diagnostic::error(
                Code::SETTINGS,
                format!("settings {problem}"),
            ));
            None
        }
    }
}

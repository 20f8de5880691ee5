//! What a project has for Ansible that layerplay cannot run: modules and plugins in Python, collections. In: a name that
//! nothing here has, and the folders of the playbook and its roles. Out: the file that Ansible would have taken, or the
//! collection that the name is of, and what to do instead.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// What a name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Module,
    Filter,
    Test,
    Lookup,
}

/// Something that only Ansible can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// What it is, and where.
    pub what: String,
    /// What to do.
    pub help: String,
}

/// Folders in folders of plugins: deeper is no plugin of Ansible's.
const DEEPEST: usize = 4;
/// More files than any project has plugins; a link that leads around in circles ends here, too.
const MOST: usize = 2_000;

impl Sort {
    fn word(self) -> &'static str {
        match self {
            Self::Module => "module",
            Self::Filter => "filter",
            Self::Test => "test",
            Self::Lookup => "lookup",
        }
    }

    /// Folders beside a playbook or in a role, and the variables of the environment that name others.
    fn folders(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Module => &[
                ("library", "ANSIBLE_LIBRARY"),
                ("action_plugins", "ANSIBLE_ACTION_PLUGINS"),
            ],
            Self::Filter => &[("filter_plugins", "ANSIBLE_FILTER_PLUGINS")],
            Self::Test => &[("test_plugins", "ANSIBLE_TEST_PLUGINS")],
            Self::Lookup => &[("lookup_plugins", "ANSIBLE_LOOKUP_PLUGINS")],
        }
    }

    /// Folders below `plugins/` of a collection.
    fn of_collection(self) -> &'static [&'static str] {
        match self {
            Self::Module => &["modules", "action"],
            Self::Filter => &["filter"],
            Self::Test => &["test"],
            Self::Lookup => &["lookup"],
        }
    }

    /// Files that are called as what they define. Of filters and tests one file defines many.
    fn is_named_by_file(self) -> bool {
        matches!(self, Self::Module | Self::Lookup)
    }

    fn help(self, name: &str) -> String {
        match self {
            Self::Module => format!(
                "layerplay runs no Python modules: write it as an executable `modules/{name}`, which reads and prints JSON, or of other modules in `modules/{name}/module.yml`"
            ),
            Self::Filter | Self::Test => format!(
                "layerplay runs no Python plugins: write what the {} does with those that are there, or in a module of your own (`modules/NAME`) whose result is registered",
                self.word()
            ),
            Self::Lookup => "layerplay runs no Python plugins: use `lookup('pipe', ...)` with a command, or a module of your own (`modules/NAME`) whose result is registered".to_owned(),
        }
    }
}

/// The name without the collection that is always there.
fn short(name: &str) -> &str {
    ["ansible.builtin.", "ansible.legacy."]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name)
}

/// What a name that nothing here has is in Ansible; `None` when it is nothing there either.
pub fn look(sort: Sort, name: &str, dirs: &[PathBuf]) -> Option<Foreign> {
    let own = short(name);
    if let Some((collection, rest)) = of_collection(own) {
        let file = in_collection(sort, &collection, rest, dirs);
        let place = file.map(|path| format!(" (`{}`)", path.display()));
        return Some(Foreign {
            what: format!(
                "the {} `{own}` is of the collection `{collection}`{}, and layerplay has no collections",
                sort.word(),
                place.unwrap_or_default()
            ),
            help: sort.help(rest),
        });
    }
    let path = in_folders(sort, own, dirs)?;
    let kind = match (sort, path.extension().is_some_and(|ending| ending == "py")) {
        (Sort::Module, true) => "is a Python module of Ansible's",
        (Sort::Module, false) => "is a module of Ansible's",
        _ => "comes from a Python plugin of Ansible's",
    };
    Some(Foreign {
        what: format!("the {} `{own}` {kind}: `{}`", sort.word(), path.display()),
        help: sort.help(own),
    })
}

/// `community.general` and `ini_file` of `community.general.ini_file`.
fn of_collection(name: &str) -> Option<(String, &str)> {
    let is_word = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let (namespace, rest) = name.split_once('.')?;
    let (collection, rest) = rest.split_once('.')?;
    (is_word(namespace) && is_word(collection) && rest.split('.').all(is_word))
        .then(|| (format!("{namespace}.{collection}"), rest))
}

fn configured(variable: &str) -> Vec<PathBuf> {
    let paths = std::env::var_os(variable);
    paths.iter().flat_map(std::env::split_paths).collect()
}

fn in_collection(sort: Sort, collection: &str, name: &str, dirs: &[PathBuf]) -> Option<PathBuf> {
    let mut roots: Vec<PathBuf> = dirs.iter().map(|dir| dir.join("collections")).collect();
    roots.extend(configured("ANSIBLE_COLLECTIONS_PATH"));
    if let Some(home) = std::env::var_os("HOME") {
        roots.push(Path::new(&home).join(".ansible/collections"));
    }
    roots.push(PathBuf::from("/usr/share/ansible/collections"));
    let below = collection.replace('.', "/");
    let file = format!("{}.py", name.replace('.', "/"));
    let places = roots.iter().flat_map(|root| {
        let plugins = root
            .join("ansible_collections")
            .join(&below)
            .join("plugins");
        sort.of_collection()
            .iter()
            .map(move |kind| plugins.join(kind))
    });
    places
        .map(|place| place.join(&file))
        .find(|path| path.is_file())
}

fn in_folders(sort: Sort, name: &str, dirs: &[PathBuf]) -> Option<PathBuf> {
    let folders = sort.folders().iter().flat_map(|(folder, variable)| {
        let beside = dirs.iter().map(move |dir| dir.join(folder));
        beside.chain(configured(variable))
    });
    folders
        .filter(|folder| folder.is_dir())
        .find_map(|folder| in_folder(sort, name, &folder))
}

/// The file of a folder that has the name, by its own or inside of it.
fn in_folder(sort: Sort, name: &str, folder: &Path) -> Option<PathBuf> {
    let quoted = [format!("'{name}'"), format!("\"{name}\"")];
    files(folder).into_iter().find(|path| {
        let is_python = path.extension().is_some_and(|ending| ending == "py");
        if sort.is_named_by_file() {
            let is_called = path.file_stem().is_some_and(|stem| stem == name);
            return is_called && (is_python || sort == Sort::Module);
        }
        is_python
            && std::fs::read_to_string(path)
                .is_ok_and(|text| quoted.iter().any(|name| text.contains(name.as_str())))
    })
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = VecDeque::from([(folder.to_owned(), 0)]);
    while let Some((dir, depth)) = open.pop_front() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        entries.sort();
        for path in entries {
            let is_plain = path.is_file();
            if is_plain {
                found.push(path);
            } else if depth < DEEPEST {
                open.push_back((path, depth + 1));
            }
            if found.len() + open.len() > MOST {
                return found;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_collections_and_files_are_known_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        at("library/deep/thing.py", "");
        at("library/script", "#!/bin/sh\n");
        at("filter_plugins/mine.py", "return {'shout': shout}");
        at("filter_plugins/notes.txt", "'whisper'");
        at("test_plugins/mine.py", "return {\"loud\": loud}");
        at("lookup_plugins/secret.py", "");
        at(
            "collections/ansible_collections/a/b/plugins/modules/c.py",
            "",
        );
        let dirs = [dir.path().to_owned()];
        let what = |sort, name| look(sort, name, &dirs).map(|found| found.what);
        let at = |name: &str| format!("`{}`", dir.path().join(name).display());
        assert_eq!(
            what(Sort::Module, "ansible.legacy.thing").unwrap(),
            format!(
                "the module `thing` is a Python module of Ansible's: {}",
                at("library/deep/thing.py")
            )
        );
        assert!(
            what(Sort::Module, "script")
                .unwrap()
                .ends_with(&at("library/script"))
        );
        assert!(
            what(Sort::Filter, "shout")
                .unwrap()
                .ends_with(&at("filter_plugins/mine.py"))
        );
        assert!(
            what(Sort::Test, "loud")
                .unwrap()
                .ends_with(&at("test_plugins/mine.py"))
        );
        assert!(
            what(Sort::Lookup, "secret")
                .unwrap()
                .ends_with(&at("lookup_plugins/secret.py"))
        );
        assert!(what(Sort::Module, "a.b.c").unwrap().contains(&at(
            "collections/ansible_collections/a/b/plugins/modules/c.py"
        )));
        assert_eq!(
            what(Sort::Filter, "community.general.json_query").unwrap(),
            "the filter `community.general.json_query` is of the collection `community.general`, and layerplay has no collections"
        );
        for (sort, name) in [
            (Sort::Module, "nothing"),
            (Sort::Filter, "whisper"),
            (Sort::Filter, "loud"),
            (Sort::Lookup, "thing"),
            (Sort::Module, "a.b"),
            (Sort::Module, "a..c"),
            (Sort::Lookup, "../library/deep/thing"),
        ] {
            assert_eq!(what(sort, name), None, "{name}");
        }
    }
}

//! In: files and folders of variables. Out: layers, read once a run.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::Vars;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source;
use crate::template::Lazy;
use crate::yaml::parse;

/// Endings that a file of variables may have, in the order in which they are tried.
const ENDINGS: &[&str] = &["", ".yml", ".yaml", ".json"];

/// One file: a mapping, or nothing.
pub fn load_file(path: &Path) -> Result<Vars, Diagnostics> {
    let file = source::read(path)
        .map_err(|problem| Diagnostic::error(Code::UNREADABLE, problem.to_string()))?;
    let (node, problems) = parse(&file);
    if problems.has_errors() {
        return Err(problems);
    }
    let Some(node) = node.filter(|node| !node.is_null()) else {
        return Ok(Vars::new());
    };
    let mapping = node.as_mapping().ok_or_else(|| {
        Diagnostic::error(
            Code::WRONG_SHAPE,
            format!("a file of variables is a mapping, not {}", node.describe()),
        )
        .at(&node.span, "")
    })?;
    Ok(mapping
        .iter()
        .filter_map(|(name, value)| Some((Arc::from(name.as_str()?), Lazy::from_node(value))))
        .collect())
}

/// A file, or all files of a folder and the folders below it in name order, later ones stronger.
pub fn load_path(path: &Path) -> Result<Vars, Diagnostics> {
    if !path.is_dir() {
        return load_file(path);
    }
    let entries = fs::read_dir(path).map_err(|problem| {
        Diagnostic::error(Code::UNREADABLE, format!("`{}`: {problem}", path.display()))
    })?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut vars = Vars::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_vars = !name.contains('.')
            || ENDINGS
                .iter()
                .any(|ending| !ending.is_empty() && name.ends_with(ending));
        if name.starts_with('.') || name.ends_with('~') || !(path.is_dir() || is_vars) {
            continue;
        }
        vars.extend(load_path(&path)?);
    }
    Ok(vars)
}

/// Which files of a folder `include_vars` takes.
#[derive(Debug, Clone, Default)]
pub struct DirOptions {
    /// Levels below the folder; zero is all.
    pub depth: usize,
    /// A regular expression that names must match somewhere.
    pub matching: Option<String>,
    /// Regular expressions of the ends of names that are passed over.
    pub ignore: Vec<String>,
    /// Endings without their dot; Ansible's by default.
    pub extensions: Vec<String>,
    /// Other endings are passed over, and no error.
    pub ignore_unknown: bool,
}

/// All files of a folder in name order, later ones stronger, and which these are.
pub fn load_dir(path: &Path, options: &DirOptions) -> Result<(Vars, Vec<PathBuf>), Diagnostics> {
    let regex = |text: &String| {
        fancy_regex::Regex::new(text).map_err(|problem| {
            Diagnostic::error(
                Code::WRONG_SHAPE,
                format!("`{text}` is no regular expression: {problem}"),
            )
        })
    };
    let matching = options.matching.as_ref().map(regex).transpose()?;
    let ignore = options
        .ignore
        .iter()
        .map(regex)
        .collect::<Result<Vec<_>, _>>()?;
    let known = ["yml", "yaml", "json"];
    let mut vars = Vars::new();
    let mut files = Vec::new();
    let mut waiting = vec![(path.to_owned(), 1)];
    while let Some((dir, level)) = waiting.pop() {
        let entries = fs::read_dir(&dir).map_err(|problem| {
            Diagnostic::error(Code::UNREADABLE, format!("`{}`: {problem}", dir.display()))
        })?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let (dirs, own): (Vec<PathBuf>, Vec<PathBuf>) =
            paths.into_iter().partition(|path| path.is_dir());
        for file in own {
            let name = file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let ending = file
                .extension()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let has_ending = if options.extensions.is_empty() {
                known.contains(&ending.as_str())
            } else {
                options.extensions.contains(&ending)
            };
            let is_wanted = matching
                .as_ref()
                .is_none_or(|regex| regex.is_match(&name).unwrap_or(false));
            let is_ignored = ignore
                .iter()
                .any(|regex| regex.is_match(&name).unwrap_or(false));
            if is_ignored || !is_wanted {
                continue;
            }
            if has_ending {
                vars.extend(load_file(&file)?);
                files.push(file);
            } else if !options.ignore_unknown {
                let message = format!(
                    "`{}` does not have a valid extension: {}",
                    file.display(),
                    if options.extensions.is_empty() {
                        known.join(", ")
                    } else {
                        options.extensions.join(", ")
                    }
                );
                return Err(Diagnostic::error(Code::UNREADABLE, message)
                    .help(
                        "say `ignore_unknown_extensions: true`, or name the file in `ignore_files`",
                    )
                    .into());
            }
        }
        if options.depth == 0 || level < options.depth {
            waiting.extend(dirs.into_iter().rev().map(|dir| (dir, level + 1)));
        }
    }
    Ok((vars, files))
}

/// The layer of one name, once it was asked for; `None` when there is no file.
type Loaded = HashMap<(PathBuf, String), Option<Arc<Vars>>>;

/// `group_vars` and `host_vars` folders.
#[derive(Default)]
pub(super) struct Folders {
    loaded: Mutex<Loaded>,
    /// What a folder holds, listed once: ten thousand hosts must not cost forty thousand looks at the disk.
    listed: Mutex<HashMap<PathBuf, Arc<Vec<String>>>>,
}

impl Folders {
    /// The variables of a group or host below `dir`; `kind` is `group_vars` or `host_vars`.
    pub(super) fn get(
        &self,
        dir: &Path,
        kind: &str,
        name: &str,
    ) -> Result<Option<Arc<Vars>>, Diagnostics> {
        let folder = dir.join(kind);
        let key = (folder.clone(), name.to_owned());
        if let Ok(loaded) = self.loaded.lock()
            && let Some(known) = loaded.get(&key)
        {
            return Ok(known.clone());
        }
        let entries = self.list(&folder);
        let found = ENDINGS
            .iter()
            .map(|ending| format!("{name}{ending}"))
            .find(|file| entries.binary_search(file).is_ok());
        let vars = match found {
            Some(file) => Some(Arc::new(load_path(&folder.join(file))?)),
            None => None,
        };
        if let Ok(mut loaded) = self.loaded.lock() {
            loaded.insert(key, vars.clone());
        }
        Ok(vars)
    }

    fn list(&self, folder: &Path) -> Arc<Vec<String>> {
        if let Ok(listed) = self.listed.lock()
            && let Some(known) = listed.get(folder)
        {
            return Arc::clone(known);
        }
        let mut names: Vec<String> = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        let names = Arc::new(names);
        if let Ok(mut listed) = self.listed.lock() {
            listed.insert(folder.to_owned(), Arc::clone(&names));
        }
        names
    }
}

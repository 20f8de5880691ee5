//! Lookups that read files, and where files are looked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use minijinja::value::ValueKind;

use super::lists::is_list;
use super::{Found, Options, texts};
use crate::source::{SourceFile, Span};
use crate::template::{Form, LookupCall, LookupError, TemplateText, Value, about};

/// Ansible's search: beside the task's file, then beside the playbook, each with its special folder first. The error
/// has the folders that were looked in.
pub(in crate::run) fn find_in(
    search: &[PathBuf],
    folder: &str,
    name: &str,
) -> Result<PathBuf, Vec<PathBuf>> {
    let path = Path::new(name);
    if path.is_absolute() {
        return if path.exists() {
            Ok(path.to_owned())
        } else {
            Err(vec![path.to_owned()])
        };
    }
    let mut looked = Vec::new();
    for dir in search {
        for dir in [dir.join(folder), dir.clone()] {
            let candidate = dir.join(path);
            if candidate.exists() {
                return Ok(candidate);
            }
            if !looked.contains(&dir) {
                looked.push(dir);
            }
        }
    }
    Err(looked)
}

/// `~/x` is in the home of the user who runs layerplay.
fn at_home(name: &str) -> String {
    layerplay_modules::platform::at_home(name)
        .display()
        .to_string()
}

pub(super) fn locate(call: &LookupCall, folder: &str, name: &str) -> Result<PathBuf, LookupError> {
    find_in(&call.search_path(), folder, &at_home(name)).map_err(|looked| {
        let looked: Vec<_> = looked.iter().map(|dir| dir.display().to_string()).collect();
        LookupError::Text(format!(
            "Unable to access the file '{name}'; looked in {}",
            looked.join(", ")
        ))
    })
}

/// The text of a file; a vault is opened.
pub(super) fn read(call: &LookupCall, path: &Path) -> Result<String, LookupError> {
    let file = call.reader().read(path);
    file.map(|file| file.text.clone())
        .map_err(|problem| LookupError::Text(problem.to_string()))
}

pub(super) fn file(call: &LookupCall) -> Found {
    let options = Options::of(call, &["lstrip", "rstrip"])?;
    texts(call)?
        .iter()
        .map(|name| {
            let text = read(call, &locate(call, "files", name)?)?;
            let mut text = text.as_str();
            if options.flag("lstrip", false) {
                text = text.trim_start();
            }
            if options.flag("rstrip", true) {
                text = text.trim_end();
            }
            Ok(Value::from(text))
        })
        .collect()
}

/// A whole file, opened when it is a vault.
pub(super) fn unvault(call: &LookupCall) -> Found {
    Options::of(call, &[])?;
    texts(call)?
        .iter()
        .map(|name| Ok(Value::from(read(call, &locate(call, "files", name)?)?)))
        .collect()
}

pub(super) fn fileglob(call: &LookupCall) -> Found {
    Options::of(call, &[])?;
    let mut found = Vec::new();
    for term in texts(call)? {
        let term = at_home(&term);
        let dirs = match term.rsplit_once('/') {
            Some((dir, _)) => {
                let dir = if dir.is_empty() { "/" } else { dir };
                find_in(&call.search_path(), "files", dir)
                    .into_iter()
                    .collect()
            }
            None => call
                .search_path()
                .iter()
                .flat_map(|dir| [dir.join("files"), dir.clone()])
                .collect::<Vec<_>>(),
        };
        let pattern = term.rsplit('/').next().unwrap_or_default();
        for dir in dirs {
            let files = matching(&dir, pattern)?;
            if !files.is_empty() {
                found.extend(files);
                break;
            }
        }
    }
    Ok(found)
}

/// The files of a folder that match a pattern, by name.
fn matching(dir: &Path, pattern: &str) -> Found {
    let glob = layerplay_modules::fnmatch::compile(pattern)?;
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Ok(Vec::new());
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| glob.is_match(name) && (pattern.starts_with('.') || !name.starts_with('.')))
        .collect();
    names.sort();
    Ok(names
        .into_iter()
        .map(|name| Value::from(dir.join(name).display().to_string()))
        .collect())
}

pub(super) fn first_found(call: &LookupCall) -> Found {
    const OPTIONS: &[&str] = &["files", "paths", "skip"];
    let options = Options::of(call, OPTIONS)?;
    let mut search = Search {
        names: Vec::new(),
        paths: parts(options.get("paths"), &[',', ':', ';']),
        skip: options.flag("skip", false),
    };
    if call.terms.is_empty() {
        let files = parts(options.get("files"), &[',', ';']);
        search.add(&files);
    }
    search.take(&call.terms)?;
    for name in &search.names {
        if let Ok(path) = find_in(&call.search_path(), "files", &at_home(name)) {
            return Ok(vec![Value::from(path.display().to_string())]);
        }
        if let Ok(path) = find_in(&call.search_path(), "templates", name)
            && call.is_loop
        {
            return Ok(vec![Value::from(path.display().to_string())]);
        }
    }
    if search.skip {
        return Ok(Vec::new());
    }
    Err(format!(
        "No file was found when using first_found; looked for `{}`",
        search.names.join("`, `")
    )
    .into())
}

struct Search {
    names: Vec<String>,
    paths: Vec<String>,
    skip: bool,
}

impl Search {
    /// Every name below every path.
    fn add(&mut self, files: &[String]) {
        if self.paths.is_empty() {
            self.names.extend_from_slice(files);
        }
        for path in &self.paths {
            self.names
                .extend(files.iter().map(|file| format!("{path}/{file}")));
        }
    }

    fn take(&mut self, terms: &[Value]) -> Result<(), LookupError> {
        for term in terms {
            match term.kind() {
                ValueKind::String => self.add(&parts(Some(term), &[',', ';'])),
                ValueKind::Map => {
                    let get = |name: &str| {
                        term.get_attr(name)
                            .ok()
                            .filter(|value| !value.is_undefined())
                    };
                    if get("paths").is_some() {
                        self.paths = parts(get("paths").as_ref(), &[',', ':', ';']);
                    }
                    if let Some(skip) = get("skip") {
                        self.skip = skip.is_true() && skip.as_str() != Some("false");
                    }
                    self.add(&parts(get("files").as_ref(), &[',', ';']));
                }
                _ if is_list(term) => {
                    let inner: Vec<Value> =
                        term.try_iter().map(Iterator::collect).unwrap_or_default();
                    self.take(&inner)?;
                }
                _ => {
                    return Err(format!(
                        "Invalid term supplied. A string, dict or list is required, not {term}"
                    )
                    .into());
                }
            }
        }
        Ok(())
    }
}

/// A list, or text that is split.
fn parts(value: Option<&Value>, signs: &[char]) -> Vec<String> {
    match value {
        None => Vec::new(),
        Some(value) if is_list(value) => value
            .try_iter()
            .into_iter()
            .flatten()
            .flat_map(|item| parts(Some(&item), signs))
            .collect(),
        Some(value) => value
            .to_string()
            .split(signs)
            .map(ToOwned::to_owned)
            .collect(),
    }
}

pub(super) fn template(call: &LookupCall) -> Found {
    const FORM: &[&str] = &[
        "variable_start_string",
        "variable_end_string",
        "comment_start_string",
        "comment_end_string",
        "trim_blocks",
    ];
    let mut known = FORM.to_vec();
    known.push("template_vars");
    let options = Options::of(call, &known)?;
    let mut form = Form::default();
    for name in FORM {
        if let Some(value) = options.get(name) {
            form.set(name, &value.to_string())?;
        }
    }
    let mut given: IndexMap<Arc<str>, Value> = IndexMap::new();
    if let Some(vars) = options.get("template_vars") {
        for key in vars.try_iter().map_err(|problem| problem.to_string())? {
            let value = vars.get_item(&key).unwrap_or_default();
            given.insert(Arc::from(key.to_string()), value);
        }
    }
    texts(call)?
        .iter()
        .map(|name| {
            let path = locate(call, "templates", name)?;
            let form = form_for(form.clone(), &path, &call.search_path());
            let is_set = call.variable("ansible_managed").is_some();
            let mut own = about(name, &path, None, is_set);
            own.extend(given.clone());
            let file = call
                .reader()
                .read(&path)
                .map_err(|problem| problem.to_string())?;
            Ok(Value::from(call.render(&whole(&file), own, &form)?))
        })
        .collect()
}

/// The form of a file, with the folders in which what it includes is looked for.
pub(in crate::run) fn form_for(mut form: Form, path: &Path, search: &[PathBuf]) -> Form {
    form.search.extend(path.parent().map(Path::to_owned));
    for dir in search {
        form.search.push(dir.join("templates"));
        form.search.push(dir.clone());
    }
    form
}

/// A whole file as a template.
pub(in crate::run) fn whole(source: &Arc<SourceFile>) -> TemplateText {
    TemplateText {
        text: Arc::from(source.text.as_str()),
        span: Span::new(source, 0, source.text.len()),
        offset: Some(0),
    }
}

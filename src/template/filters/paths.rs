//! Filters over paths, as Python's `os.path` has them.

use minijinja::{Environment, Error};

use super::fail;

pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("basename", |path: &str| {
        path.rsplit('/').next().unwrap_or_default().to_owned()
    });
    env.add_filter("dirname", dirname);
    env.add_filter("splitext", splitext);
    env.add_filter("path_join", |parts: Vec<String>| join(&parts));
    env.add_filter("normpath", normal);
    env.add_filter("commonpath", common);
    env.add_test("abs", |path: &str| path.starts_with('/'));
}

/// What stands before the last slash; the slashes at the root stay.
fn dirname(path: &str) -> String {
    let Some(slash) = path.rfind('/') else {
        return String::new();
    };
    let head = &path[..=slash];
    let bare = head.trim_end_matches('/');
    if bare.is_empty() {
        head.to_owned()
    } else {
        bare.to_owned()
    }
}

/// `a/b.tar.gz` is `a/b.tar` and `.gz`; leading dots of a name belong to the name.
fn splitext(path: &str) -> Vec<String> {
    let name = path.rfind('/').map_or(0, |slash| slash + 1);
    let dots = path[name..].len() - path[name..].trim_start_matches('.').len();
    let at = path[name + dots..]
        .rfind('.')
        .map_or(path.len(), |dot| name + dots + dot);
    vec![path[..at].to_owned(), path[at..].to_owned()]
}

/// An absolute part starts anew.
pub(super) fn join(parts: &[String]) -> String {
    let mut path = String::new();
    for part in parts {
        if part.starts_with('/') {
            path.clear();
        } else if !path.is_empty() && !path.ends_with('/') {
            path.push('/');
        }
        path.push_str(part);
    }
    path
}

/// Without `.`, `..` and doubled slashes, by the text alone. Two slashes at the start stay two: POSIX lets them mean something.
pub(super) fn normal(path: &str) -> String {
    let slashes = path.len() - path.trim_start_matches('/').len();
    let root = match slashes {
        0 => "",
        2 => "//",
        _ => "/",
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part != ".." || (root.is_empty() && parts.last().is_none_or(|last| *last == "..")) {
            parts.push(part);
        } else {
            parts.pop();
        }
    }
    let whole = format!("{root}{}", parts.join("/"));
    if whole.is_empty() {
        ".".to_owned()
    } else {
        whole
    }
}

/// The longest path that all of them begin with, part by part.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn common(paths: Vec<String>) -> Result<String, Error> {
    let is_absolute = paths.first().is_some_and(|path| path.starts_with('/'));
    if paths.is_empty() {
        return Err(fail("`commonpath` takes at least one path"));
    }
    if paths
        .iter()
        .any(|path| path.starts_with('/') != is_absolute)
    {
        return Err(fail("`commonpath` cannot mix absolute and relative paths"));
    }
    let parts = |path: &'_ str| -> Vec<String> {
        let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
        parts.map(str::to_owned).collect()
    };
    let mut shared = parts(&paths[0]);
    for path in &paths[1..] {
        let other = parts(path);
        let same = shared.iter().zip(&other).take_while(|(a, b)| a == b);
        let length = same.count();
        shared.truncate(length);
    }
    let root = if is_absolute { "/" } else { "" };
    Ok(format!("{root}{}", shared.join("/")))
}

//! Filters over paths, as Python's `os.path` has them.

use minijinja::Environment;

pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("basename", |path: &str| {
        path.rsplit('/').next().unwrap_or_default().to_owned()
    });
    env.add_filter("dirname", dirname);
    env.add_filter("splitext", splitext);
    env.add_filter("path_join", |parts: Vec<String>| join(&parts));
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
fn join(parts: &[String]) -> String {
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

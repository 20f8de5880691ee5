//! Filters and tests that look at this machine: its files, its environment.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use minijinja::value::Value;
use minijinja::{Environment, Error};

use super::fail;
use super::paths::{join, normal};

pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("realpath", |path: &str| real(path));
    env.add_filter("relpath", relative);
    env.add_filter("expanduser", expanduser);
    env.add_filter("expandvars", expandvars);
    env.add_filter("fileglob", fileglob);
    for name in ["file", "is_file"] {
        env.add_test(name, |path: &str| Path::new(path).is_file());
    }
    for name in ["directory", "is_dir"] {
        env.add_test(name, |path: &str| Path::new(path).is_dir());
    }
    for name in ["link", "is_link"] {
        env.add_test(name, |path: &str| Path::new(path).is_symlink());
    }
    env.add_test("exists", |path: &str| Path::new(path).exists());
    env.add_test("link_exists", |path: &str| {
        Path::new(path).symlink_metadata().is_ok()
    });
    for name in ["same_file", "is_same_file"] {
        env.add_test(name, same_file);
    }
    for name in ["mount", "is_mount"] {
        env.add_test(name, is_mount);
    }
}

fn here() -> String {
    std::env::current_dir()
        .map(|dir| dir.display().to_string())
        .unwrap_or_default()
}

/// Links followed as far as there are files, the rest by the text alone.
fn real(path: &str) -> String {
    let whole = normal(&join(&[here(), path.to_owned()]));
    let mut head = Path::new(&whole);
    loop {
        if let Ok(found) = head.canonicalize() {
            let rest = Path::new(&whole)
                .strip_prefix(head)
                .unwrap_or(Path::new(""));
            let joined = if rest.as_os_str().is_empty() {
                found
            } else {
                found.join(rest)
            };
            return joined.display().to_string();
        }
        match head.parent() {
            Some(parent) => head = parent,
            None => return whole,
        }
    }
}

/// The way from one folder to a path.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn relative(path: &str, start: Option<String>) -> String {
    let whole = |path: &str| normal(&join(&[here(), path.to_owned()]));
    let parts = |path: &str| -> Vec<String> {
        let parts = path.split('/').filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    };
    let to = parts(&whole(path));
    let from = parts(&whole(start.as_deref().unwrap_or(".")));
    let same = to.iter().zip(&from).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", from.len() - same);
    let way: Vec<&str> = up.chain(to[same..].iter().map(String::as_str)).collect();
    if way.is_empty() {
        ".".to_owned()
    } else {
        way.join("/")
    }
}

/// `~` and `~/x` by the environment; `~name` by the list of users.
fn expanduser(path: &str) -> String {
    let Some(rest) = path.strip_prefix('~') else {
        return path.to_owned();
    };
    let (name, tail) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let home = if name.is_empty() {
        std::env::var("HOME").ok()
    } else {
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        users.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            (fields.first() == Some(&name)).then(|| fields.get(5).map(ToString::to_string))?
        })
    };
    match home {
        Some(home) => format!("{}{tail}", home.trim_end_matches('/')),
        None => path.to_owned(),
    }
}

/// `$NAME` and `${NAME}`; what is not set stays.
fn expandvars(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let braced = after
            .strip_prefix('{')
            .and_then(|body| body.split_once('}'));
        let (name, length) = if let Some((name, _)) = braced {
            (name, name.len() + 2)
        } else {
            let end = after
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(after.len());
            (&after[..end], end)
        };
        match std::env::var(name) {
            Ok(value) if !name.is_empty() => out.push_str(&value),
            _ => out.push_str(&rest[at..=at + length]),
        }
        rest = &after[length..];
    }
    out + rest
}

/// As Ansible reads a path: variables of the environment, then `~`.
pub fn expand_path(path: &str) -> String {
    expanduser(&expandvars(path))
}

/// The files of a folder that match, by name.
fn fileglob(pattern: &str) -> Result<Vec<String>, Error> {
    let (dir, name) = pattern
        .rsplit_once('/')
        .map_or((".", pattern), |(dir, name)| {
            (if dir.is_empty() { "/" } else { dir }, name)
        });
    let glob = layerplay_modules::fnmatch::compile(name).map_err(fail)?;
    let mut found: Vec<String> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|file| glob.is_match(file) && (name.starts_with('.') || !file.starts_with('.')))
        .map(|file| pattern[..pattern.len() - name.len()].to_owned() + &file)
        .collect();
    found.sort();
    Ok(found)
}

fn same_file(a: &str, b: &str) -> Result<bool, Error> {
    let look = |path: &str| {
        std::fs::metadata(path)
            .map(|found| (found.dev(), found.ino()))
            .map_err(|problem| fail(format!("`{path}`: {problem}")))
    };
    Ok(look(a)? == look(b)?)
}

/// A folder on another device than the one that it is in, or the root.
fn is_mount(path: &Value) -> bool {
    let path = path.to_string();
    let device = |path: &Path| {
        path.symlink_metadata()
            .map(|found| (found.dev(), found.ino()))
    };
    let (Ok(own), Ok(above)) = (
        device(Path::new(&path)),
        device(&Path::new(&path).join("..")),
    ) else {
        return false;
    };
    !Path::new(&path).is_symlink() && (own.0 != above.0 || own.1 == above.1)
}

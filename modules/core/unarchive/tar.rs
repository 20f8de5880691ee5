//! In: a tar archive of the host and a folder. Out: where they differ, as `tar --diff` says it; the archive unpacked.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{Args, Compared, Difference, Staged, Unpack, check_name, leads_out};
use crate::core::host;
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// Names `tar` in `$t`: GNU's, which alone knows `--diff`.
const PROGRAM: &str = r#"LC_ALL=C; export LC_ALL
if command -v gtar >/dev/null 2>&1; then t=gtar; elif command -v tar >/dev/null 2>&1; then t=tar; else exit 90; fi
case $($t --version 2>/dev/null) in *"GNU tar"*) ;; *) exit 90 ;; esac
a=$1 d=$2; shift 2
"#;

/// Lists it in full, then compares.
const COMPARE: &str = r#"$t --list -v --utc --full-time --quoting-style=c -f "$a" "$@" || exit 95
printf '\0'; id -u; printf '\0'
$t --diff -C "$d" -f "$a" "$@" 2>&1
exit 0"#;

const EXTRACT: &str = r#"exec $t --extract -C "$d" -f "$a" "$@""#;

/// One entry of the list.
#[derive(Debug, PartialEq)]
struct Entry {
    name: String,
    /// Where a symbolic link leads.
    link: Option<String>,
    /// The entry that a hard link is another name of.
    hard: Option<String>,
    /// Seconds since 1970, for [`Args::keep_newer`].
    modified: f64,
}

/// Text in double quotes, as C writes it, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut bytes = Vec::new();
    let inner = text.strip_prefix('"')?;
    let raw = inner.as_bytes();
    let mut at = 0;
    loop {
        let byte = *raw.get(at)?;
        at += 1;
        match byte {
            b'"' => break,
            b'\\' => {
                let escape = *raw.get(at)?;
                at += 1;
                bytes.push(match escape {
                    b'a' => 7,
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'v' => 11,
                    b'0'..=b'7' => {
                        let digits = inner.get(at - 1..at + 2)?;
                        at += 2;
                        u8::from_str_radix(digits, 8).ok()?
                    }
                    other => other,
                });
            }
            other => bytes.push(other),
        }
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Some((text, inner.get(at..)?))
}

/// A line of `tar --list -v --utc --full-time --quoting-style=c`.
fn entry(line: &str) -> Option<Entry> {
    let at = line.find('"')?;
    let (head, tail) = line.split_at(at);
    let (name, rest) = quoted(tail)?;
    let mut words = head.split_whitespace().rev();
    let (time, date) = (words.next()?, words.next()?);
    let modified = format!("{date}T{time}Z")
        .parse::<jiff::Timestamp>()
        .map_or(0.0, |time| {
            std::time::Duration::try_from(time.as_duration()).map_or(0.0, |d| d.as_secs_f64())
        });
    let target = |mark: &str| {
        let text = rest.strip_prefix(mark)?;
        quoted(text).map(|(target, _)| target)
    };
    Some(Entry {
        link: target(" -> "),
        hard: target(" link to "),
        name,
        modified,
    })
}

/// Whether a link's text, at this name, leads out of the folder that the names are in.
fn is_outside(name: &str, text: &str) -> bool {
    if text.starts_with('/') {
        return true;
    }
    let mut depth = name.trim_end_matches('/').matches('/').count();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

/// Refuses entries that would be written outside: by their own names, or through links of the archive itself.
fn check(entries: &[Entry]) -> Result<(), ModuleError> {
    let plain = |name: &str| {
        name.trim_start_matches("./")
            .trim_start_matches('/')
            .to_owned()
    };
    let mut outside: HashSet<String> = HashSet::new();
    for entry in entries {
        check_name(&entry.name)?;
        if let Some(target) = &entry.hard {
            check_name(target)?;
        }
        let name = plain(&entry.name);
        if let Some(text) = &entry.link
            && is_outside(&name, text)
        {
            outside.insert(name);
        }
    }
    for entry in entries {
        let name = plain(&entry.name);
        let through = name
            .match_indices('/')
            .filter_map(|(at, _)| name.get(..at))
            .any(|above| outside.contains(above));
        if through {
            return Err(leads_out(&entry.name));
        }
    }
    Ok(())
}

fn no_program(platform: &Platform) -> ModuleError {
    let place = platform
        .shell()
        .map_or_else(|_| "the host".to_owned(), |shell| shell.place());
    ModuleError::new(
        ErrorKind::MissingProgram,
        format!("{place} has no GNU `tar`, which alone can compare an archive with a folder"),
    )
    .hint("install `tar` there")
}

/// The words that choose entries.
fn words(args: &Args) -> Vec<String> {
    let mut words = Vec::new();
    if !args.extra_opts.is_empty() {
        words.push("--show-transformed-names".to_owned());
        words.extend(args.extra_opts.iter().cloned());
    }
    words.extend(args.exclude.iter().map(|one| format!("--exclude={one}")));
    words.push("--".to_owned());
    words.extend(args.include.iter().cloned());
    words
}

/// What of a line of `tar --diff` counts. A user other than root cannot give files away, and what the task sets itself
/// is looked at later.
fn difference(line: &str, is_root: bool, args: &Args) -> Option<Difference> {
    let line = line
        .strip_prefix("tar: ")
        .or_else(|| line.strip_prefix("gtar: "))
        .unwrap_or(line);
    let (path, what) = match line.split_once(": Warning: ") {
        Some((path, what)) => (path, what),
        None => line.rsplit_once(": ")?,
    };
    let counts = match what {
        "Uid differs" => is_root && args.owner.is_none(),
        "Gid differs" => is_root && args.group.is_none(),
        "Mode differs" => args.mode.is_none(),
        "Mod time differs"
        | "Symlink differs"
        | "Contents differ"
        | "Size differs"
        | "File type differs"
        | "Device number differs" => true,
        _ if what.starts_with("Cannot stat") || what.starts_with("Cannot readlink") => {
            !path.is_empty()
        }
        _ => what.starts_with("Not linked to") || line.contains(": Not linked to "),
    };
    counts.then(|| Difference {
        path: path.to_owned(),
        what: what.to_owned(),
    })
}

pub(super) async fn compare(
    args: &Args,
    staged: &Staged,
    dest: &str,
    platform: &Platform,
) -> Result<Compared, ModuleError> {
    let mut all = vec![staged.path.clone(), dest.to_owned()];
    all.extend(words(args));
    let script = format!("{PROGRAM}{COMPARE}");
    let output = host::script(platform, &script, &all, None).await?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    match output.rc {
        0 => {}
        90 => return Err(no_program(platform)),
        _ => {
            return Err(ModuleError::failed(format!(
                "Failed to find handler for \"{}\". Make sure the required command to extract the file is installed.\n{said}",
                staged.shown
            )));
        }
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut parts = text.split('\0');
    let mut part = || parts.next().unwrap_or_default();
    let (list, user, compared) = (part(), part().trim(), part());
    let entries: Vec<Entry> = list.lines().filter_map(entry).collect();
    if entries.is_empty() {
        return Err(ModuleError::failed(format!(
            "Failed to find handler for \"{}\". Command \"tar\" found no files in archive. Empty archive files are not supported.",
            staged.shown
        )));
    }
    check(&entries)?;
    let mut differences: Vec<Difference> = compared
        .lines()
        .filter_map(|line| difference(line, user == "0", args))
        .collect();
    if args.keep_newer && !differences.is_empty() {
        let paths: Vec<String> = entries
            .iter()
            .map(|entry| host::join(dest, entry.name.trim_start_matches('/')))
            .collect();
        let looks = host::look(platform, &paths, None).await?;
        let newer: Vec<&str> = entries
            .iter()
            .zip(&looks.all)
            .filter(|(entry, look)| {
                look.own().is_some_and(|meta| {
                    meta.kind() == host::Kind::File && meta.modified >= entry.modified
                })
            })
            .map(|(entry, _)| entry.name.as_str())
            .collect();
        differences.retain(|difference| !newer.contains(&difference.path.as_str()));
    }
    let names = entries
        .into_iter()
        .map(|entry| entry.name.trim_start_matches('/').to_owned())
        .collect();
    Ok(Compared {
        names,
        differences,
        work: Unpack::Tar,
    })
}

/// Unpacks it; what `tar` said is part of the result.
pub(super) async fn extract(
    args: &Args,
    staged: &Staged,
    dest: &str,
    platform: &Platform,
) -> Result<Value, ModuleError> {
    let mut all = vec![staged.path.clone(), dest.to_owned()];
    if args.keep_newer {
        all.push("--keep-newer-files".to_owned());
    }
    all.extend(words(args));
    let script = format!("{PROGRAM}{EXTRACT}");
    let output = host::script(platform, &script, &all, None).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    let mut cmd = ["tar", "--extract", "-C", dest, "-f", &staged.shown]
        .map(str::to_owned)
        .to_vec();
    cmd.extend_from_slice(all.get(2..).unwrap_or_default());
    let results = json!({
        "cmd": cmd, "rc": output.rc, "out": text(&output.stdout), "err": text(&output.stderr),
    });
    if output.rc == 0 {
        return Ok(results);
    }
    let said = text(&output.stderr);
    Err(ModuleError::failed(format!(
        "failed to unpack {} to {dest}: {said}",
        staged.shown
    ))
    .with("extract_results", results))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_whatever_the_names_are() {
        let line =
            r#"lrwxrwxrwx root/the root 0 2020-01-02 03:04:05.5 "a \"b\" -> \303\251\n" -> "/x y""#;
        let read = entry(line).unwrap();
        assert_eq!(read.name, "a \"b\" -> é\n");
        assert_eq!(read.link.as_deref(), Some("/x y"));
        assert!((read.modified - 1_577_934_245.5).abs() < 0.001);
        let line = r#"hrw-r--r-- 0/0 0 2020-01-02 03:04:05 "b" link to "a""#;
        assert_eq!(entry(line).unwrap().hard.as_deref(), Some("a"));
        assert_eq!(entry("no entry"), None);
    }

    #[test]
    fn entries_that_lead_out_are_refused() {
        let entry = |name: &str, link: Option<&str>| Entry {
            name: name.to_owned(),
            link: link.map(str::to_owned),
            hard: None,
            modified: 0.0,
        };
        let are_fine = |all: &[Entry]| check(all).is_ok();
        assert!(are_fine(&[
            entry("/a/b", None),
            entry("./c", Some("../..")),
            entry("d..", None)
        ]));
        assert!(!are_fine(&[entry("a/../../b", None)]));
        assert!(!are_fine(&[entry("..", None)]));
        assert!(!are_fine(&[
            entry("a", Some("/etc")),
            entry("a/passwd", None)
        ]));
        assert!(!are_fine(&[
            entry("./x/a", Some("../../y")),
            entry("x/a/z", None)
        ]));
        assert!(are_fine(&[
            entry("x/a", Some("../y")),
            entry("x/a/z", None)
        ]));
        let hard = Entry {
            hard: Some("../../etc/shadow".to_owned()),
            ..entry("a", None)
        };
        assert!(!are_fine(&[hard]));
    }
}

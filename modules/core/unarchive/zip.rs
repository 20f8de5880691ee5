//! In: a zip archive of the host and a folder. Out: where they differ, and the steps that make the folder like it. The
//! archive is unpacked beside first: only so are its files whole before one of them takes its place.

use serde_json::json;

use super::{Args, Compared, Difference, Staged, Unpack, check_name};
use crate::core::host::{self, Algorithm, Expected, Kind, Origin, Step, Write};
use crate::core::http;
use crate::error::ModuleError;
use crate::platform::Platform;

/// Words: the archive, then those for `unzip`. It lists all names, each on a line (busybox has no other list than a
/// table), and unpacks into a new folder. An empty password keeps it from asking for one.
const SCRIPT: &str = r#"LC_ALL=C; export LC_ALL; umask 022
a=$1; shift
command -v unzip >/dev/null 2>&1 || exit 90
if names=$(unzip -Z1 "$a" 2>/dev/null); then p=y; else
p=; names=$(unzip -l "$a") || exit 95
names=$(printf '%s\n' "$names" | sed -e '1,/^ *-----/d' -e '/^ *-----/,$d' -e 's/^ *[0-9]*  *[-0-9]*  *[0-9:]*  *//')
fi
d=$(umask 077; mktemp -d) || exit 1
printf '%s\n\0%s\0' "$names" "$d"
if [ -n "$p" ]; then unzip -o -P "" "$a" "$@" -d "$d" < /dev/null; else unzip -o "$a" "$@" -d "$d" < /dev/null; fi
r=$?
[ "$r" -le 1 ] || { rm -rf -- "$d"; exit "$r"; }"#;

/// A folder that the archive was unpacked to.
struct Unpacked {
    folder: String,
    names: Vec<String>,
    out: String,
    err: String,
    cmd: Vec<String>,
}

async fn unpack(
    args: &Args,
    staged: &Staged,
    platform: &Platform,
) -> Result<Unpacked, ModuleError> {
    let mut words = args.extra_opts.clone();
    words.extend(args.include.iter().cloned());
    if !args.exclude.is_empty() {
        words.push("-x".to_owned());
        words.extend(args.exclude.iter().cloned());
    }
    let mut all = vec![staged.path.clone()];
    all.extend(words.iter().cloned());
    let output = host::script(platform, SCRIPT, &all, None).await?;
    let err = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut parts = text.splitn(3, '\0');
    let mut part = || parts.next().unwrap_or_default();
    let (names, folder, out) = (part(), part(), part());
    let place = platform.shell()?.place();
    match output.rc {
        0 => {}
        90 => {
            return Err(ModuleError::lacks(&place, "unzip").hint("install `unzip` there"));
        }
        rc => {
            return Err(
                ModuleError::failed(format!("failed to unpack {}: {err}", staged.shown))
                    .with("rc", rc),
            );
        }
    }
    let mut cmd = vec!["unzip".to_owned(), "-o".to_owned(), staged.shown.clone()];
    cmd.extend(words);
    Ok(Unpacked {
        folder: folder.to_owned(),
        names: names.lines().map(ToOwned::to_owned).collect(),
        out: out.trim().to_owned(),
        err,
        cmd,
    })
}

pub(super) async fn compare(
    args: &Args,
    staged: &Staged,
    dest: &str,
    platform: &Platform,
) -> Result<Compared, ModuleError> {
    let unpacked = unpack(args, staged, platform).await?;
    let folder = unpacked.folder.clone();
    let done = steps(args, unpacked, dest, platform).await;
    if done.is_err() {
        http::remove(platform, &folder).await?;
    }
    done
}

async fn steps(
    args: &Args,
    unpacked: Unpacked,
    dest: &str,
    platform: &Platform,
) -> Result<Compared, ModuleError> {
    for name in &unpacked.names {
        check_name(name)?;
    }
    let folder = &unpacked.folder;
    let names = host::list(platform, folder, false).await?;
    let new: Vec<String> = names.iter().map(|name| host::join(folder, name)).collect();
    let old: Vec<String> = names.iter().map(|name| host::join(dest, name)).collect();
    let new = host::look(platform, &new, Some(Algorithm::Sha1)).await?;
    let old = host::look(platform, &old, Some(Algorithm::Sha1)).await?;
    let (mut steps, mut differences) = (Vec::new(), Vec::new());
    for ((name, new), old) in names.iter().zip(&new.all).zip(&old.all) {
        let Some(meta) = new.own() else { continue };
        let path = old.path.clone();
        let mut note = |what: &str| {
            differences.push(Difference {
                path: name.clone(),
                what: what.to_owned(),
            });
        };
        let there = old.own().map(host::Meta::kind);
        let mode = args.mode.is_none().then(|| meta.mode());
        match (meta.kind(), there) {
            (Kind::Folder, _) if old.is_folder() => {}
            (Kind::Folder, None) => {
                note("absent");
                steps.push(Step::Folder { path: path.clone() });
                steps.push(Step::Mode {
                    path,
                    mode: meta.mode(),
                });
            }
            (Kind::Folder, _) => {
                return Err(ModuleError::failed(format!(
                    "`{path}` is no folder, where the archive has one"
                )));
            }
            (_, Some(Kind::Folder)) => {
                return Err(ModuleError::failed(format!(
                    "`{path}` is a folder, where the archive has a file"
                )));
            }
            (Kind::Link, _) => {
                let text = new.link().map(|link| link.text.clone()).unwrap_or_default();
                if old.link().map(|link| link.text.as_str()) != Some(&text) {
                    note("another link");
                    steps.push(Step::Expect {
                        path: path.clone(),
                        state: Expected::from(old),
                    });
                    steps.push(Step::Link { text, path });
                }
            }
            (Kind::File, Some(Kind::File)) if new.checksum() == old.checksum() => {
                let differs = old.own().map(host::Meta::mode);
                if let Some(mode) = mode.filter(|mode| Some(*mode) != differs) {
                    note("another mode");
                    steps.push(Step::Mode { path, mode });
                }
            }
            (Kind::File, _) => {
                let is_newer = old.own().is_some_and(|old| old.modified >= meta.modified);
                if args.keep_newer && there == Some(Kind::File) && is_newer {
                    continue;
                }
                note(if there.is_some() {
                    "another content"
                } else {
                    "absent"
                });
                steps.push(Step::Expect {
                    path: path.clone(),
                    state: Expected::from(old),
                });
                steps.push(Step::Write(Write {
                    path,
                    origin: Origin::Host(new.path.clone()),
                    mode: Some(meta.mode()),
                    keep: None,
                    owner: None,
                    group: None,
                    keeps_times: true,
                    validate: None,
                }));
            }
            _ => {}
        }
    }
    // A folder has a `/` at its end, as in the archive's own list.
    let is_folder = |at: usize| {
        new.all
            .get(at)
            .is_some_and(|look| look.state() == "directory")
    };
    let names = names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            if is_folder(at) {
                format!("{name}/")
            } else {
                name.clone()
            }
        })
        .collect();
    Ok(Compared {
        names,
        differences,
        work: Unpack::Zip {
            folder: unpacked.folder,
            steps,
            result: json!({"cmd": unpacked.cmd, "rc": 0, "out": unpacked.out, "err": unpacked.err}),
        },
    })
}

//! In: steps that change files of a host. Out: the files as they are then. All steps of a task are one script and one
//! round trip; the first that fails ends it. A file is written beside its path and renamed, so that nobody ever reads
//! half of it.

use std::sync::Arc;

use super::hash::Algorithm;
use super::look::{self, Kind, Look, Looks};
use super::{script, steps_local};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// What must still be at a path, since it was decided by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::core) enum Expected {
    Absent,
    Folder,
    /// A file with this SHA-1.
    Content(String),
    /// A file whose content was not looked at.
    File,
    /// A link that says this.
    Link(String),
    Other,
}

impl Expected {
    /// What was seen.
    pub(in crate::core) fn from(look: &Look) -> Self {
        match (look.own(), look.link()) {
            (_, Some(link)) => Self::Link(link.text.clone()),
            (None, None) => Self::Absent,
            (Some(meta), None) => match (meta.kind(), look.checksum()) {
                (Kind::Folder, _) => Self::Folder,
                (Kind::File, Some(sum)) => Self::Content(sum.to_owned()),
                (Kind::File, None) => Self::File,
                _ => Self::Other,
            },
        }
    }

    /// As the script's `now` says it.
    fn word(&self) -> String {
        match self {
            Self::Absent => "absent".to_owned(),
            Self::Folder => "directory".to_owned(),
            Self::Content(sum) => format!("sha1:{sum}"),
            Self::File => "file".to_owned(),
            Self::Link(text) => format!("link:{text}"),
            Self::Other => "other".to_owned(),
        }
    }
}

/// Where the bytes of a written file come from.
#[derive(Clone)]
pub(in crate::core) enum Origin {
    Bytes(Arc<Vec<u8>>),
    /// A file of this machine, read when it is sent.
    Controller(String),
    /// A file of the host.
    Host(String),
    /// A file of the host that is renamed, and is there no more.
    Taken(String),
}

/// A file to be written.
#[derive(Clone)]
pub(in crate::core) struct Write {
    pub(in crate::core) path: String,
    pub(in crate::core) origin: Origin,
    /// The mode; without one, what the host's umask leaves of `0666`.
    pub(in crate::core) mode: Option<u32>,
    /// Owner and group of the file that is replaced, kept as far as the user may.
    pub(in crate::core) keep: Option<(u32, u32)>,
    pub(in crate::core) owner: Option<String>,
    pub(in crate::core) group: Option<String>,
    /// The new file gets the times of [`Origin::Host`].
    pub(in crate::core) keeps_times: bool,
    /// A command that must accept the new file before it takes its place; `%s` stands for it.
    pub(in crate::core) validate: Option<Vec<String>>,
}

/// A moment for [`Step::Times`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum When {
    Now,
    /// Seconds since 1970.
    At(i64),
}

/// One change.
#[derive(Clone)]
pub(in crate::core) enum Step {
    /// Goes on only while this is so.
    Expect {
        path: String,
        state: Expected,
    },
    /// Makes a folder in a folder that is there.
    Folder {
        path: String,
    },
    Write(Write),
    /// Makes a symbolic link, over whatever file is there.
    Link {
        text: String,
        path: String,
    },
    /// Gives a file a second name, over whatever file is there.
    Hard {
        from: String,
        path: String,
    },
    /// Copies a file with its rights and times.
    Backup {
        path: String,
        to: String,
    },
    Owner {
        path: String,
        owner: String,
    },
    Group {
        path: String,
        group: String,
    },
    Mode {
        path: String,
        mode: u32,
    },
    /// Removes a file or a folder with all that is in it.
    Remove {
        path: String,
    },
    /// Removes a folder that is empty.
    RemoveEmpty {
        path: String,
    },
    /// Makes an empty file.
    Create {
        path: String,
    },
    Times {
        path: String,
        accessed: Option<When>,
        modified: Option<When>,
    },
}

impl Step {
    /// What it does, for errors.
    pub(super) fn what(&self) -> String {
        match self {
            Self::Expect { path, .. } => format!("look at `{path}`"),
            Self::Folder { path } => format!("make the folder `{path}`"),
            Self::Write(write) => format!("write `{}`", write.path),
            Self::Link { path, .. } | Self::Hard { path, .. } => format!("make the link `{path}`"),
            Self::Backup { path, .. } => format!("back up `{path}`"),
            Self::Owner { path, owner } => format!("give `{path}` to the user `{owner}`"),
            Self::Group { path, group } => format!("give `{path}` to the group `{group}`"),
            Self::Mode { path, .. } => format!("set the mode of `{path}`"),
            Self::Remove { path } | Self::RemoveEmpty { path } => format!("remove `{path}`"),
            Self::Create { path } => format!("make the file `{path}`"),
            Self::Times { path, .. } => format!("set the times of `{path}`"),
        }
    }

    /// The words that the script reads. `content` says where a written file's bytes are.
    fn words(&self, content: &str) -> Vec<String> {
        let words: Vec<&str> = match self {
            Self::Expect { path, state } => {
                return vec!["expect".to_owned(), path.clone(), state.word()];
            }
            Self::Folder { path } => vec!["folder", path],
            Self::Write(write) => {
                let mut words = vec![
                    "write".to_owned(),
                    write.path.clone(),
                    content.to_owned(),
                    write
                        .mode
                        .map(|mode| format!("{mode:o}"))
                        .unwrap_or_default(),
                    write
                        .keep
                        .map(|(uid, gid)| format!("{uid}:{gid}"))
                        .unwrap_or_default(),
                    write.owner.clone().unwrap_or_default(),
                    write.group.clone().unwrap_or_default(),
                    if write.keeps_times { "t" } else { "" }.to_owned(),
                ];
                let validate = write.validate.clone().unwrap_or_default();
                words.push(validate.len().to_string());
                words.extend(validate);
                return words;
            }
            Self::Link { text, path } => vec!["link", text, path],
            Self::Hard { from, path } => vec!["hard", from, path],
            Self::Backup { path, to } => vec!["backup", path, to],
            Self::Owner { path, owner } => vec!["owner", path, owner],
            Self::Group { path, group } => vec!["group", path, group],
            Self::Mode { path, mode } => {
                return vec!["mode".to_owned(), path.clone(), format!("{mode:o}")];
            }
            Self::Remove { path } => vec!["remove", path],
            Self::RemoveEmpty { path } => vec!["rmdir", path],
            Self::Create { path } => vec!["create", path],
            Self::Times {
                path,
                accessed,
                modified,
            } => {
                let word = |when: &Option<When>| match when {
                    None => String::new(),
                    Some(When::Now) => "now".to_owned(),
                    Some(When::At(seconds)) => format!("@{seconds}"),
                };
                return vec![
                    "times".to_owned(),
                    path.clone(),
                    word(accessed),
                    word(modified),
                ];
            }
        };
        words.into_iter().map(ToOwned::to_owned).collect()
    }
}

/// Words: `spool` or nothing, how many paths are looked at in the end, these, then the steps. Standard input has the
/// contents one after another; with `spool` they are put aside first, since a step reads only its part.
const SCRIPT: &str = r#"
LC_ALL=C; export LC_ALL
all=; t=; n=0
trap 'if [ -n "$all$t" ]; then rm -f -- "$all" "$t" 2>/dev/null; fi' EXIT
trap 'exit 1' HUP INT TERM
die() { printf 'step\0%s\0' "$n"; exit 43; }
now() {
if [ -L "$1" ]; then printf link:; readlink -- "$1"
elif [ -d "$1" ]; then echo directory
elif [ -f "$1" ]; then case $2 in sha1:*) s=$(sha1sum < "$1") && echo "sha1:${s%% *}" ;; *) echo file ;; esac
elif [ -e "$1" ]; then echo other
else echo absent; fi
}
over() { mv -fT -- "$1" "$2" 2>/dev/null || { if [ -L "$2" ]; then rm -f -- "$2"; fi; [ ! -d "$2" ] && mv -f -- "$1" "$2"; }; }
fill() {
case $1 in
-) cat ;;
=*) cat < "${1#=}" ;;
*) tail -c "+${1%%:*}" < "$all" | head -c "${1#*:}" ;;
esac
}
replace() {
path=$1 from=$2 mode=$3 keep=$4 owner=$5 group=$6 times=$7 k=$8; shift 8
case $from in
!*) t=${from#!} ;;
*) t=$(umask 077; mktemp "$path.XXXXXX") && fill "$from" > "$t" || die ;;
esac
if [ -n "$keep" ]; then chown -- "$keep" "$t" 2>/dev/null || chgrp -- "${keep#*:}" "$t" 2>/dev/null || :; fi
if [ -n "$owner" ]; then chown -- "$owner" "$t" || die; fi
if [ -n "$group" ]; then chgrp -- "$group" "$t" || die; fi
if [ -n "$mode" ]; then chmod -- "$mode" "$t" || die; else chmod =rw "$t" || die; fi
if [ -n "$times" ]; then touch -r "${from#=}" -- "$t" || die; fi
if [ "$k" -gt 0 ]; then
i=0
while [ "$i" -lt "$k" ]; do
w=$1; shift; case $w in *%s*) w=${w%%%s*}$t${w#*%s} ;; esac
set -- "$@" "$w"; i=$((i+1))
done
shift $(($# - k))
out=$("$@" < /dev/null) || { printf 'validate\0%s\0%s\0' "$?" "$out"; exit 46; }
fi
over "$t" "$path" || die
t=
}
link() { t=$(mktemp -u "$2.XXXXXX") && ln $3 -- "$1" "$t" && over "$t" "$2" && t=; }
if [ "$1" = spool ]; then all=$(mktemp) && cat > "$all" || die; fi
c=$2; shift 2; i=0
while [ "$i" -lt "$c" ]; do set -- "$@" "$1"; shift; i=$((i+1)); done
left=$(($# - c))
while [ "$left" -gt 0 ]; do
op=$1; before=$#; shift
case $op in
expect) s=$(now "$1" "$2"); [ "$s" = "$2" ] || { printf 'step\0%s\0' "$n"; exit 45; }; shift 2 ;;
folder) [ -d "$1" ] || mkdir -- "$1" || die; shift ;;
write) k=$8; replace "$@"; shift $((8+k)) ;;
link) link "$1" "$2" -s || die; shift 2 ;;
hard) link "$1" "$2" "" || die; shift 2 ;;
backup) cp -p -- "$1" "$2" || die; shift 2 ;;
owner) chown -h -- "$2" "$1" || die; shift 2 ;;
group) chgrp -h -- "$2" "$1" || die; shift 2 ;;
mode) chmod -- "$2" "$1" || die; shift 2 ;;
remove) rm -rf -- "$1" || die; shift ;;
rmdir) rmdir -- "$1" || die; shift ;;
create) touch -- "$1" || die; shift ;;
times)
if [ "$2" = now ] && [ "$3" = now ]; then touch -c -- "$1" || die; else
case $2 in now) touch -c -a -- "$1" || die ;; @*) touch -c -a -d "$2" -- "$1" || die ;; esac
case $3 in now) touch -c -m -- "$1" || die ;; @*) touch -c -m -d "$3" -- "$1" || die ;; esac
fi
shift 3 ;;
esac
n=$((n+1)); left=$((left - before + $#))
done
sum=sha1sum
"#;

/// Takes the steps in order, then looks at the paths (with their SHA-1).
pub(in crate::core) async fn take(
    platform: &Platform,
    steps: Vec<Step>,
    paths: &[String],
) -> Result<Looks, ModuleError> {
    let validates = steps
        .iter()
        .any(|step| matches!(step, Step::Write(write) if write.validate.is_some()));
    if platform.shell()?.is_local() && !validates {
        let paths = paths.to_vec();
        return tokio::task::spawn_blocking(move || {
            steps_local::take(&steps)?;
            look::local(&paths, Some(Algorithm::Sha1))
        })
        .await
        .map_err(|problem| ModuleError::failed(format!("writing stopped: {problem}")))?;
    }
    let mut rest = steps.as_slice();
    while !rest.is_empty() {
        let mut size: usize = paths.iter().map(|path| path.len() + 3).sum();
        let fits = rest
            .iter()
            .take_while(|step| {
                size += step
                    .words("")
                    .iter()
                    .map(|word| word.len() + 3)
                    .sum::<usize>();
                size < look::WORDS
            })
            .count()
            .max(1);
        let (now, later) = rest.split_at(fits.min(rest.len()));
        rest = later;
        if rest.is_empty() {
            return batch(platform, now, paths).await;
        }
        batch(platform, now, &[]).await?;
    }
    look::look(platform, paths, Some(Algorithm::Sha1)).await
}

async fn batch(
    platform: &Platform,
    steps: &[Step],
    paths: &[String],
) -> Result<Looks, ModuleError> {
    let bytes = steps
        .iter()
        .filter(
            |step| matches!(step, Step::Write(write) if !matches!(write.origin, Origin::Host(_) | Origin::Taken(_))),
        )
        .count();
    let mut contents: Vec<u8> = Vec::new();
    let mut words = vec![
        if bytes > 1 { "spool" } else { "" }.to_owned(),
        paths.len().to_string(),
    ];
    words.extend_from_slice(paths);
    for step in steps {
        let mut content = String::new();
        if let Step::Write(write) = step {
            let start = contents.len() + 1;
            match &write.origin {
                Origin::Bytes(bytes) => contents.extend_from_slice(bytes),
                Origin::Controller(path) => {
                    contents.extend(tokio::fs::read(path).await.map_err(|problem| {
                        ModuleError::new(
                            script::io_kind(&problem),
                            format!("`{path}` cannot be read on this machine: {problem}"),
                        )
                    })?);
                }
                Origin::Host(_) | Origin::Taken(_) => {}
            }
            content = match &write.origin {
                Origin::Host(path) => format!("={path}"),
                Origin::Taken(path) => format!("!{path}"),
                _ if bytes > 1 => format!("{start}:{}", contents.len() + 1 - start),
                _ => "-".to_owned(),
            };
        }
        words.extend(step.words(&content));
    }
    let text = format!("{SCRIPT}{}", look::SCRIPT);
    let stdin = (bytes > 0).then_some(contents);
    let output = script::run(platform, &text, &words, stdin).await?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let mut answers = stdout.split('\0').skip(1);
    let number = answers.next().and_then(|text| text.parse::<i32>().ok());
    let step = number
        .and_then(|number| usize::try_from(number).ok())
        .and_then(|number| steps.get(number));
    match (output.rc, step) {
        (0, _) => look::parse(platform, paths, &output.stdout, &output.stderr),
        (45, Some(Step::Expect { path, .. })) => Err(moved(path)),
        (46, _) => {
            let out = answers.next().unwrap_or_default();
            let lines = |text: &str| text.lines().map(ToOwned::to_owned).collect::<Vec<_>>();
            Err(ModuleError::failed("failed to validate")
                .hint("the command of `validate` does not accept the new file; `stdout` and `stderr` of the result have what it said")
                .with("exit_status", number.unwrap_or(1))
                .with("stdout", out)
                .with("stdout_lines", lines(out))
                .with("stderr", said.clone())
                .with("stderr_lines", lines(&said)))
        }
        (_, step) => {
            let what = step.map_or_else(|| "change files".to_owned(), Step::what);
            Err(ModuleError::new(
                script::kind(&said),
                format!("cannot {what} on {}: {said}", platform.shell()?.place()),
            ))
        }
    }
}

/// The error of an [`Step::Expect`] that is not so.
pub(in crate::core) fn moved(path: &str) -> ModuleError {
    ModuleError::new(
        ErrorKind::Conflict,
        format!("`{path}` has changed since it was looked at; it was left as it is"),
    )
    .hint("something else writes it: run the task again")
}

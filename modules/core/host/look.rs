//! In: paths of a host. Out: what is at each of them, in one question however many they are.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{AccessFlags, Gid, Group, Uid, User, access};

use super::hash::{Algorithm, digest};
use super::script;
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum Kind {
    File,
    Folder,
    Link,
    Block,
    Character,
    Pipe,
    Socket,
}

/// What `stat` says.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::core) struct Meta {
    /// Type and permissions, as `st_mode` has them.
    pub(in crate::core) raw_mode: u32,
    pub(in crate::core) uid: u32,
    pub(in crate::core) gid: u32,
    /// None when the number has no name.
    pub(in crate::core) owner: Option<String>,
    pub(in crate::core) group: Option<String>,
    pub(in crate::core) size: u64,
    pub(in crate::core) inode: u64,
    pub(in crate::core) device: u64,
    pub(in crate::core) links: u64,
    pub(in crate::core) blocks: u64,
    pub(in crate::core) block_size: u64,
    /// Of a device file: which device it is.
    pub(in crate::core) device_type: u64,
    pub(in crate::core) accessed: f64,
    pub(in crate::core) modified: f64,
    pub(in crate::core) changed: f64,
}

/// A symbolic link.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::core) struct Link {
    /// As it is written.
    pub(in crate::core) text: String,
    /// Where it leads in the end.
    pub(in crate::core) real: String,
    /// What is there; None when it leads nowhere.
    pub(in crate::core) meta: Option<Meta>,
}

/// A path that is there.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::core) struct Found {
    /// Of the path itself: a link is not followed.
    pub(in crate::core) own: Meta,
    pub(in crate::core) link: Option<Link>,
    /// Of a file, or of the file that a link leads to, when it may be read.
    pub(in crate::core) checksum: Option<String>,
    pub(in crate::core) readable: bool,
    pub(in crate::core) writeable: bool,
    pub(in crate::core) executable: bool,
}

/// A path and what is there.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::core) struct Look {
    pub(in crate::core) path: String,
    pub(in crate::core) found: Option<Found>,
}

/// All answers, and what else a host says of itself.
#[derive(Debug, Clone, Default)]
pub(in crate::core) struct Looks {
    pub(in crate::core) umask: u32,
    pub(in crate::core) selinux: bool,
    pub(in crate::core) all: Vec<Look>,
}

impl Meta {
    /// Permission bits.
    pub(in crate::core) fn mode(&self) -> u32 {
        self.raw_mode & 0o7777
    }

    pub(in crate::core) fn kind(&self) -> Kind {
        match self.raw_mode & 0o170_000 {
            0o040_000 => Kind::Folder,
            0o120_000 => Kind::Link,
            0o060_000 => Kind::Block,
            0o020_000 => Kind::Character,
            0o010_000 => Kind::Pipe,
            0o140_000 => Kind::Socket,
            _ => Kind::File,
        }
    }

    pub(in crate::core) fn owner_shown(&self) -> String {
        self.owner.clone().unwrap_or_else(|| self.uid.to_string())
    }

    pub(in crate::core) fn group_shown(&self) -> String {
        self.group.clone().unwrap_or_else(|| self.gid.to_string())
    }

    fn local(meta: &std::fs::Metadata) -> Self {
        let name = |uid| User::from_uid(Uid::from_raw(uid)).ok().flatten();
        let group = |gid| Group::from_gid(Gid::from_raw(gid)).ok().flatten();
        Self {
            raw_mode: meta.mode(),
            uid: meta.uid(),
            gid: meta.gid(),
            owner: name(meta.uid()).map(|user| user.name),
            group: group(meta.gid()).map(|group| group.name),
            size: meta.size(),
            inode: meta.ino(),
            device: meta.dev(),
            links: meta.nlink(),
            blocks: meta.blocks(),
            block_size: meta.blksize(),
            device_type: meta.rdev(),
            accessed: seconds(meta.atime(), meta.atime_nsec()),
            modified: seconds(meta.mtime(), meta.mtime_nsec()),
            changed: seconds(meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// One line of `stat -c` with [`SCRIPT`]'s letters.
    fn parse(line: &str) -> Option<Self> {
        let parts: Vec<&str> = line.split('|').collect();
        let [
            raw_mode,
            uid,
            gid,
            size,
            inode,
            device,
            links,
            blocks,
            block_size,
            major,
            minor,
            accessed,
            modified,
            changed,
            accessed_text,
            modified_text,
            changed_text,
            owner,
            group,
        ] = parts.as_slice()
        else {
            return None;
        };
        let hex = |text: &str| u64::from_str_radix(text, 16).unwrap_or_default();
        let named = |text: &str| (text != "UNKNOWN").then(|| text.to_owned());
        let time = |whole: &str, text: &str| {
            let whole = whole.parse::<i64>().unwrap_or_default();
            // `2026-01-02 03:04:05.123456789 +0000`; small tools leave the fraction out.
            let fraction = text
                .split_once('.')
                .and_then(|(_, rest)| rest.split(' ').next())
                .and_then(|digits| format!("{digits:0<9}").parse::<i64>().ok());
            seconds(whole, fraction.unwrap_or_default())
        };
        Some(Self {
            raw_mode: u32::from_str_radix(raw_mode, 16).ok()?,
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
            owner: named(owner),
            group: named(group),
            size: size.parse().ok()?,
            inode: inode.parse().ok()?,
            device: device.parse().unwrap_or_default(),
            links: links.parse().ok()?,
            blocks: blocks.parse().unwrap_or_default(),
            block_size: block_size.parse().unwrap_or_default(),
            device_type: nix::sys::stat::makedev(hex(major), hex(minor)),
            accessed: time(accessed, accessed_text),
            modified: time(modified, modified_text),
            changed: time(changed, changed_text),
        })
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "times are floats in results, as Ansible's are"
)]
fn seconds(whole: i64, nanos: i64) -> f64 {
    whole as f64 + nanos as f64 / 1e9
}

impl Look {
    pub(in crate::core) fn own(&self) -> Option<&Meta> {
        self.found.as_ref().map(|found| &found.own)
    }

    pub(in crate::core) fn link(&self) -> Option<&Link> {
        self.found.as_ref().and_then(|found| found.link.as_ref())
    }

    /// What is there in the end, behind links.
    pub(in crate::core) fn behind(&self) -> Option<&Meta> {
        match self.link() {
            Some(link) => link.meta.as_ref(),
            None => self.own(),
        }
    }

    pub(in crate::core) fn is_folder(&self) -> bool {
        self.behind()
            .is_some_and(|meta| meta.kind() == Kind::Folder)
    }

    pub(in crate::core) fn checksum(&self) -> Option<&str> {
        self.found
            .as_ref()
            .and_then(|found| found.checksum.as_deref())
    }

    /// Ansible's word for it.
    pub(in crate::core) fn state(&self) -> &'static str {
        match self.own() {
            None => "absent",
            Some(meta) => match meta.kind() {
                Kind::Link => "link",
                Kind::Folder => "directory",
                _ if meta.links > 1 => "hard",
                _ => "file",
            },
        }
    }

    /// The same look at what a link leads to, under its own path.
    pub(in crate::core) fn follow(&self) -> Self {
        let Some(Found {
            link: Some(link), ..
        }) = &self.found
        else {
            return self.clone();
        };
        let found = match (&self.found, &link.meta) {
            (Some(found), Some(meta)) => Some(Found {
                own: meta.clone(),
                link: None,
                ..found.clone()
            }),
            _ => None,
        };
        Self {
            path: link.real.clone(),
            found,
        }
    }
}

/// Looks at each path: seven answers, each ended by NUL. GNU's tools and busybox's know all letters used here. It is
/// the end of [`super::steps`]' script as well.
pub(super) const SCRIPT: &str = r#"
F='%f|%u|%g|%s|%i|%d|%h|%b|%o|%t|%T|%X|%Y|%Z|%x|%y|%z|%U|%G'
look() {
if s=$(stat -c "$F" -- "$1" 2>&1); then
printf 'P\0%s\0' "$s"
if [ -L "$1" ]; then
readlink -- "$1"; printf '\0'
if [ -e "$1" ]; then readlink -f -- "$1"; fi; printf '\0'
stat -L -c "$F" -- "$1" 2>/dev/null; printf '\0'
else printf '\0\0\0'; fi
if [ -n "$sum" ] && [ -f "$1" ] && [ -r "$1" ]; then $sum < "$1"; fi
printf '\0'
if [ -r "$1" ]; then printf r; fi
if [ -w "$1" ]; then printf w; fi
if [ -x "$1" ]; then printf x; fi
printf '\0'
else printf 'A\0%s\0\0\0\0\0\0' "$s"; fi
}
if [ -d /sys/fs/selinux/booleans ]; then printf '%s\0s\0' "$(umask)"; else printf '%s\0\0' "$(umask)"; fi
for p; do look "$p"; done
"#;

/// How long the words of one command line may be: far below what any kernel or SSH server refuses.
pub(super) const WORDS: usize = 60_000;

/// Looks at all paths.
pub(in crate::core) async fn look(
    platform: &Platform,
    paths: &[String],
    algorithm: Option<Algorithm>,
) -> Result<Looks, ModuleError> {
    if platform.shell()?.is_local() {
        let paths = paths.to_vec();
        return tokio::task::spawn_blocking(move || local(&paths, algorithm))
            .await
            .map_err(|problem| ModuleError::failed(format!("looking stopped: {problem}")))?;
    }
    let script = format!("LC_ALL=C; export LC_ALL; sum=$1; shift\n{SCRIPT}");
    let mut all = Looks::default();
    let mut rest = paths;
    loop {
        let mut size = 0;
        let fits = rest
            .iter()
            .take_while(|path| {
                size += path.len() + 3;
                size < WORDS
            })
            .count()
            .max(1)
            .min(rest.len());
        let (now, later) = rest.split_at(fits);
        let mut words = vec![
            algorithm
                .map(Algorithm::program)
                .unwrap_or_default()
                .to_owned(),
        ];
        words.extend_from_slice(now);
        let output = script::run(platform, &script, &words, None).await?;
        let looks = parse(platform, now, &output.stdout, &output.stderr)?;
        all.umask = looks.umask;
        all.selinux = looks.selinux;
        all.all.extend(looks.all);
        rest = later;
        if rest.is_empty() {
            return Ok(all);
        }
    }
}

/// What the script printed for these paths.
pub(super) fn parse(
    platform: &Platform,
    paths: &[String],
    stdout: &[u8],
    stderr: &[u8],
) -> Result<Looks, ModuleError> {
    let place = platform.shell()?.place();
    let text = String::from_utf8_lossy(stdout).into_owned();
    let mut answers = text.split('\0');
    let garbled = || {
        let said = String::from_utf8_lossy(stderr).trim().to_owned();
        let error =
            ModuleError::failed(format!("the files of {place} cannot be looked at: {said}"));
        error.hint("a POSIX shell, and `stat` and `readlink` of coreutils or busybox are needed")
    };
    let umask = answers.next().ok_or_else(garbled)?;
    let mut looks = Looks {
        umask: u32::from_str_radix(umask.trim(), 8).map_err(|_| garbled())?,
        selinux: answers.next() == Some("s"),
        all: Vec::new(),
    };
    for path in paths {
        let mut answer = || answers.next().ok_or_else(garbled);
        let (mark, line) = (answer()?, answer()?);
        let (text, real, behind) = (answer()?, answer()?, answer()?);
        let (sum, rights) = (answer()?, answer()?);
        let path = path.clone();
        if mark != "P" {
            if !line.contains("No such file") && !line.contains("Not a directory") {
                return Err(ModuleError::new(
                    script::kind(line),
                    format!("`{path}` cannot be looked at on {place}: {}", line.trim()),
                ));
            }
            looks.all.push(Look { path, found: None });
            continue;
        }
        let own = Meta::parse(line).ok_or_else(garbled)?;
        let one_line = |text: &str| text.strip_suffix('\n').unwrap_or(text).to_owned();
        let link = (own.kind() == Kind::Link).then(|| {
            let text = one_line(text);
            // A link to nowhere: what tools say of it differs.
            let real = Some(one_line(real))
                .filter(|real| !real.is_empty())
                .unwrap_or_else(|| super::join(&super::parent(&path), &text));
            Link {
                text,
                real,
                meta: Meta::parse(&one_line(behind)),
            }
        });
        let checksum = sum.split_whitespace().next().map(ToOwned::to_owned);
        looks.all.push(Look {
            path,
            found: Some(Found {
                own,
                link,
                checksum,
                readable: rights.contains('r'),
                writeable: rights.contains('w'),
                executable: rights.contains('x'),
            }),
        });
    }
    Ok(looks)
}

/// The mask of this process. Asking the kernel sets it, so its own file is read.
pub(super) fn umask() -> u32 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|text| {
            let line = text.lines().find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        })
        .unwrap_or(0o022)
}

pub(super) fn local(paths: &[String], algorithm: Option<Algorithm>) -> Result<Looks, ModuleError> {
    let all = paths
        .iter()
        .map(|path| one(path, algorithm))
        .collect::<Result<_, _>>()?;
    Ok(Looks {
        umask: umask(),
        selinux: Path::new("/sys/fs/selinux/booleans").is_dir(),
        all,
    })
}

fn one(path: &str, algorithm: Option<Algorithm>) -> Result<Look, ModuleError> {
    let absent = |problem: &std::io::Error| {
        matches!(
            problem.kind(),
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
        )
    };
    let refused = |problem: std::io::Error| {
        ModuleError::new(
            script::io_kind(&problem),
            format!("`{path}` cannot be looked at: {problem}"),
        )
    };
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(problem) if absent(&problem) => {
            return Ok(Look {
                path: path.to_owned(),
                found: None,
            });
        }
        Err(problem) => return Err(refused(problem)),
    };
    let link = if meta.file_type().is_symlink() {
        let text = std::fs::read_link(path).map_err(refused)?;
        let text = text.to_string_lossy().into_owned();
        let real = std::fs::canonicalize(path).map_or_else(
            |_| super::join(&super::parent(path), &text),
            |real| real.to_string_lossy().into_owned(),
        );
        Some(Link {
            real,
            text,
            meta: std::fs::metadata(path).ok().as_ref().map(Meta::local),
        })
    } else {
        None
    };
    let may = |flag| access(path, flag).is_ok();
    let readable = may(AccessFlags::R_OK);
    let is_file = std::fs::metadata(path).is_ok_and(|meta| meta.is_file());
    let checksum = match algorithm {
        Some(algorithm) if is_file && readable => {
            Some(digest(Path::new(path), algorithm).map_err(refused)?)
        }
        _ => None,
    };
    Ok(Look {
        path: path.to_owned(),
        found: Some(Found {
            own: Meta::local(&meta),
            link,
            checksum,
            readable,
            writeable: may(AccessFlags::W_OK),
            executable: may(AccessFlags::X_OK),
        }),
    })
}

impl Looks {
    /// The answer for a path that was asked for.
    pub(in crate::core) fn at(&self, path: &str) -> Result<&Look, ModuleError> {
        self.all
            .iter()
            .find(|look| look.path == path)
            .ok_or_else(|| {
                ModuleError::new(ErrorKind::Failed, format!("`{path}` was not looked at"))
            })
    }
}

impl Kind {
    pub(in crate::core) fn is_other(self) -> bool {
        !matches!(self, Self::File | Self::Folder | Self::Link)
    }
}

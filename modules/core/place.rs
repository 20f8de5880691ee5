//! What `copy`, `template` and the modules that edit share: one file with a wanted content. In: the content, where it goes, and its rights.
//! Out: what would change, and the file in its place.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::host::{self, Expected, Look, Origin, Rights, Step, UnsupportedRights, Write};
use super::host::{Algorithm, Kind};
use crate::contract::{Change, FieldChange, Outcome, TextDiff};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// Above this, and for what is not text, no difference is shown (Ansible's limit).
const DIFF_LIMIT: usize = 104_448;

/// Where a file's content comes from.
pub(super) enum Source {
    /// Bytes of the controller. `path` is the file that they were read from, when they were.
    Bytes {
        bytes: Vec<u8>,
        path: Option<String>,
    },
    /// A file of the host.
    Host { path: String, md5: Option<String> },
}

/// A file as it should be.
pub(super) struct Wish<'a> {
    pub(super) source: Source,
    /// Its name when `dest` is a folder; without one, `dest` may not be a folder.
    pub(super) name: Option<String>,
    pub(super) dest: &'a str,
    pub(super) rights: Rights,
    pub(super) unsupported: UnsupportedRights<'a>,
    /// Mode of folders that are made.
    pub(super) directory_mode: Option<Value>,
    pub(super) backup: bool,
    pub(super) force: bool,
    pub(super) follow: bool,
    pub(super) validate: Option<&'a str>,
    pub(super) checksum: Option<&'a str>,
    /// The content is an edited one; the result is the edit's, and has none of the keys of `copy`.
    pub(super) edit: Option<Edit>,
}

/// What was edited, and what the result says of it.
pub(super) struct Edit {
    /// The content that was read; None when there was no file.
    pub(super) before: Option<Vec<u8>>,
    /// `line added`, empty when the content stays; None for a result without `msg`.
    pub(super) msg: Option<String>,
    /// Further keys of the result.
    pub(super) result: Map<String, Value>,
    /// The key that says where the backup is.
    pub(super) backup_key: &'static str,
    /// The name of the file in a difference.
    pub(super) header: String,
}

impl Edit {
    /// The result, with what is said of rights that change as well.
    fn result(&self, are_rights_changed: bool) -> Map<String, Value> {
        let mut result = self.result.clone();
        let Some(msg) = &self.msg else {
            return result;
        };
        let rights = "ownership, perms or SE linux context changed";
        let msg = match (msg.as_str(), are_rights_changed) {
            (msg, false) => msg.to_owned(),
            ("", true) => rights.to_owned(),
            (msg, true) => format!("{msg} and {rights}"),
        };
        result.insert("msg".to_owned(), json!(msg));
        result
    }

    /// What was read must be what is there now.
    fn check(&self, look: &Look) -> Result<(), ModuleError> {
        let read = self.before.as_ref().map(|bytes| host::sha1(bytes));
        if look.checksum() == read.as_deref() && look.behind().is_some() == read.is_some() {
            return Ok(());
        }
        Err(host::moved(&look.path))
    }
}

/// What is to be done: the steps, the path that is looked at in the end, and the keys of the result that are known.
pub struct Work {
    pub(super) steps: Vec<Step>,
    pub(super) path: Option<String>,
    pub(super) result: Map<String, Value>,
}

/// `validate: PROGRAM ARGUMENTS %s` as words; no shell is in between, as in Ansible.
pub(super) fn validate_words(text: Option<&str>) -> Result<Option<Vec<String>>, ModuleError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    if !text.contains("%s") {
        return Err(ModuleError::argument(
            "validate",
            format!("validate must contain %s: `{text}`"),
        )
        .hint("`%s` stands for the file that is to be checked"));
    }
    match shlex::split(text) {
        Some(words) => Ok(Some(words)),
        None => Err(ModuleError::argument(
            "validate",
            "`validate`: a quote is opened and never closed",
        )),
    }
}

/// The steps that make the folders which are not there, from the outermost.
pub(super) fn folders(
    missing: &[String],
    rights: &Rights,
    mode: Option<&Value>,
    umask: u32,
) -> Result<Vec<Step>, ModuleError> {
    let mut steps = Vec::new();
    let made = 0o777 & !umask;
    let own = Rights {
        mode: mode.cloned(),
        ..rights.clone()
    };
    for path in missing {
        let path = path.clone();
        steps.push(Step::Folder { path: path.clone() });
        if let Some(owner) = own.owner.clone() {
            steps.push(Step::Owner {
                path: path.clone(),
                owner,
            });
        }
        if let Some(group) = own.group.clone() {
            steps.push(Step::Group {
                path: path.clone(),
                group,
            });
        }
        if let Some(mode) = own.mode(made, true, umask)? {
            steps.push(Step::Mode { path, mode });
        }
    }
    Ok(steps)
}

/// All folders above a path, the outermost first.
pub(super) fn ancestors(path: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut dir = host::parent(path);
    while dir != "/" && dir != "." && !all.contains(&dir) {
        all.push(dir.clone());
        dir = host::parent(&dir);
    }
    all.reverse();
    all
}

/// The name of a backup, as Ansible makes it.
pub(super) fn backup_name(path: &str, platform: &Platform) -> String {
    let now = platform.clock.now().to_zoned(jiff::tz::TimeZone::system());
    let id = std::process::id();
    format!("{path}.{id}.{}~", now.strftime("%Y-%m-%d@%H:%M:%S"))
}

struct Seen {
    look: Look,
    umask: u32,
    selinux: bool,
    /// Folders that must be made first.
    missing: Vec<String>,
    /// What is at the source, when that is on the host.
    source: Option<Look>,
}

async fn seen(wish: &Wish<'_>, dest: &str, platform: &Platform) -> Result<Seen, ModuleError> {
    let inside = wish.name.as_ref().map(|name| host::join(dest, name));
    let is_folder_wanted = dest.ends_with('/');
    let mut paths = vec![dest.to_owned(), host::parent(dest)];
    paths.extend(inside.clone());
    // An edited file that is made gets its folders, too.
    let makes_folders = is_folder_wanted || wish.edit.is_some();
    if makes_folders {
        paths.extend(ancestors(inside.as_deref().unwrap_or(dest)));
    }
    if let Source::Host { path, .. } = &wish.source {
        paths.push(path.clone());
    }
    let looks = host::look(platform, &paths, Some(Algorithm::Sha1)).await?;
    let is_folder = looks.at(dest)?.is_folder();
    let target = match (&inside, is_folder || is_folder_wanted) {
        (_, false) => dest.to_owned(),
        (Some(inside), true) => inside.clone(),
        (None, true) => {
            return Err(ModuleError::argument(
                "dest",
                format!("can not use content with a dir as dest: `{dest}`"),
            )
            .hint("name the file: `dest: FOLDER/NAME`"));
        }
    };
    let mut missing = Vec::new();
    if !is_folder {
        if makes_folders {
            for path in ancestors(&target) {
                let look = looks.at(&path)?;
                match look.behind() {
                    None => missing.push(path),
                    Some(meta) if meta.kind() != Kind::Folder => {
                        return Err(ModuleError::failed(format!("`{path}` is no folder")));
                    }
                    Some(_) => {}
                }
            }
        } else if platform.check && looks.at(&host::parent(dest))?.found.is_none() {
            // A task before this one may make it, and has not in check mode.
            missing.push(host::parent(dest));
        } else if !looks.at(&host::parent(dest))?.is_folder() {
            return Err(ModuleError::new(
                ErrorKind::NotFound,
                format!(
                    "Destination directory {} does not exist",
                    host::parent(dest)
                ),
            )
            .hint("make it first with `file: {state: directory}`"));
        }
    }
    let mut look = looks.at(&target)?.clone();
    // A link to nowhere is replaced, as in Ansible.
    if wish.follow && (look.behind().is_some() || wish.edit.is_some()) {
        look = look.follow();
    }
    if let Some(edit) = &wish.edit {
        edit.check(&look)?;
    }
    let source = match &wish.source {
        Source::Host { path, .. } => Some(looks.at(path)?.clone()),
        Source::Bytes { .. } => None,
    };
    Ok(Seen {
        look,
        umask: looks.umask,
        selinux: looks.selinux,
        missing,
        source,
    })
}

/// What differs.
pub(super) async fn inspect(
    mut wish: Wish<'_>,
    platform: &Platform,
) -> Result<Change<Work>, ModuleError> {
    let dest = host::expand(platform, wish.dest).await?;
    let validate = validate_words(wish.validate)?;
    let seen = seen(&wish, &dest, platform).await?;
    wish.unsupported.check(seen.selinux)?;
    let Seen {
        look,
        umask,
        missing,
        source,
        ..
    } = seen;
    let (sum, md5, shown_source) = match (&wish.source, &source) {
        (Source::Bytes { bytes, path }, _) => {
            (host::sha1(bytes), Some(host::md5(bytes)), path.clone())
        }
        (Source::Host { path, md5 }, look) => {
            let readable = look.as_ref().and_then(Look::checksum);
            let Some(sum) = readable else {
                let word = if look.as_ref().and_then(Look::behind).is_some() {
                    "not readable"
                } else {
                    "not found"
                };
                return Err(ModuleError::new(
                    ErrorKind::NotFound,
                    format!("Source {path} {word}"),
                ));
            };
            (sum.to_owned(), md5.clone(), Some(path.clone()))
        }
    };
    if let Some(expected) = wish.checksum.filter(|expected| *expected != sum) {
        return Err(ModuleError::new(
            ErrorKind::Preflight,
            format!("the source does not match the expected checksum `{expected}`"),
        )
        .with("checksum", sum)
        .with("expected_checksum", expected));
    }
    let source_mode = source.as_ref().and_then(Look::behind).map(host::Meta::mode);
    if wish.rights.mode == Some(json!("preserve")) {
        // From the controller the mode was read already.
        wish.rights.mode = source_mode.map(|mode| json!(mode));
    }

    let path = look.path.clone();
    let mut result = Map::new();
    result.insert("dest".to_owned(), json!(path));
    if let Some(source) = shown_source {
        result.insert("src".to_owned(), json!(source));
    }
    if look.found.is_some() && !wish.force {
        return Ok(Change::None(Outcome::unchanged(Value::Object(result))));
    }
    let kind = look.own().map(host::Meta::kind);
    if kind.is_some_and(|kind| kind == Kind::Folder || kind.is_other()) {
        return Err(ModuleError::failed(format!(
            "`{path}` is no file, and is not replaced by one"
        )));
    }
    result.insert("checksum".to_owned(), json!(sum));
    if let Some(md5) = md5 {
        result.insert("md5sum".to_owned(), json!(md5));
    }
    if kind == Some(Kind::File) && look.checksum() == Some(&sum) {
        return same(&wish, &look, umask, result);
    }

    let existing = look.own().filter(|meta| meta.kind() == Kind::File);
    let base = match (existing, source_mode) {
        (Some(meta), None) => meta.mode(),
        (_, Some(mode)) => mode,
        (None, None) => 0o666 & !umask,
    };
    let mode = match wish.rights.mode(base, false, umask)? {
        Some(mode) => Some(mode),
        None if existing.is_some() || source_mode.is_some() => Some(base),
        None => None,
    };
    let of_folders = match wish.edit {
        Some(_) => Rights::default(),
        None => wish.rights.clone(),
    };
    let mut steps = folders(&missing, &of_folders, wish.directory_mode.as_ref(), umask)?;
    if let Some(edit) = &wish.edit {
        // The rights of a file that is not there are not looked at in check mode.
        let are_rights_changed = match existing {
            Some(meta) => !wish.rights.missing(&path, meta, umask)?.0.is_empty(),
            None => !platform.check && mode.is_some_and(|mode| mode != base),
        };
        result = edit.result(are_rights_changed);
    }
    steps.push(Step::Expect {
        path: path.clone(),
        state: Expected::from(&look),
    });
    if wish.backup && look.behind().is_some() {
        let named = wish.edit.as_ref().map_or(&path, |_| &dest);
        let to = backup_name(named, platform);
        let key = wish
            .edit
            .as_ref()
            .map_or("backup_file", |edit| edit.backup_key);
        if !platform.check {
            result.insert(key.to_owned(), json!(to));
        }
        steps.push(Step::Backup {
            path: path.clone(),
            to,
        });
    }
    let diff = difference(&wish, &look, platform).await;
    let fields = vec![FieldChange {
        field: "checksum".to_owned(),
        before: json!(look.checksum()),
        after: json!(sum),
    }];
    let is_host = matches!(wish.source, Source::Host { .. });
    let size = match &wish.source {
        Source::Bytes { bytes, .. } => Some(bytes.len() as u64),
        Source::Host { .. } => source.as_ref().and_then(Look::behind).map(|meta| meta.size),
    };
    if let Source::Host { path: from, .. } = &wish.source {
        steps.push(Step::Expect {
            path: source.map_or_else(|| from.clone(), |look| look.follow().path),
            state: Expected::Content(sum.clone()),
        });
    }
    let mut preview = result.clone();
    let says_facts = wish.edit.is_none();
    if says_facts {
        if look.found.is_some() {
            preview.extend(host::facts(&look));
        }
        preview.insert("size".to_owned(), json!(size));
        preview.insert("state".to_owned(), json!("file"));
        preview.insert(
            "mode".to_owned(),
            json!(host::shown(mode.unwrap_or(0o666 & !umask))),
        );
    }
    steps.push(Step::Write(Write {
        path: path.clone(),
        mode,
        keep: existing
            .filter(|_| !is_host)
            .map(|meta| (meta.uid, meta.gid)),
        owner: wish.rights.owner.clone(),
        group: wish.rights.group.clone(),
        keeps_times: is_host,
        validate,
        origin: match wish.source {
            Source::Bytes { bytes, .. } => Origin::Bytes(Arc::new(bytes)),
            Source::Host { path, .. } => Origin::Host(path),
        },
    }));
    Ok(Change::Some {
        fields,
        diff,
        preview: Outcome::changed(Value::Object(preview)),
        work: Work {
            steps,
            path: says_facts.then_some(path),
            result,
        },
    })
}

/// The content is right; its rights may not be.
fn same(
    wish: &Wish<'_>,
    look: &Look,
    umask: u32,
    mut result: Map<String, Value>,
) -> Result<Change<Work>, ModuleError> {
    let path = &look.path;
    let Some(meta) = look.own() else {
        return Ok(Change::None(Outcome::unchanged(Value::Object(result))));
    };
    let (steps, fields) = wish.rights.missing(path, meta, umask)?;
    if let Some(edit) = &wish.edit {
        let result = edit.result(!steps.is_empty());
        if steps.is_empty() {
            return Ok(Change::None(Outcome::unchanged(Value::Object(result))));
        }
        return Ok(Change::Some {
            fields,
            diff: Vec::new(),
            preview: Outcome::changed(Value::Object(result.clone())),
            work: Work {
                steps,
                path: None,
                result,
            },
        });
    }
    // Ansible names the path once more when only rights are looked at.
    result.insert("path".to_owned(), json!(path));
    let mut preview = result.clone();
    preview.extend(host::facts(look));
    if steps.is_empty() {
        return Ok(Change::None(Outcome::unchanged(Value::Object(preview))));
    }
    for field in &fields {
        preview.insert(field.field.clone(), field.after.clone());
    }
    Ok(Change::Some {
        fields,
        diff: Vec::new(),
        preview: Outcome::changed(Value::Object(preview)),
        work: Work {
            steps,
            path: Some(path.clone()),
            result,
        },
    })
}

async fn difference(wish: &Wish<'_>, look: &Look, platform: &Platform) -> Vec<TextDiff> {
    let Source::Bytes { bytes, path } = &wish.source else {
        return Vec::new();
    };
    if !platform.diff || bytes.len() > DIFF_LIMIT {
        return Vec::new();
    }
    let size = look.behind().map_or(0, |meta| meta.size);
    let read = wish.edit.as_ref().and_then(|edit| edit.before.clone());
    let before = match (platform.shell(), look.checksum()) {
        (_, Some(_)) if read.is_some() => read.unwrap_or_default(),
        (Ok(shell), Some(_)) if size <= DIFF_LIMIT as u64 => {
            // What cannot be read is not shown; whether it differs is known without it.
            match shell.read(&look.path).await {
                Ok(bytes) => bytes,
                Err(_) => return Vec::new(),
            }
        }
        (_, None) => Vec::new(),
        _ => return Vec::new(),
    };
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec())
            .ok()
            .filter(|text| !text.contains('\0'))
    };
    let edited = wish.edit.as_ref().map(|edit| edit.header.clone());
    let header = |path: &str| edited.clone().unwrap_or_else(|| path.to_owned());
    match (text(&before), text(bytes)) {
        (Some(before), Some(after)) => vec![TextDiff {
            // Nothing was there, or nothing was in it.
            before_header: if before.is_empty() {
                String::new()
            } else {
                header(&look.path)
            },
            after_header: path.clone().unwrap_or_else(|| header(&look.path)),
            before,
            after,
        }],
        _ => Vec::new(),
    }
}

/// Takes the steps; the result is what is there then.
pub(super) async fn apply(work: Work, platform: &Platform) -> Result<Outcome, ModuleError> {
    let paths: Vec<String> = work.path.into_iter().collect();
    let looks = host::take(platform, work.steps, &paths).await?;
    let mut result = work.result;
    if let Some(look) = looks.all.first() {
        result.extend(host::facts(look));
    }
    Ok(Outcome::changed(Value::Object(result)))
}

//! `archive`: packs files of a host. In: paths and patterns, a format; out: the archive. It is made beside `dest` and
//! compared with what is there: when both have the same in them, the old one stays.

mod pack;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::host::{self, Algorithm, Kind, Look, Looks, Step};
use super::http::{self, Landing};
use crate::contract::{Change, FieldChange, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// Packs files.
pub struct Archive;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Bz2,
    #[default]
    Gz,
    Tar,
    Xz,
    Zip,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Bz2 => "bz2",
            Self::Gz => "gz",
            Self::Tar => "tar",
            Self::Xz => "xz",
            Self::Zip => "zip",
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Files and folders of the host, and patterns as the shell has them. Of a folder with `/` at its end, what is inside.
    path: Vec<String>,
    /// The archive, on the host. Needed for several files, folders, and with `force_archive`; else `PATH.FORMAT`.
    dest: Option<String>,
    /// What it is. A single file is only compressed (`gz`, `bz2`, `xz`), all else becomes a `tar` that is, or a `zip`.
    #[serde(default)]
    format: Format,
    /// Files and folders among `path` that are left out, and patterns.
    #[serde(default)]
    exclude_path: Vec<String>,
    /// Patterns of names, at any depth, that are left out.
    #[serde(default)]
    exclusion_patterns: Vec<String>,
    /// Make an archive also of a single file.
    #[serde(default)]
    force_archive: bool,
    /// Remove what was packed.
    #[serde(default)]
    remove: bool,
    /// Owner of the archive, by name or number.
    owner: Option<String>,
    /// Group of the archive, by name or number.
    group: Option<String>,
    /// Mode of the archive: `"0644"`, or symbolic.
    mode: Option<Value>,
    /// Not supported; an error, with the command to use instead.
    #[schemars(extend("x-aliases" = ["attr"]))]
    attributes: Option<String>,
    /// Ignored on a host without SELinux, an error on one with it.
    seuser: Option<String>,
    /// Ignored on a host without SELinux, an error on one with it.
    serole: Option<String>,
    /// Ignored on a host without SELinux, an error on one with it.
    setype: Option<String>,
    /// Ignored on a host without SELinux, an error on one with it.
    selevel: Option<String>,
    /// Accepted and without effect: files are always written in one step.
    #[serde(default)]
    #[allow(dead_code, reason = "accepted for playbooks that set it")]
    unsafe_writes: bool,
}

/// What is to be packed, and where to.
pub struct Found {
    /// The paths that are there, without those left out.
    paths: Vec<String>,
    excluded: Vec<String>,
    /// Paths without a pattern that are not there.
    missing: Vec<String>,
    /// The folder that all are seen from; ends in `/`.
    root: String,
    /// The entries of an archive, seen from it, sorted; of a single file that is compressed, this.
    names: Vec<String>,
    is_single: bool,
    dest: String,
    look: Look,
    umask: u32,
}

impl Found {
    /// The whole paths of all that is packed.
    fn packed(&self) -> Vec<String> {
        if self.is_single {
            return self.paths.clone();
        }
        let names = self.names.iter();
        names.map(|name| format!("{}{name}", self.root)).collect()
    }
}

/// Expands patterns; what matches nothing stays as it is written, and `=` or `-` says whether it is there.
const EXPAND: &str = r#"IFS=; for p; do for f in $p; do
if [ -e "$f" ] || [ -L "$f" ]; then printf '=%s\0' "$f"; else printf -- '-%s\0' "$f"; fi
done; done"#;

fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// The paths that are there, each once and in order, and those that are not.
async fn expand(
    paths: &[String],
    platform: &Platform,
) -> Result<(Vec<String>, Vec<String>), ModuleError> {
    let mut words = Vec::new();
    for path in paths {
        words.push(host::expand(platform, path).await?);
    }
    let output = host::script(platform, EXPAND, &words, None).await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    for answer in text.split('\0') {
        if let Some(found) = answer.strip_prefix('=') {
            there.push(found.to_owned());
        } else if let Some(lacking) = answer.strip_prefix('-').filter(|path| !is_pattern(path)) {
            missing.push(lacking.to_owned());
        }
    }
    let mut seen = std::collections::HashSet::new();
    there.retain(|path| seen.insert(path.clone()));
    Ok((there, missing))
}

/// A path without `/` at its end.
fn plain(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    }
}

/// The folder that all paths are in; ends in `/`. Of a path with `/` at its end that is itself.
fn common(paths: &[String]) -> String {
    let folders: Vec<Vec<String>> = paths
        .iter()
        .map(|path| {
            let dir = if path.ends_with('/') {
                plain(path)
            } else {
                host::parent(path)
            };
            dir.trim_end_matches('/')
                .split('/')
                .map(ToOwned::to_owned)
                .collect()
        })
        .collect();
    let mut shared: Vec<String> = folders.first().cloned().unwrap_or_default();
    for folder in &folders {
        let same = shared
            .iter()
            .zip(folder)
            .take_while(|(a, b)| a == b)
            .count();
        shared.truncate(same);
    }
    let joined = shared.join("/");
    format!("{}/", joined.trim_end_matches('/'))
}

host::rights_arguments!(Args);

impl Args {
    /// Names that a pattern leaves out: of the whole path in the archive, or of its last part.
    fn patterns(&self) -> Result<Vec<globset::GlobMatcher>, ModuleError> {
        self.exclusion_patterns
            .iter()
            .map(|pattern| {
                globset::Glob::new(pattern)
                    .map(|glob| glob.compile_matcher())
                    .map_err(|problem| {
                        ModuleError::argument("exclusion_patterns", problem.to_string())
                    })
            })
            .collect()
    }

    async fn find(&self, platform: &Platform) -> Result<Found, ModuleError> {
        let (expanded, missing) = expand(&self.path, platform).await?;
        let (excluded, _) = expand(&self.exclude_path, platform).await?;
        let excluded: Vec<String> = excluded.iter().map(|path| plain(path)).collect();
        let written: Vec<String> = expanded
            .iter()
            .filter(|path| !excluded.contains(&plain(path)))
            .cloned()
            .collect();
        let root = common(&written);
        let mut paths: Vec<String> = written.iter().map(|path| plain(path)).collect();
        paths.dedup();
        if expanded.is_empty() && missing.is_empty() || self.path.is_empty() {
            return Err(
                ModuleError::new(ErrorKind::NotFound, "Error, no source paths were found")
                    .with("path", self.path.join(", ")),
            );
        }
        if let Some(path) = paths.iter().find(|path| !path.starts_with('/')) {
            return Err(ModuleError::argument(
                "path",
                format!(
                    "`{path}` is no whole path: it would be seen from wherever the host's shell begins"
                ),
            ));
        }
        let looks = host::look(platform, &paths, None).await?;
        let has_folder = looks
            .all
            .iter()
            .any(|look| look.own().is_some_and(|meta| meta.kind() == Kind::Folder));
        // With a pattern there may be more of them the next time.
        let is_single = !self.force_archive
            && paths.len() == 1
            && !has_folder
            && self.path.len() == 1
            && !matches!(self.format, Format::Zip | Format::Tar);
        let dest = match (&self.dest, paths.as_slice()) {
            (Some(dest), _) => host::expand(platform, dest).await?,
            (None, [path]) if !has_folder || self.path.len() == 1 => {
                format!("{path}.{}", self.format.name())
            }
            _ => {
                return Err(ModuleError::argument(
                    "dest",
                    "Error, must specify \"dest\" when archiving multiple files or trees",
                ));
            }
        };
        let at = [dest.clone(), host::parent(&dest)];
        let own = host::look(platform, &at, Some(Algorithm::Sha1)).await?;
        self.unsupported().check(own.selinux)?;
        let look = own.at(&dest)?.clone();
        if look.is_folder() {
            return Err(ModuleError::argument(
                "dest",
                format!("`{dest}` is a folder, where the archive should be"),
            ));
        }
        if !platform.check && !own.at(&host::parent(&dest))?.is_folder() {
            return Err(ModuleError::new(
                ErrorKind::NotFound,
                format!(
                    "Destination directory {} does not exist",
                    host::parent(&dest)
                ),
            )
            .hint("make it first with `file: {state: directory}`"));
        }
        let names = if is_single {
            paths.clone()
        } else {
            self.names(&paths, &looks, &root, &excluded, &dest, platform)
                .await?
        };
        Ok(Found {
            paths,
            excluded,
            missing,
            root,
            names,
            is_single,
            dest,
            umask: own.umask,
            look,
        })
    }

    /// All entries: of a folder whatever is in it, but for the archive itself and what is left out.
    async fn names(
        &self,
        paths: &[String],
        looks: &Looks,
        root: &str,
        excluded: &[String],
        dest: &str,
        platform: &Platform,
    ) -> Result<Vec<String>, ModuleError> {
        let patterns = self.patterns()?;
        let mut all = Vec::new();
        for path in paths {
            all.push(path.clone());
            let look = looks.at(path)?;
            if look.own().is_some_and(|meta| meta.kind() == Kind::Folder) {
                let inside = host::list(platform, path, false).await?;
                all.extend(inside.iter().map(|name| host::join(path, name)));
            }
        }
        let is_out = |path: &str| {
            let below = |above: &String| {
                path == above
                    || path
                        .strip_prefix(above.as_str())
                        .is_some_and(|rest| rest.starts_with('/'))
            };
            path == dest || excluded.iter().any(below)
        };
        let mut names: Vec<String> = all
            .into_iter()
            .filter(|path| !is_out(path))
            .filter_map(|path| path.strip_prefix(root).map(ToOwned::to_owned))
            .filter(|name| {
                !patterns
                    .iter()
                    .any(|glob| glob.is_match(name) || glob.is_match(host::name(name)))
            })
            .filter(|name| !name.is_empty())
            .collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    fn result(found: &Found, state: &str) -> Map<String, Value> {
        Map::from_iter([
            ("archived".to_owned(), json!(found.packed())),
            ("dest".to_owned(), json!(found.dest)),
            ("arcroot".to_owned(), json!(found.root)),
            ("missing".to_owned(), json!(found.missing)),
            ("expanded_paths".to_owned(), json!(found.paths)),
            ("expanded_exclude_paths".to_owned(), json!(found.excluded)),
            ("dest_state".to_owned(), json!(state)),
            ("state".to_owned(), json!(state)),
        ])
    }

    /// Makes the archive beside its place, and says whether that is another than what is there.
    async fn make(
        format: Format,
        found: &Found,
        platform: &Platform,
    ) -> Result<Option<pack::Packed>, ModuleError> {
        if found.names.is_empty() {
            return Ok(None);
        }
        pack::pack(format, found, platform).await.map(Some)
    }

    fn state(found: &Found, is_there: bool) -> &'static str {
        match (is_there, found.is_single, found.missing.is_empty()) {
            (false, ..) => "absent",
            (_, true, _) => "compress",
            (_, _, true) => "archive",
            (..) => "incomplete",
        }
    }

    /// What was packed and is to go: whole paths; of those of which something was left out, single files.
    async fn removals(&self, found: &Found, platform: &Platform) -> Result<Vec<Step>, ModuleError> {
        if !self.remove {
            return Ok(Vec::new());
        }
        let is_whole = found.excluded.is_empty() && self.exclusion_patterns.is_empty();
        let holds = |path: &str| {
            let rest = found.dest.strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mut steps = Vec::new();
        for path in &found.paths {
            if is_whole && !holds(path) {
                steps.push(Step::Remove { path: path.clone() });
                continue;
            }
            let below = format!("{path}/");
            let packed: Vec<String> = found
                .packed()
                .into_iter()
                .filter(|one| one == path || one.starts_with(&below))
                .collect();
            // Never a folder: something may be in it that was not packed.
            let looks = host::look(platform, &packed, None).await?;
            let files = looks
                .all
                .iter()
                .filter(|look| look.own().is_some_and(|meta| meta.kind() != Kind::Folder));
            steps.extend(files.map(|look| Step::Remove {
                path: look.path.clone(),
            }));
        }
        Ok(steps)
    }
}

#[async_trait]
impl Module for Archive {
    type Args = Args;
    type Work = Found;
    const NAME: &'static str = "archive";
    const SUMMARY: &'static str = "Packs files of the host";
    const EXAMPLES: &'static str = "- archive: {path: /etc/app, dest: /var/backups/app.tar.gz, mode: \"0600\"}\n- archive:\n    path: [/var/log/app/*.log]\n    dest: /var/backups/logs.zip\n    format: zip\n    remove: true\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ALIASES: &'static [&'static str] = &["community.general.archive"];

    async fn inspect(
        &self,
        args: &Args,
        platform: &Platform,
    ) -> Result<Change<Found>, ModuleError> {
        let found = args.find(platform).await?;
        if !platform.check {
            return Ok(Change::Unknown {
                message: "the archive would be made".to_owned(),
                work: found,
            });
        }
        let packed = Args::make(args.format, &found, platform).await?;
        let is_there = found.look.behind().is_some();
        let mut fields = Vec::new();
        if let Some(packed) = packed {
            http::remove(platform, &packed.file).await?;
            if !packed.is_same {
                fields.push(FieldChange {
                    field: found.dest.clone(),
                    before: json!(if is_there {
                        "another archive"
                    } else {
                        "absent"
                    }),
                    after: json!(found.names),
                });
            }
        }
        if let Some(meta) = found.look.own() {
            let rights = args.rights();
            fields.extend(rights.missing(&found.dest, meta, found.umask)?.1);
        }
        for step in args.removals(&found, platform).await? {
            if let Step::Remove { path } = step {
                fields.push(FieldChange {
                    field: path,
                    before: json!("present"),
                    after: json!("absent"),
                });
            }
        }
        let mut result = Args::result(&found, Args::state(&found, is_there));
        result.extend(host::facts(&found.look));
        let state = Args::state(&found, is_there);
        result.insert("state".to_owned(), json!(state));
        if fields.is_empty() {
            return Ok(Change::None(Outcome::unchanged(Value::Object(result))));
        }
        Ok(Change::Some {
            fields,
            diff: Vec::new(),
            preview: Outcome::changed(Value::Object(result)),
            work: found,
        })
    }

    async fn apply(
        &self,
        args: &Args,
        found: Found,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let rights = args.rights();
        let mut changed = false;
        let mut look = found.look.clone();
        if let Some(packed) = Args::make(args.format, &found, platform).await? {
            // What is the same in another packing stays as it is.
            let sum = match (&packed.is_same, found.look.checksum()) {
                (true, Some(sum)) => sum.to_owned(),
                _ => http::sums(platform, &packed.file, None).await?[0].clone(),
            };
            let landing = Landing {
                file: &packed.file,
                sum: &sum,
                look: &found.look,
                rights: &rights,
                umask: found.umask,
                backup: None,
                is_beside: true,
            };
            match http::land(platform, landing).await {
                Ok(landed) => (changed, look) = landed,
                Err(problem) => {
                    http::remove(platform, &packed.file).await?;
                    return Err(problem);
                }
            }
            let steps = args.removals(&found, platform).await?;
            if !steps.is_empty() {
                host::take(platform, steps, &[]).await?;
                changed = true;
            }
        }
        let state = Args::state(&found, look.behind().is_some());
        let mut result = Args::result(&found, state);
        if look.found.is_some() {
            result.extend(host::facts(&look));
        }
        result.insert("state".to_owned(), json!(state));
        Ok(Outcome {
            changed,
            ..Outcome::unchanged(Value::Object(result))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_the_folder_that_all_are_in() {
        let of = |paths: &[&str]| {
            let paths: Vec<String> = paths.iter().map(ToString::to_string).collect();
            common(&paths)
        };
        assert_eq!(of(&["/a/b/c"]), "/a/b/");
        assert_eq!(of(&["/a/b/c", "/a/bb/d"]), "/a/");
        assert_eq!(of(&["/a/b", "/a/b/c"]), "/a/");
        assert_eq!(of(&["/a", "/b"]), "/");
        assert_eq!(of(&["/a/b/"]), "/a/b/");
    }
}

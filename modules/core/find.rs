//! `find`: files of the host that are as asked. In: folders and conditions; out: what matches, with what `stat` says.

use std::collections::BTreeMap;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::edit;
use super::host::{self, Content, Kind, Look, Meta, Rights};
use super::stat::{self, Checksum};
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::ModuleError;
use crate::fnmatch;
use crate::platform::Platform;
use crate::python_regex::{Flags, Pattern};

/// Finds files.
pub struct Find;

/// What is looked for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileType {
    Any,
    Directory,
    #[default]
    File,
    Link,
}

/// The time that `age` is about.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stamp {
    Atime,
    Ctime,
    #[default]
    Mtime,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Folders to look in, on the host.
    #[schemars(extend("x-aliases" = ["name", "path"]))]
    paths: Vec<String>,
    /// Names that match: shell patterns (`*.conf`), or regular expressions with `use_regex`. Without any, all do.
    #[serde(default)]
    #[schemars(extend("x-aliases" = ["pattern"]))]
    patterns: Vec<String>,
    /// Names that are left out, written as `patterns` are.
    #[serde(default)]
    #[schemars(extend("x-aliases" = ["exclude"]))]
    excludes: Vec<String>,
    /// `patterns` and `excludes` are regular expressions, as Python reads them, from the beginning of the name.
    #[serde(default)]
    use_regex: bool,
    /// A regular expression that the beginning of a line matches; only with `file_type: file`.
    contains: Option<String>,
    /// `contains` is looked for in the whole file at once, anywhere.
    #[serde(default)]
    read_whole_file: bool,
    /// What is looked for.
    #[serde(default)]
    file_type: FileType,
    /// Not younger than this: seconds, or `5m`, `2h`, `3d`, `1w`. With `-` before it, not older.
    age: Option<String>,
    /// The time that `age` is about.
    #[serde(default)]
    age_stamp: Stamp,
    /// Not smaller than this: bytes, or `5k`, `2m`, `1g`, `1t`. With `-` before it, not larger.
    size: Option<String>,
    /// The mode, in octal or symbolic.
    mode: Option<Value>,
    /// `mode` is the whole mode; else one of its bits is enough.
    #[serde(default = "yes")]
    exact_mode: bool,
    /// Look in folders of folders as well.
    #[serde(default)]
    recurse: bool,
    /// How deep, with `recurse`; 1 is the folder itself.
    depth: Option<u64>,
    /// Also names that begin with a dot.
    #[serde(default)]
    hidden: bool,
    /// Look in folders that links lead to.
    #[serde(default)]
    follow: bool,
    /// Compute checksums of files.
    #[serde(default)]
    get_checksum: bool,
    /// How they are computed.
    #[serde(default)]
    #[schemars(extend("x-aliases" = ["checksum", "checksum_algo"]))]
    checksum_algorithm: Checksum,
    /// Stop when there are so many.
    limit: Option<i64>,
    /// Only UTF-8 is supported, for `contains`.
    encoding: Option<String>,
}

fn yes() -> bool {
    true
}

/// Prints all names below a folder; what cannot be looked at is told on standard error.
const LIST: &str = r#"LC_ALL=C; export LC_ALL
[ -d "$1" ] || exit 44
cd -- "$1" && find $2 . $3 ! -name . -exec sh -c 'for f; do printf "%s\0" "$f"; done' sh {} +
exit 0"#;

/// `-5k` as a number, with the factors of its units.
fn amount(name: &str, text: &str, units: &[(char, i64)]) -> Result<i64, ModuleError> {
    let lower = text.to_lowercase();
    let unit = units.iter().find(|(unit, _)| lower.ends_with(*unit));
    let (digits, factor) = match unit {
        Some((unit, factor)) => (lower.trim_end_matches(*unit), *factor),
        None => (lower.as_str(), 1),
    };
    digits
        .parse::<i64>()
        .ok()
        .filter(|_| !digits.starts_with('+'))
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| {
            let list: String = units.iter().map(|(unit, _)| *unit).collect();
            ModuleError::argument(name, format!("failed to process {name}"))
                .hint(format!("write a number, with one of `{list}` behind it"))
                .with(name, text)
        })
}

/// Names, as shell patterns or as expressions.
enum Names {
    Globs(Vec<fnmatch::Matcher>),
    Patterns(Vec<Pattern>),
}

impl Names {
    fn new(name: &str, texts: &[String], use_regex: bool) -> Result<Self, ModuleError> {
        if use_regex {
            let one = |text: &String| {
                Pattern::text(text, Flags::default())
                    .map_err(|problem| edit::wrong(name, text, &problem))
            };
            return texts
                .iter()
                .map(one)
                .collect::<Result<_, _>>()
                .map(Self::Patterns);
        }
        let one = |text: &String| {
            fnmatch::compile(text).map_err(|problem| {
                ModuleError::argument(name, format!("`{name}: {text}` cannot be used: {problem}"))
            })
        };
        texts
            .iter()
            .map(one)
            .collect::<Result<_, _>>()
            .map(Self::Globs)
    }

    fn have(&self, name: &str) -> Result<bool, ModuleError> {
        match self {
            Self::Globs(globs) => Ok(globs.iter().any(|glob| glob.is_match(name))),
            Self::Patterns(patterns) => {
                for pattern in patterns {
                    let found = pattern.is_match_at_start(name);
                    if found.map_err(|problem| ModuleError::failed(problem.to_string()))? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

/// All conditions, read.
struct Wanted<'a> {
    args: &'a Args,
    names: Names,
    excluded: Names,
    content: Option<Pattern>,
    age: Option<i64>,
    size: Option<i64>,
    mode: Option<u32>,
    now: f64,
}

/// At least, or with a minus at most.
#[allow(
    clippy::cast_precision_loss,
    reason = "times are floats, as Ansible's are"
)]
fn reaches(value: f64, limit: Option<i64>) -> bool {
    limit.is_none_or(|limit| {
        if limit >= 0 {
            value >= limit as f64
        } else {
            value <= limit.abs() as f64
        }
    })
}

impl<'a> Wanted<'a> {
    #[allow(
        clippy::cast_precision_loss,
        reason = "times are floats, as Ansible's are"
    )]
    fn new(args: &'a Args, platform: &Platform) -> Result<Self, ModuleError> {
        let everything = if args.use_regex { ".*" } else { "*" };
        let patterns = if args.patterns.is_empty() {
            vec![everything.to_owned()]
        } else {
            args.patterns.clone()
        };
        let content = |text: &String| {
            Pattern::text(text, Flags::default())
                .map_err(|problem| edit::wrong("contains", text, &problem))
        };
        let ages = [
            ('s', 1),
            ('m', 60),
            ('h', 3600),
            ('d', 86_400),
            ('w', 604_800),
        ];
        let sizes = [
            ('b', 1),
            ('k', 1 << 10),
            ('m', 1 << 20),
            ('g', 1 << 30),
            ('t', 1 << 40),
        ];
        if let Some(limit) = args.limit.filter(|limit| *limit <= 0) {
            return Err(ModuleError::argument(
                "limit",
                format!("limit cannot be {limit} (use None for unlimited)"),
            ));
        }
        let encoding = args.encoding.as_deref().unwrap_or("utf-8").to_lowercase();
        if !matches!(encoding.as_str(), "utf-8" | "utf8" | "ascii") {
            return Err(ModuleError::argument(
                "encoding",
                format!("`encoding: {encoding}` is not supported: only `utf-8` is"),
            ));
        }
        let rights = Rights {
            mode: args.mode.clone(),
            ..Rights::default()
        };
        Ok(Self {
            args,
            names: Names::new("patterns", &patterns, args.use_regex)?,
            excluded: Names::new("excludes", &args.excludes, args.use_regex)?,
            content: args.contains.as_ref().map(content).transpose()?,
            age: args
                .age
                .as_ref()
                .map(|text| amount("age", text, &ages))
                .transpose()?,
            size: args
                .size
                .as_ref()
                .map(|text| amount("size", text, &sizes))
                .transpose()?,
            mode: rights.mode(0, false, 0)?,
            now: platform.clock.now().as_millisecond() as f64 / 1000.0,
        })
    }

    /// By the name alone.
    fn is_named(&self, path: &str) -> Result<bool, ModuleError> {
        let name = host::name(path);
        let is_hidden = name.starts_with('.') && !self.args.hidden;
        Ok(!is_hidden && self.names.have(name)? && !self.excluded.have(name)?)
    }

    #[allow(clippy::cast_precision_loss, reason = "no file is that large")]
    fn is_so(&self, meta: &Meta) -> bool {
        let kind = meta.kind();
        let is_kind = match self.args.file_type {
            FileType::Any => true,
            FileType::Directory => kind == Kind::Folder,
            FileType::File => kind == Kind::File,
            FileType::Link => kind == Kind::Link,
        };
        let stamp = match self.args.age_stamp {
            Stamp::Atime => meta.accessed,
            Stamp::Ctime => meta.changed,
            Stamp::Mtime => meta.modified,
        };
        let has_mode = self.mode.is_none_or(|mode| {
            if self.args.exact_mode {
                meta.mode() == mode
            } else {
                meta.mode() & mode != 0
            }
        });
        is_kind
            && has_mode
            && reaches(self.now - stamp, self.age)
            && (kind != Kind::File || reaches(meta.size as f64, self.size))
    }

    async fn has_content(&self, path: &str, platform: &Platform) -> Result<bool, ModuleError> {
        let Some(pattern) = &self.content else {
            return Ok(true);
        };
        let Content::File(bytes) = host::read(platform, path).await? else {
            return Ok(false);
        };
        let text = String::from_utf8(bytes).map_err(|_| {
            ModuleError::failed(format!(
                "Failed to read the file {path} due to an encoding error"
            ))
        })?;
        let wrong = |problem| ModuleError::failed(format!("`contains`: {problem}"));
        if self.args.read_whole_file {
            return pattern.is_match(&text).map_err(wrong);
        }
        for line in text.split_inclusive('\n') {
            if pattern.is_match_at_start(line).map_err(wrong)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What the result says of a match: the keys that `find` has of those of `stat`.
    fn shown(&self, look: &Look, meta: &Meta) -> Value {
        let mut all = stat::described(&look.path, look, meta);
        if let Value::Object(all) = &mut all {
            for key in [
                "exists",
                "blocks",
                "block_size",
                "device_type",
                "readable",
                "writeable",
                "executable",
                "lnk_source",
                "lnk_target",
            ] {
                all.shift_remove(key);
            }
            if !self.args.get_checksum {
                all.shift_remove("checksum");
            }
            for key in ["pw_name", "gr_name"] {
                all.entry(key).or_insert_with(|| json!(""));
            }
        }
        all
    }
}

/// All paths below a folder, and what of it cannot be looked at. None when it is no folder.
async fn list(
    args: &Args,
    root: &str,
    platform: &Platform,
    skipped: &mut BTreeMap<String, String>,
) -> Result<Option<Vec<String>>, ModuleError> {
    let depth = match (args.recurse, args.depth) {
        (false, _) => Some(1),
        (true, depth) => depth.filter(|depth| *depth > 0),
    };
    let words = [
        root.to_owned(),
        if args.follow { "-L" } else { "" }.to_owned(),
        depth
            .map(|depth| format!("-maxdepth {depth}"))
            .unwrap_or_default(),
    ];
    let output = host::script(platform, LIST, &words, None).await?;
    if output.rc == 44 {
        return Ok(None);
    }
    for line in String::from_utf8_lossy(&output.stderr).lines() {
        let told = line.strip_prefix("find: ").unwrap_or(line);
        let (path, why) = told.rsplit_once(": ").unwrap_or((told, ""));
        let path = path.trim_matches(['\'', '"']).trim_start_matches("./");
        if !why.contains("loop") {
            skipped.insert(host::join(root, path), why.to_owned());
        }
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let root = match root.trim_end_matches('/') {
        "" => "/",
        root => root,
    };
    let mut paths: Vec<String> = text
        .split('\0')
        .filter_map(|name| name.strip_prefix("./"))
        .map(|name| host::join(root, name))
        .collect();
    // The nearest first, as Ansible walks.
    paths.sort_by_cached_key(|path| (path.matches('/').count(), path.clone()));
    Ok(Some(paths))
}

#[async_trait]
impl Module for Find {
    type Args = Args;
    type Work = ();
    const NAME: &'static str = "find";
    const SUMMARY: &'static str = "Finds files of the host by name, age, size, mode or content";
    const EXAMPLES: &'static str = "- find: {paths: /var/log, patterns: \"*.log\", age: 7d, recurse: true}\n  register: old\n- file: {path: \"{{ item.path }}\", state: absent}\n  loop: \"{{ old.files }}\"\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: false,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<()>, ModuleError> {
        let wanted = Wanted::new(args, platform)?;
        let limit = args.limit.and_then(|limit| usize::try_from(limit).ok());
        let algorithm = args
            .get_checksum
            .then(|| args.checksum_algorithm.algorithm());
        let mut files = Vec::new();
        let mut skipped = BTreeMap::new();
        let (mut examined, mut msg) = (0, "All paths examined");
        let mut warnings = Vec::new();
        for root in &args.paths {
            let root = host::expand(platform, root).await?;
            let Some(paths) = list(args, &root, platform, &mut skipped).await? else {
                let why = format!("'{root}' is not a directory");
                warnings.push(format!(
                    "Skipped '{root}' path due to this access issue: {why}"
                ));
                skipped.insert(root, why);
                continue;
            };
            examined += paths.len();
            let mut named = Vec::new();
            for path in paths {
                if wanted.is_named(&path)? {
                    named.push(path);
                }
            }
            for look in host::look(platform, &named, algorithm).await?.all {
                if limit.is_some_and(|limit| files.len() >= limit) {
                    msg = "Limit of matches reached";
                    break;
                }
                let Some(meta) = look.own().filter(|meta| wanted.is_so(meta)) else {
                    continue;
                };
                let is_file = args.file_type == FileType::File;
                if !is_file || wanted.has_content(&look.path, platform).await? {
                    files.push(wanted.shown(&look, meta));
                }
            }
            if limit.is_some_and(|limit| files.len() >= limit) {
                msg = "Limit of matches reached";
            }
        }
        if !warnings.is_empty() {
            msg = "Not all paths examined, check warnings for details";
        }
        let outcome = Outcome::unchanged(json!({
            "matched": files.len(),
            "files": files,
            "msg": msg,
            "examined": examined,
            "skipped_paths": skipped,
        }));
        Ok(Change::None(Outcome {
            warnings,
            ..outcome
        }))
    }

    async fn apply(&self, _: &Args, (): (), _: &Platform) -> Result<Outcome, ModuleError> {
        Ok(Outcome::default())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::host::testing::ways;
    use super::*;

    #[test]
    fn amounts_have_units() {
        let units = [('k', 1024), ('m', 1 << 20)];
        for (text, wanted) in [("5", 5), ("-5k", -5120), ("2M", 2 << 20)] {
            assert_eq!(amount("size", text, &units).unwrap(), wanted, "{text}");
        }
        for text in ["", "k", "1.5k", "5x", "+5"] {
            let problem = amount("size", text, &units).unwrap_err();
            assert_eq!(problem.message, "failed to process size", "{text}");
        }
    }

    #[tokio::test]
    async fn every_way_finds_what_ansible_finds() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("sub/deep")).unwrap();
        for (name, text) in [
            ("a.conf", "x=1\n y\n"),
            ("b {c}.log", ""),
            (".hidden.conf", "x\n"),
            ("sub/c.conf", "y=1\n"),
            ("sub/deep/d.conf", "long enough to be larger\n"),
        ] {
            std::fs::write(at(name), text).unwrap();
        }
        symlink("a.conf", at("link")).unwrap();
        let schema = schemars::schema_for!(Args).to_value();
        for platform in ways() {
            for (arguments, wanted) in [
                (json!({}), vec!["a.conf", "b {c}.log"]),
                (
                    json!({"hidden": true, "patterns": "*.conf"}),
                    vec![".hidden.conf", "a.conf"],
                ),
                (
                    json!({"recurse": true, "patterns": ["*.conf"]}),
                    vec!["a.conf", "sub/c.conf", "sub/deep/d.conf"],
                ),
                (
                    json!({"recurse": true, "depth": 2, "pattern": "[cd].*"}),
                    vec!["sub/c.conf"],
                ),
                (
                    json!({"file_type": "any", "exclude": "*.*"}),
                    vec!["link", "sub"],
                ),
                (json!({"file_type": "link"}), vec!["link"]),
                (
                    json!({"file_type": "directory", "recurse": true}),
                    vec!["sub", "sub/deep"],
                ),
                (json!({"patterns": "{c}"}), vec![]),
                (json!({"patterns": "b {c}*"}), vec!["b {c}.log"]),
                (
                    json!({"use_regex": true, "patterns": "^a|c"}),
                    vec!["a.conf"],
                ),
                (
                    json!({"use_regex": true, "patterns": ".*log$"}),
                    vec!["b {c}.log"],
                ),
                (
                    json!({"recurse": true, "contains": "y"}),
                    vec!["sub/c.conf"],
                ),
                (
                    json!({"contains": "y$", "read_whole_file": true}),
                    vec!["a.conf"],
                ),
                (
                    json!({"recurse": true, "size": "20b"}),
                    vec!["sub/deep/d.conf"],
                ),
                (json!({"size": "-1"}), vec!["b {c}.log"]),
                (json!({"age": "1h"}), vec![]),
                (json!({"age": "-1h", "limit": 1}), vec!["a.conf"]),
                (json!({"mode": "0644", "patterns": "a*"}), vec!["a.conf"]),
                (json!({"mode": "u=x", "exact_mode": false}), vec![]),
            ] {
                let mut all = arguments.as_object().unwrap().clone();
                all.insert("paths".to_owned(), json!(dir.path()));
                let args = super::super::arguments::parse::<Args>("find", &schema, &all).unwrap();
                let Change::None(outcome) = Find.inspect(&args, &platform).await.unwrap() else {
                    panic!("looking changes nothing")
                };
                let files = outcome.result["files"].as_array().unwrap();
                let found: Vec<_> = files.iter().map(|file| &file["path"]).collect();
                let wanted: Vec<Value> = wanted.iter().map(|name| json!(at(name))).collect();
                assert_eq!(found, wanted.iter().collect::<Vec<_>>(), "{arguments}");
                assert_eq!(outcome.result["matched"], wanted.len());
            }
        }
    }
}

//! `stat`: what is at a path of the host. In: the path; out: `stat`, with Ansible's keys.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::host::{self, Algorithm, Kind, Look, Meta};
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::ModuleError;
use crate::platform::Platform;

/// Looks at a path.
pub struct Stat;

/// How a file's checksum is computed.
#[derive(Debug, Default, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    Md5,
    #[default]
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Checksum {
    pub(super) fn algorithm(self) -> Algorithm {
        match self {
            Self::Md5 => Algorithm::Md5,
            Self::Sha1 => Algorithm::Sha1,
            Self::Sha224 => Algorithm::Sha224,
            Self::Sha256 => Algorithm::Sha256,
            Self::Sha384 => Algorithm::Sha384,
            Self::Sha512 => Algorithm::Sha512,
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The path, on the host.
    #[schemars(extend("x-aliases" = ["dest", "name"]))]
    path: String,
    /// Look at what a link leads to, not at the link.
    #[serde(default)]
    follow: bool,
    /// Compute the checksum of a file that may be read.
    #[serde(default = "yes")]
    get_checksum: bool,
    /// How it is computed.
    #[serde(default)]
    #[schemars(extend("x-aliases" = ["checksum", "checksum_algo"]))]
    checksum_algorithm: Checksum,
    /// Ask the program `file` for `mimetype` and `charset`; `unknown` where it is not installed.
    #[serde(default = "yes")]
    #[schemars(extend("x-aliases" = ["mime", "mime_type", "mime-type"]))]
    get_mime: bool,
    /// Ask `lsattr` for `attributes`, `attr_flags` and `version`; empty where it does not say.
    #[serde(default = "yes")]
    #[schemars(extend("x-aliases" = ["attr", "attributes"]))]
    get_attributes: bool,
}

fn yes() -> bool {
    true
}

/// What needs further programs: `file`'s line, then `lsattr`'s.
const MORE: &str = r#"LC_ALL=C; export LC_ALL
if [ -n "$2" ]; then file --mime-type --mime-encoding -- "$1" 2>/dev/null; fi; printf '\0'
if [ -n "$3" ]; then lsattr -vd -- "$1" 2>/dev/null; fi; printf '\0'"#;

/// Ansible's names for the letters of `lsattr`.
const FLAGS: &[(char, &str)] = &[
    ('A', "noatime"),
    ('a', "append"),
    ('c', "compressed"),
    ('C', "nocow"),
    ('d', "nodump"),
    ('D', "dirsync"),
    ('e', "extents"),
    ('E', "encrypted"),
    ('h', "blocksize"),
    ('i', "immutable"),
    ('I', "indexed"),
    ('j', "journalled"),
    ('N', "inline"),
    ('s', "zero"),
    ('S', "synchronous"),
    ('t', "notail"),
    ('T', "blockroot"),
    ('u', "undelete"),
    ('X', "compressedraw"),
    ('Z', "compresseddirty"),
];

pub(super) fn described(path: &str, look: &Look, meta: &Meta) -> Value {
    let mode = meta.raw_mode;
    let has = |bit: u32| mode & bit != 0;
    let is = |kind: Kind| meta.kind() == kind;
    let mut stat = json!({
        "exists": true,
        "path": path,
        // Unlike elsewhere, four digits and no more.
        "mode": format!("{:04o}", meta.mode()),
        "isdir": is(Kind::Folder),
        "ischr": is(Kind::Character),
        "isblk": is(Kind::Block),
        "isreg": is(Kind::File),
        "isfifo": is(Kind::Pipe),
        "islnk": is(Kind::Link),
        "issock": is(Kind::Socket),
        "uid": meta.uid,
        "gid": meta.gid,
        "size": meta.size,
        "inode": meta.inode,
        "dev": meta.device,
        "nlink": meta.links,
        "atime": meta.accessed,
        "mtime": meta.modified,
        "ctime": meta.changed,
        "wusr": has(0o200),
        "rusr": has(0o400),
        "xusr": has(0o100),
        "wgrp": has(0o020),
        "rgrp": has(0o040),
        "xgrp": has(0o010),
        "woth": has(0o002),
        "roth": has(0o004),
        "xoth": has(0o001),
        "isuid": has(0o4000),
        "isgid": has(0o2000),
        "blocks": meta.blocks,
        "block_size": meta.block_size,
        "device_type": meta.device_type,
    });
    if let (Some(found), Value::Object(stat)) = (&look.found, &mut stat) {
        let mut put = |key: &str, value: Value| stat.insert(key.to_owned(), value);
        put("readable", json!(found.readable));
        put("writeable", json!(found.writeable));
        put("executable", json!(found.executable));
        if let Some(link) = &found.link {
            put("lnk_source", json!(link.real));
            put("lnk_target", json!(link.text));
        }
        if let Some(owner) = &meta.owner {
            put("pw_name", json!(owner));
        }
        if let Some(group) = &meta.group {
            put("gr_name", json!(group));
        }
        if let (Kind::File, Some(sum)) = (meta.kind(), &found.checksum) {
            put("checksum", json!(sum));
        }
    }
    stat
}

/// `/etc/hosts: text/plain; charset=us-ascii`
fn mime(line: &str) -> (String, String) {
    let known = line.trim().rsplit_once(':').and_then(|(_, said)| {
        let (kind, rest) = said.split_once(';')?;
        let (_, charset) = rest.split_once('=')?;
        Some((kind.trim().to_owned(), charset.trim().to_owned()))
    });
    known.unwrap_or_else(|| ("unknown".to_owned(), "unknown".to_owned()))
}

#[async_trait]
impl Module for Stat {
    type Args = Args;
    type Work = ();
    const NAME: &'static str = "stat";
    const SUMMARY: &'static str = "Looks at a path of the host; `stat` has what is there";
    const EXAMPLES: &'static str = "- stat: {path: /run/ostree-booted}\n  register: booted\n- debug:\n    msg: an image-based system\n  when: booted.stat.exists\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: false,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<()>, ModuleError> {
        let path = host::expand(platform, &args.path).await?;
        let algorithm = args
            .get_checksum
            .then(|| args.checksum_algorithm.algorithm());
        let mut looks = host::look(platform, std::slice::from_ref(&path), algorithm).await?;
        let seen = looks
            .all
            .pop()
            .map(|look| if args.follow { look.follow() } else { look });
        let Some((look, meta)) = seen
            .as_ref()
            .and_then(|look| look.own().map(|meta| (look, meta)))
        else {
            return Ok(Change::None(Outcome::unchanged(
                json!({"stat": {"exists": false}}),
            )));
        };
        let mut stat = described(&path, look, meta);
        if args.get_mime || args.get_attributes {
            self.more(args, &path, platform, &mut stat).await?;
        }
        Ok(Change::None(Outcome::unchanged(json!({"stat": stat}))))
    }

    async fn apply(&self, _: &Args, (): (), _: &Platform) -> Result<Outcome, ModuleError> {
        Ok(Outcome::default())
    }
}

impl Stat {
    /// The keys that only programs can tell, which need not be there.
    async fn more(
        &self,
        args: &Args,
        path: &str,
        platform: &Platform,
        stat: &mut Value,
    ) -> Result<(), ModuleError> {
        let word = |wanted: bool| if wanted { "yes" } else { "" }.to_owned();
        let words = [
            path.to_owned(),
            word(args.get_mime),
            word(args.get_attributes),
        ];
        let output = host::script(platform, MORE, &words, None).await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (kind, attributes) = text.split_once('\0').unwrap_or_default();
        if args.get_mime {
            let (mimetype, charset) = mime(kind);
            stat["mimetype"] = json!(mimetype);
            stat["charset"] = json!(charset);
        }
        if args.get_attributes {
            let mut words = attributes.split_whitespace();
            let (version, flags) = (words.next(), words.next());
            let flags: String = flags
                .unwrap_or_default()
                .chars()
                .filter(|c| *c != '-')
                .collect();
            let names: Vec<&str> = flags
                .chars()
                .filter_map(|c| {
                    FLAGS
                        .iter()
                        .find(|(flag, _)| *flag == c)
                        .map(|(_, name)| *name)
                })
                .collect();
            stat["version"] =
                json!(version.filter(|text| text.bytes().all(|b| b.is_ascii_digit())));
            stat["attributes"] = json!(names);
            stat["attr_flags"] = json!(flags);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::testing::ways;
    use super::*;

    async fn stat(platform: &Platform, args: Value) -> Value {
        let schema = schemars::schema_for!(Args).to_value();
        let args = super::super::arguments::parse("stat", &schema, args.as_object().unwrap());
        match Stat.inspect(&args.unwrap(), platform).await.unwrap() {
            Change::None(outcome) => {
                let mut stat = outcome.result["stat"].clone();
                // Looking at the content is an access.
                if let Value::Object(stat) = &mut stat {
                    stat.remove("atime");
                }
                stat
            }
            _ => panic!("looking changes nothing"),
        }
    }

    #[tokio::test]
    async fn every_way_tells_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(at("a b"), "text").unwrap();
        std::os::unix::fs::symlink("a b", at("link")).unwrap();
        std::os::unix::fs::symlink("nowhere/x", at("dangling")).unwrap();
        for args in [
            json!({"path": at("a b"), "get_mime": false}),
            json!({"name": at("link"), "mime": false}),
            json!({"path": at("link"), "follow": true, "checksum_algorithm": "sha256"}),
            json!({"dest": at("dangling")}),
            json!({"dest": at("dangling"), "follow": true}),
            json!({"path": at("no such")}),
            json!({"path": dir.path(), "get_attributes": false}),
            json!({"path": "/dev/null"}),
        ] {
            let [here, posix, busybox] = ways();
            let here = stat(&here, args.clone()).await;
            assert_eq!(here, stat(&posix, args.clone()).await, "{args}");
            let mut small = stat(&busybox, args.clone()).await;
            // busybox has no `file`, and its `lsattr` is not everywhere.
            for key in ["mimetype", "charset", "version", "attributes", "attr_flags"] {
                if let Some(value) = here.get(key) {
                    small[key] = value.clone();
                }
            }
            assert_eq!(here, small, "{args}");
        }
    }

    #[test]
    fn what_file_says_is_read() {
        assert_eq!(
            mime("/a:b: text/plain; charset=us-ascii\n"),
            ("text/plain".to_owned(), "us-ascii".to_owned())
        );
        assert_eq!(mime("").0, "unknown");
    }
}

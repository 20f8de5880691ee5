//! `unarchive`: unpacks an archive on the host. In: an archive of this machine, of the host, or behind an address; out:
//! what was unpacked. GNU `tar` compares and unpacks tar archives; zip archives are unpacked beside with `unzip`, and
//! compared file by file.

mod tar;
mod zip;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::host::{self, Algorithm, Rights, Step};
use super::http::{self, Options, Place, Redirects, Request, Sink, Wanted};
use crate::contract::{
    Change, FieldChange, FileArgument, Module, Outcome, Part, Render, Supports, Touches,
};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// Unpacks an archive.
pub struct Unarchive;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The archive: a file of this machine, found beside the task, then beside the playbook, in `files/` first. With
    /// `remote_src` a file of the host, or an address that the host downloads it from.
    src: String,
    /// The folder of the host that it is unpacked to. It must be there.
    dest: String,
    /// `src` is on the host, or an address.
    #[serde(default)]
    remote_src: bool,
    /// The older form of `remote_src`, the other way round.
    copy: Option<bool>,
    /// Skip when this file exists.
    creates: Option<String>,
    /// Have the names of all entries in `files`.
    #[serde(default)]
    list_files: bool,
    /// Leave files alone that are newer than those of the archive.
    #[serde(default)]
    keep_newer: bool,
    /// Entries that are left out: names, and patterns as the shell has them.
    #[serde(default)]
    exclude: Vec<String>,
    /// Entries that are unpacked, and no others.
    #[serde(default)]
    include: Vec<String>,
    /// Further options for `tar` or `unzip`.
    #[serde(default)]
    extra_opts: Vec<String>,
    /// Check the certificate of the server that `src` names.
    #[serde(default = "yes")]
    validate_certs: bool,
    /// Open a `src` file that is encrypted with a vault. What is opened is text, so no archive is.
    #[serde(default = "yes")]
    #[allow(dead_code, reason = "the engine opens, and reads it")]
    decrypt: bool,
    /// Accepted and without effect.
    #[allow(dead_code, reason = "accepted for playbooks that set it")]
    io_buffer_size: Option<u64>,
    /// Owner of all that is unpacked, by name or number.
    owner: Option<String>,
    /// Group of all that is unpacked, by name or number.
    group: Option<String>,
    /// Mode of all that is unpacked, folders too: `u=rwX,go=rX` fits both.
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
    /// Accepted and without effect.
    #[serde(default)]
    #[allow(dead_code, reason = "accepted for playbooks that set it")]
    unsafe_writes: bool,
}

fn yes() -> bool {
    true
}

/// An archive that is on the host.
struct Staged {
    path: String,
    /// It was brought there for this task.
    is_temporary: bool,
    /// As results name it.
    shown: String,
}

/// A path that is not as in the archive, and how.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Difference {
    pub(super) path: String,
    pub(super) what: String,
}

/// What is in an archive, compared with what is on the host.
pub(super) struct Compared {
    /// The names of its entries, without a `/` before them.
    pub(super) names: Vec<String>,
    pub(super) differences: Vec<Difference>,
    /// What unpacks it.
    pub(super) work: Unpack,
}

/// How it is unpacked.
pub(super) enum Unpack {
    Tar,
    /// It was unpacked to this folder, and these steps bring it to its place.
    Zip {
        folder: String,
        steps: Vec<Step>,
        result: Value,
    },
}

/// What an archive is, by its first bytes, under Ansible's names.
fn handler(start: &str) -> &'static str {
    match start {
        zip if zip.starts_with("504b") => "ZipArchive",
        gzip if gzip.starts_with("1f8b") => "TgzArchive",
        bzip if bzip.starts_with("425a68") => "TarBzipArchive",
        xz if xz.starts_with("fd377a585a00") => "TarXzArchive",
        zstd if zstd.starts_with("28b52ffd") => "TarZstdArchive",
        _ => "TarArchive",
    }
}

/// Refuses a name that leads out of the folder. A `/` before it is dropped, as by all who unpack.
pub(super) fn check_name(name: &str) -> Result<(), ModuleError> {
    if name.split('/').any(|part| part == "..") {
        return Err(leads_out(name));
    }
    Ok(())
}

pub(super) fn leads_out(name: &str) -> ModuleError {
    ModuleError::new(
        ErrorKind::Preflight,
        format!("the archive's entry `{name}` leads out of `dest`; nothing was unpacked"),
    )
    .hint("whoever made the archive may want to write elsewhere: look at it first, or leave the entry out with `exclude`")
}

const STAGE: &str = r#"umask 077; t=$(mktemp) || exit 1; if cat > "$t"; then printf %s "$t"; else rm -f -- "$t"; exit 1; fi"#;

const START: &str = r#"[ -e "$1" ] || exit 44; [ -r "$1" ] || exit 46; [ -d "$1" ] && exit 45; od -A n -t x1 -N 6 < "$1""#;

host::rights_arguments!(Args);

impl Args {
    fn is_on_host(&self) -> bool {
        self.copy.map_or(self.remote_src, |copy| !copy)
    }

    fn check(&self) -> Result<(), ModuleError> {
        if !self.include.is_empty() && !self.exclude.is_empty() {
            return Err(ModuleError::argument(
                "include",
                "parameters are mutually exclusive: include|exclude",
            ));
        }
        if self.copy.is_some() && self.remote_src {
            return Err(ModuleError::argument(
                "copy",
                "parameters are mutually exclusive: ('copy', 'remote_src')",
            ));
        }
        let absolute = self
            .extra_opts
            .iter()
            .find(|option| matches!(option.as_str(), "-P" | "--absolute-names" | "-:"));
        if let Some(option) = absolute {
            return Err(ModuleError::argument(
                "extra_opts",
                format!("`{option}` would let the archive write out of `dest`"),
            )
            .hint("unpack to `dest: /`"));
        }
        Ok(())
    }

    async fn download(&self, platform: &Platform) -> Result<Staged, ModuleError> {
        let request = Request {
            url: http::parse("src", &self.src)?,
            written: self.src.clone(),
            method: "GET".to_owned(),
            headers: Vec::new(),
            body: None,
            options: Options {
                timeout: 30,
                user: None,
                password: None,
                force_basic: false,
                validate: self.validate_certs,
                ca_path: None,
                client_cert: None,
                client_key: None,
                ciphers: Vec::new(),
                use_proxy: true,
                use_netrc: true,
                decompress: false,
                agent: "ansible-httpget".to_owned(),
                unix_socket: None,
                unredirected: Vec::new(),
                redirects: Redirects::Urllib,
            },
            may_use_wget: true,
        };
        let sink = Sink {
            file: Some(Place::Temporary),
            statuses: vec![200],
            content: Wanted::Never,
        };
        let answer = http::fetch(platform, request, &sink).await?;
        let shown = http::masked(&self.src);
        match answer.file {
            Some(path) => Ok(Staged {
                path,
                is_temporary: true,
                shown,
            }),
            None => Err(ModuleError::failed(format!(
                "Failure downloading {shown}, {}",
                answer.msg
            ))
            .with("status_code", answer.status)),
        }
    }

    /// Brings the archive to the host, unless it is there.
    async fn stage(&self, platform: &Platform) -> Result<Staged, ModuleError> {
        if self.is_on_host() {
            if self.src.contains("://") {
                return self.download(platform).await;
            }
            let path = host::expand(platform, &self.src).await?;
            return Ok(Staged {
                shown: path.clone(),
                path,
                is_temporary: false,
            });
        }
        if platform.shell()?.is_local() {
            return Ok(Staged {
                path: self.src.clone(),
                is_temporary: false,
                shown: self.src.clone(),
            });
        }
        let bytes = tokio::fs::read(&self.src)
            .await
            .map_err(|problem| super::copy::unreadable(&self.src, &problem))?;
        let output = host::script(platform, STAGE, &[], Some(bytes)).await?;
        if output.rc != 0 {
            return Err(ModuleError::failed(format!(
                "Source '{}' failed to transfer: {}",
                self.src,
                String::from_utf8_lossy(&output.stderr).trim()
            )));
        }
        Ok(Staged {
            path: String::from_utf8_lossy(&output.stdout).into_owned(),
            is_temporary: true,
            shown: self.src.clone(),
        })
    }

    /// Its first bytes, as hexadecimal digits.
    async fn start(staged: &Staged, platform: &Platform) -> Result<String, ModuleError> {
        let words = [staged.path.clone()];
        let output = host::script(platform, START, &words, None).await?;
        let shown = &staged.shown;
        let text: String = String::from_utf8_lossy(&output.stdout)
            .split_whitespace()
            .collect();
        match output.rc {
            0 if text.is_empty() => Err(ModuleError::failed(format!(
                "Invalid archive '{shown}', the file is 0 bytes"
            ))),
            0 => Ok(text),
            44 => Err(ModuleError::new(
                ErrorKind::NotFound,
                format!("Source '{shown}' does not exist"),
            )),
            45 => Err(ModuleError::failed(format!(
                "Source '{shown}' is a folder, and no archive"
            ))),
            _ => Err(ModuleError::new(
                ErrorKind::Forbidden,
                format!("Source '{shown}' not readable"),
            )),
        }
    }

    /// The rights that entries lack: of each name, and of the folders at the top.
    async fn lacks(
        &self,
        dest: &str,
        names: &[String],
        platform: &Platform,
    ) -> Result<(Vec<Step>, Vec<FieldChange>), ModuleError> {
        let rights = self.rights();
        if rights == Rights::default() {
            return Ok(Default::default());
        }
        let mut paths: Vec<String> = Vec::new();
        let top = names
            .iter()
            .filter_map(|name| Some(name.split_once('/')?.0));
        for name in names.iter().map(String::as_str).chain(top) {
            let name = name.trim_start_matches("./").trim_end_matches('/');
            // What is there already is left alone.
            if name.is_empty() || name == "." {
                continue;
            }
            let path = host::join(dest, name);
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        let looks = host::look(platform, &paths, None).await?;
        let mut all = (Vec::new(), Vec::new());
        for look in &looks.all {
            if let Some(meta) = look.own() {
                let (steps, fields) = rights.missing(&look.path, meta, looks.umask)?;
                all.0.extend(steps);
                all.1.extend(fields.into_iter().map(|field| FieldChange {
                    field: format!("{}: {}", look.path, field.field),
                    ..field
                }));
            }
        }
        Ok(all)
    }

    async fn compare(
        &self,
        handler: &str,
        staged: &Staged,
        dest: &str,
        platform: &Platform,
    ) -> Result<Compared, ModuleError> {
        if handler == "ZipArchive" {
            zip::compare(self, staged, dest, platform).await
        } else {
            tar::compare(self, staged, dest, platform).await
        }
    }

    /// Compares, and outside of check mode unpacks.
    async fn unpack(
        &self,
        staged: &Staged,
        dest: &str,
        platform: &Platform,
    ) -> Result<(Outcome, Vec<FieldChange>), ModuleError> {
        let handler = handler(&Self::start(staged, platform).await?);
        let compared = self.compare(handler, staged, dest, platform).await?;
        let mut result = Map::from_iter([
            ("dest".to_owned(), json!(dest)),
            ("src".to_owned(), json!(staged.shown)),
            ("handler".to_owned(), json!(handler)),
        ]);
        let mut changed = !compared.differences.is_empty();
        let mut fields: Vec<FieldChange> = compared
            .differences
            .iter()
            .map(|difference| FieldChange {
                field: host::join(dest, difference.path.trim_start_matches("./")),
                before: json!(difference.what),
                after: json!("as in the archive"),
            })
            .collect();
        let extracted = match compared.work {
            Unpack::Zip { folder, steps, .. } if platform.check || !changed => {
                drop(steps);
                http::remove(platform, &folder).await?;
                None
            }
            Unpack::Tar if platform.check || !changed => None,
            Unpack::Tar => Some(tar::extract(self, staged, dest, platform).await),
            Unpack::Zip {
                folder,
                steps,
                result,
            } => {
                let done = host::take(platform, steps, &[]).await;
                http::remove(platform, &folder).await?;
                Some(done.map(|_| result))
            }
        };
        if let Some(extracted) = extracted {
            let extracted = extracted.map_err(|mut problem| {
                problem.result.extend(result.clone());
                problem
            })?;
            result.insert("extract_results".to_owned(), extracted);
        }
        let (steps, lacking) = self.lacks(dest, &compared.names, platform).await?;
        changed |= !steps.is_empty();
        fields.extend(lacking);
        if !platform.check {
            host::take(platform, steps, &[]).await?;
        }
        if self.list_files {
            result.insert("files".to_owned(), json!(compared.names));
        }
        let looks = host::look(platform, &[dest.to_owned()], None).await?;
        result.extend(host::facts(looks.at(dest)?));
        let outcome = Outcome {
            changed,
            ..Outcome::unchanged(Value::Object(result))
        };
        Ok((outcome, fields))
    }

    /// The same, with the archive brought there before and removed after.
    async fn whole(
        &self,
        dest: &str,
        platform: &Platform,
    ) -> Result<(Outcome, Vec<FieldChange>), ModuleError> {
        let staged = self.stage(platform).await?;
        let done = self.unpack(&staged, dest, platform).await;
        if staged.is_temporary {
            http::remove(platform, &staged.path).await?;
        }
        done
    }
}

#[async_trait]
impl Module for Unarchive {
    type Args = Args;
    /// The folder.
    type Work = String;
    const NAME: &'static str = "unarchive";
    const SUMMARY: &'static str = "Unpacks an archive on the host";
    const EXAMPLES: &'static str = "- unarchive: {src: app.tar.gz, dest: /opt, owner: root, group: root}\n- unarchive:\n    src: https://example.com/tool.zip\n    dest: /usr/local/bin\n    remote_src: true\n    include: [tool]\n    creates: /usr/local/bin/tool\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;
    const FILES: &'static [FileArgument] = &[FileArgument {
        argument: "src",
        folder: "files",
        render: Render::Never,
        content: None,
        part: Part::Whole,
    }];

    async fn inspect(
        &self,
        args: &Args,
        platform: &Platform,
    ) -> Result<Change<String>, ModuleError> {
        args.check()?;
        let dest = host::expand(platform, &args.dest).await?;
        let creates = match &args.creates {
            Some(path) => Some(host::expand(platform, path).await?),
            None => None,
        };
        let mut paths = vec![dest.clone()];
        paths.extend(creates.clone());
        let looks = host::look(platform, &paths, None::<Algorithm>).await?;
        args.unsupported().check(looks.selinux)?;
        if let Some(path) = &creates
            && looks.at(path)?.behind().is_some()
        {
            return Ok(Change::None(Outcome {
                skipped: true,
                ..Outcome::unchanged(json!({"msg": format!("skipped, since {path} exists")}))
            }));
        }
        let look = looks.at(&dest)?;
        if !look.is_folder() {
            if platform.check && look.found.is_none() {
                // A task before this one may make it, and has not in check mode.
                let field = FieldChange {
                    field: dest.clone(),
                    before: json!("absent"),
                    after: json!("as in the archive"),
                };
                let preview = Outcome::changed(json!({"dest": dest}));
                return Ok(some(vec![field], preview, dest));
            }
            return Err(ModuleError::new(
                ErrorKind::NotFound,
                format!("dest '{dest}' must be an existing dir"),
            )
            .hint("make it first with `file: {state: directory}`"));
        }
        if !platform.check {
            return Ok(Change::Unknown {
                message: "the archive would be unpacked".to_owned(),
                work: dest,
            });
        }
        let (outcome, fields) = args.whole(&dest, platform).await?;
        Ok(if outcome.changed {
            some(fields, outcome, dest)
        } else {
            Change::None(outcome)
        })
    }

    async fn apply(
        &self,
        args: &Args,
        dest: String,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        args.whole(&dest, platform)
            .await
            .map(|(outcome, _)| outcome)
    }
}

fn some(fields: Vec<FieldChange>, preview: Outcome, work: String) -> Change<String> {
    Change::Some {
        fields,
        diff: Vec::new(),
        preview,
        work,
    }
}

//! `get_url`: downloads a file on the host. In: an address, where the file goes, its digest; out: what was there, what is
//! there now. Check mode downloads as well, compares, and throws it away: only so it can tell.

mod digest;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::digest::Digest;
use super::host::{self, Algorithm, Kind, Look};
use super::http::{self, Answer, Landing, Options, Place, Redirects, Request, Sink, Wanted};
use super::place;
use crate::contract::{Change, FieldChange, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// Downloads a file to the host.
pub struct GetUrl;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "they are the arguments of Ansible's module"
)]
pub struct Args {
    /// The address: `http`, `https`, `ftp` or `file`.
    url: String,
    /// The file, on the host. In a folder it is called as the server says, else as the address ends.
    dest: String,
    /// `ALGORITHM:DIGEST`, or `ALGORITHM:ADDRESS` of a file with the digests of several files (as `sha256sum` writes
    /// them). A file with this digest is not downloaded again.
    #[serde(default)]
    checksum: String,
    /// Download each time, also what the server says is no newer, or what has the digest already.
    #[serde(default)]
    force: bool,
    /// Keep a copy of the file that is replaced, beside it; `backup_file` says where.
    #[serde(default)]
    backup: bool,
    /// Headers of the request.
    #[serde(default)]
    headers: Map<String, Value>,
    /// Headers that are not sent again when the server redirects.
    #[serde(default)]
    unredirected_headers: Vec<String>,
    /// Seconds without any progress after which it fails.
    #[serde(default = "ten")]
    timeout: u32,
    /// User for the server.
    #[schemars(extend("x-aliases" = ["username"]))]
    url_username: Option<String>,
    /// Password for the server.
    #[schemars(extend("x-aliases" = ["password"]))]
    url_password: Option<String>,
    /// Send user and password at once, not only when the server asks for them.
    #[serde(default)]
    force_basic_auth: bool,
    /// Check the server's certificate.
    #[serde(default = "yes")]
    validate_certs: bool,
    /// A file of the host with the certificates of those who may vouch for the server.
    ca_path: Option<String>,
    /// A file of the host with the certificate (and the key) that the host shows.
    client_cert: Option<String>,
    /// A file of the host with the key of `client_cert`.
    client_key: Option<String>,
    /// Ciphers for TLS.
    #[serde(default)]
    ciphers: Vec<String>,
    /// Use the proxies that the environment names.
    #[serde(default = "yes")]
    use_proxy: bool,
    /// Use logins of `~/.netrc` of the host.
    #[serde(default = "yes")]
    use_netrc: bool,
    /// Unpack what the server packs for the way.
    #[serde(default = "yes")]
    decompress: bool,
    /// Who asks, for the server's log.
    #[serde(default = "agent")]
    http_agent: String,
    /// The folder of the host for the file while it is downloaded; without it, that of `dest`.
    tmp_dest: Option<String>,
    /// Not supported; an error.
    #[serde(default)]
    use_gssapi: bool,
    /// Owner, by name or number.
    owner: Option<String>,
    /// Group, by name or number.
    group: Option<String>,
    /// Mode: `"0644"`, or symbolic (`u=rw,go=r`).
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

fn yes() -> bool {
    true
}

fn ten() -> u32 {
    10
}

fn agent() -> String {
    "ansible-httpget".to_owned()
}

/// What is at `dest` before anything is downloaded.
pub struct Seen {
    dest: String,
    look: Look,
    umask: u32,
    digest: Option<Digest>,
    /// The file has the digest already.
    has_digest: bool,
}

/// What is to be done.
pub enum Work {
    /// The file is there; its rights are not.
    Rights(place::Work),
    Download(Box<Seen>),
}

/// A file that came, and what it is compared with.
struct Got {
    answer: Answer,
    file: String,
    is_beside: bool,
    look: Look,
    umask: u32,
    sums: [String; 3],
    elapsed: i64,
}

/// How a download ended.
enum End {
    /// The server says that the file is no newer.
    Same(Outcome),
    Got(Box<Got>),
}

host::rights_arguments!(Args);

impl Args {
    fn request(&self, url: &str, argument: &str) -> Result<Request, ModuleError> {
        if self.use_gssapi {
            return Err(ModuleError::argument(
                "use_gssapi",
                "`use_gssapi` is not supported",
            ));
        }
        let mut headers = http::headers(&self.headers)?;
        if self.force && !http::has(&headers, "cache-control") {
            headers.push(("Cache-Control".to_owned(), "no-cache".to_owned()));
        }
        Ok(Request {
            url: http::parse(argument, url)?,
            written: url.to_owned(),
            method: "GET".to_owned(),
            headers,
            body: None,
            options: Options {
                timeout: self.timeout,
                user: self.url_username.clone(),
                password: self.url_password.clone(),
                force_basic: self.force_basic_auth,
                validate: self.validate_certs,
                ca_path: self.ca_path.clone(),
                client_cert: self.client_cert.clone(),
                client_key: self.client_key.clone(),
                ciphers: self.ciphers.clone(),
                use_proxy: self.use_proxy,
                use_netrc: self.use_netrc,
                decompress: self.decompress,
                agent: self.http_agent.clone(),
                unix_socket: None,
                unredirected: self
                    .unredirected_headers
                    .iter()
                    .map(|name| name.to_lowercase())
                    .collect(),
                redirects: Redirects::Urllib,
            },
            may_use_wget: true,
        })
    }

    /// The keys that every result has.
    fn result(&self, dest: &str) -> Map<String, Value> {
        Map::from_iter([
            ("dest".to_owned(), json!(dest)),
            ("url".to_owned(), json!(http::masked(&self.url))),
            ("checksum_src".to_owned(), Value::Null),
            ("checksum_dest".to_owned(), Value::Null),
            ("elapsed".to_owned(), json!(0)),
        ])
    }

    /// Ends with the status of an answer that is no file.
    fn refused(&self, answer: &Answer, dest: &str, elapsed: i64) -> ModuleError {
        let shown = http::masked(&self.url);
        let error = if answer.status < 0 {
            ModuleError::failed(answer.msg.clone())
        } else {
            ModuleError::failed("Request failed")
                .with("status_code", answer.status)
                .with("response", answer.msg.clone())
        };
        let error = error.hint(format!("the host asked `{shown}` and got: {}", answer.msg));
        error
            .with("url", shown)
            .with("dest", dest)
            .with("elapsed", elapsed)
    }

    async fn look(&self, platform: &Platform) -> Result<Seen, ModuleError> {
        let dest = host::expand(platform, &self.dest).await?;
        let paths = [dest.clone(), host::parent(&dest)];
        let looks = host::look(platform, &paths, Some(Algorithm::Sha1)).await?;
        self.unsupported().check(looks.selinux)?;
        let look = looks.at(&dest)?.clone();
        if !look.is_folder() && dest.ends_with('/') {
            return Err(ModuleError::new(
                ErrorKind::NotFound,
                format!("Destination {dest} does not exist"),
            )
            .hint("make it first with `file: {state: directory}`"));
        }
        // In check mode a task before this one may make it, and has not.
        let parent = looks.at(&host::parent(&dest))?;
        let may_come = platform.check && parent.found.is_none();
        if !(look.is_folder() || parent.is_folder() || may_come) {
            return Err(ModuleError::new(
                ErrorKind::NotFound,
                format!("Destination {} does not exist", host::parent(&dest)),
            )
            .hint("make it first with `file: {state: directory}`"));
        }
        let digest = self.digest(&dest, platform).await?;
        let mut has_digest = false;
        if let Some(digest) = &digest
            && look.behind().is_some_and(|meta| meta.kind() == Kind::File)
        {
            let path = std::slice::from_ref(&dest);
            let looks = host::look(platform, path, Some(digest.algorithm)).await?;
            has_digest = looks.at(&dest)?.checksum() == Some(&digest.hex);
        }
        Ok(Seen {
            dest,
            look,
            umask: looks.umask,
            digest,
            has_digest,
        })
    }

    /// The file is there already: its rights may have to change.
    fn settled(&self, seen: &Seen) -> Result<Change<Work>, ModuleError> {
        let mut result = self.result(&seen.dest);
        let facts = host::facts(&seen.look);
        let (steps, fields) = match seen.look.own() {
            Some(meta) => self.rights().missing(&seen.dest, meta, seen.umask)?,
            None => (Vec::new(), Vec::new()),
        };
        if steps.is_empty() {
            result.insert("msg".to_owned(), json!("file already exists"));
            result.extend(facts);
            return Ok(Change::None(Outcome::unchanged(Value::Object(result))));
        }
        let msg = "file already exists but file attributes changed";
        result.insert("msg".to_owned(), json!(msg));
        let mut preview = result.clone();
        preview.extend(facts);
        for field in &fields {
            preview.insert(field.field.clone(), field.after.clone());
        }
        Ok(Change::Some {
            fields,
            diff: Vec::new(),
            preview: Outcome::changed(Value::Object(preview)),
            work: Work::Rights(place::Work {
                steps,
                path: Some(seen.dest.clone()),
                result,
            }),
        })
    }

    async fn download(&self, seen: &Seen, platform: &Platform) -> Result<End, ModuleError> {
        let mut request = self.request(&self.url, "url")?;
        let is_folder = seen.look.is_folder();
        if let Some(meta) = seen
            .look
            .behind()
            .filter(|_| !is_folder && !self.force && seen.digest.is_none())
        {
            let since = http::date(meta.modified);
            request
                .headers
                .push(("If-Modified-Since".to_owned(), since));
        }
        let beside = if is_folder {
            seen.dest.clone()
        } else {
            host::parent(&seen.dest)
        };
        let place = match &self.tmp_dest {
            _ if platform.check => Place::Temporary,
            Some(dir) => {
                let dir = host::expand(platform, dir).await?;
                let looks = host::look(platform, std::slice::from_ref(&dir), None).await?;
                if !looks.at(&dir)?.is_folder() {
                    let message = format!("`{dir}` is no folder");
                    return Err(ModuleError::argument("tmp_dest", message));
                }
                Place::Beside(host::join(&dir, ".layerplay"))
            }
            None => Place::Beside(host::join(&beside, ".layerplay")),
        };
        let is_beside = self.tmp_dest.is_none() && !platform.check;
        let sink = Sink {
            file: Some(place),
            statuses: vec![200],
            content: Wanted::Never,
        };
        let start = platform.clock.now();
        let answer = http::fetch(platform, request, &sink).await?;
        let elapsed = elapsed(start, platform);
        if answer.status == 304 {
            let mut result = self.result(&seen.dest);
            result.insert("msg".to_owned(), json!(answer.msg));
            result.insert("status_code".to_owned(), json!(304));
            result.insert("elapsed".to_owned(), json!(elapsed));
            result.extend(host::facts(&seen.look));
            return Ok(End::Same(Outcome::unchanged(Value::Object(result))));
        }
        let Some(file) = answer.file.clone().filter(|_| answer.status == 200) else {
            return Err(self.refused(&answer, &seen.dest, elapsed));
        };
        let compared = self
            .compare(seen, &answer, &file, is_folder, platform)
            .await;
        match compared {
            Ok((look, umask, sums)) => Ok(End::Got(Box::new(Got {
                answer,
                file,
                is_beside,
                look,
                umask,
                sums,
                elapsed,
            }))),
            Err(problem) => {
                http::remove(platform, &file).await?;
                Err(problem)
            }
        }
    }

    /// Where a downloaded file goes, what is there, and what it is itself.
    async fn compare(
        &self,
        seen: &Seen,
        answer: &Answer,
        file: &str,
        is_folder: bool,
        platform: &Platform,
    ) -> Result<(Look, u32, [String; 3]), ModuleError> {
        let mut look = seen.look.clone();
        let mut umask = seen.umask;
        if is_folder {
            let name = answer
                .file_name()
                .unwrap_or_else(|| named(http::rest(&answer.last)));
            let path = host::join(&seen.dest, &name);
            let looks =
                host::look(platform, std::slice::from_ref(&path), Some(Algorithm::Sha1)).await?;
            look = looks.at(&path)?.clone();
            umask = looks.umask;
        }
        let kind = look.own().map(host::Meta::kind);
        if kind.is_some_and(|kind| kind == Kind::Folder || kind.is_other()) {
            return Err(ModuleError::failed(format!(
                "`{}` is no file, and is not replaced by one",
                look.path
            )));
        }
        let algorithm = seen.digest.as_ref().map(|digest| digest.algorithm);
        let sums = http::sums(platform, file, algorithm).await?;
        if let (Some(digest), [sum, _, found]) = (&seen.digest, &sums)
            && *found != digest.hex
        {
            let mut error = ModuleError::failed(format!(
                "The checksum for {file} did not match {}; it was {found}.",
                digest.hex
            ))
            .hint("the server has another file than was expected, or it was damaged on the way; nothing was replaced");
            error.result = self.result(&look.path);
            error.result.insert("checksum_src".to_owned(), json!(sum));
            return Err(error);
        }
        Ok((look, umask, sums))
    }

    /// The result of a download, but for what is at `dest` in the end.
    fn told(&self, got: &Got) -> Map<String, Value> {
        let mut result = self.result(&got.look.path);
        let [sum, md5, _] = &got.sums;
        for (name, value) in [
            ("checksum_src", json!(sum)),
            ("checksum_dest", json!(got.look.checksum())),
            ("elapsed", json!(got.elapsed)),
            ("src", json!(got.file)),
            ("md5sum", json!(md5)),
            ("msg", json!(got.answer.msg)),
            ("status_code", json!(got.answer.status)),
        ] {
            result.insert(name.to_owned(), value);
        }
        result
    }

    /// Check mode: what came, compared and thrown away.
    async fn tried(&self, seen: Seen, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        let got = match self.download(&seen, platform).await? {
            End::Same(outcome) => {
                let (steps, fields) = self.lacks(&seen.look, seen.umask)?;
                return Ok(if steps {
                    preview(fields, outcome.result, seen)
                } else {
                    Change::None(outcome)
                });
            }
            End::Got(got) => got,
        };
        http::remove(platform, &got.file).await?;
        let result = self.told(&got);
        let [sum, ..] = &got.sums;
        if got.look.checksum() == Some(sum) {
            let (steps, fields) = self.lacks(&got.look, got.umask)?;
            let mut result = result;
            result.extend(host::facts(&got.look));
            return Ok(if steps {
                preview(fields, result, seen)
            } else {
                Change::None(Outcome::unchanged(Value::Object(result)))
            });
        }
        let fields = vec![FieldChange {
            field: "checksum".to_owned(),
            before: json!(got.look.checksum()),
            after: json!(sum),
        }];
        Ok(preview(fields, result, seen))
    }

    /// Whether a path lacks rights, and which.
    fn lacks(&self, look: &Look, umask: u32) -> Result<(bool, Vec<FieldChange>), ModuleError> {
        let Some(meta) = look.own() else {
            return Ok((false, Vec::new()));
        };
        let (steps, fields) = self.rights().missing(&look.path, meta, umask)?;
        Ok((!steps.is_empty(), fields))
    }
}

fn preview(fields: Vec<FieldChange>, result: Map<String, Value>, seen: Seen) -> Change<Work> {
    Change::Some {
        fields,
        diff: Vec::new(),
        preview: Outcome::changed(Value::Object(result)),
        work: Work::Download(Box::new(seen)),
    }
}

/// The name of a file by its address.
fn named(rest: &str) -> String {
    if rest.is_empty() {
        "index.html".to_owned()
    } else {
        rest.to_owned()
    }
}

fn elapsed(start: jiff::Timestamp, platform: &Platform) -> i64 {
    (platform.clock.now().as_second() - start.as_second()).max(0)
}

#[async_trait]
impl Module for GetUrl {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "get_url";
    const SUMMARY: &'static str = "Downloads a file on the host";
    const EXAMPLES: &'static str = "- get_url:\n    url: https://example.com/tool-1.2.tar.gz\n    dest: /opt/tool.tar.gz\n    checksum: sha256:https://example.com/SHA256SUMS\n    mode: \"0644\"\n- get_url:\n    url: https://example.com/private/config\n    dest: /etc/app/\n    url_username: \"{{ user }}\"\n    url_password: \"{{ password }}\"\n    force: true\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        args.request(&args.url, "url")?;
        let seen = args.look(platform).await?;
        if seen.has_digest && !args.force {
            return args.settled(&seen);
        }
        if platform.check {
            return args.tried(seen, platform).await;
        }
        Ok(Change::Unknown {
            message: "the file would be downloaded".to_owned(),
            work: Work::Download(Box::new(seen)),
        })
    }

    async fn apply(
        &self,
        args: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let seen = match work {
            Work::Rights(work) => return place::apply(work, platform).await,
            Work::Download(seen) => *seen,
        };
        let got = match args.download(&seen, platform).await? {
            End::Same(mut outcome) => {
                if let Some(meta) = seen.look.own() {
                    let (steps, _) = args.rights().missing(&seen.dest, meta, seen.umask)?;
                    outcome.changed = !steps.is_empty();
                    let paths = std::slice::from_ref(&seen.dest);
                    let looks = host::take(platform, steps, paths).await?;
                    outcome.result.extend(host::facts(looks.at(&seen.dest)?));
                }
                return Ok(outcome);
            }
            End::Got(got) => got,
        };
        let mut result = args.told(&got);
        let [sum, ..] = &got.sums;
        let backup = args
            .backup
            .then(|| place::backup_name(&got.look.path, platform));
        let rights = args.rights();
        let landed = http::land(
            platform,
            Landing {
                file: &got.file,
                sum,
                look: &got.look,
                rights: &rights,
                umask: got.umask,
                backup: backup.as_deref(),
                is_beside: got.is_beside,
            },
        );
        let (is_changed, look) = match landed.await {
            Ok(landed) => landed,
            Err(problem) => {
                http::remove(platform, &got.file).await?;
                return Err(problem);
            }
        };
        if let Some(backup) = backup
            && got.look.behind().is_some()
            && got.look.checksum() != Some(sum)
        {
            result.insert("backup_file".to_owned(), json!(backup));
        }
        result.extend(host::facts(&look));
        Ok(Outcome {
            changed: is_changed,
            ..Outcome::unchanged(Value::Object(result))
        })
    }
}

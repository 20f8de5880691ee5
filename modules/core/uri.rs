//! `uri`: a request that the host makes. In: an address, a method, a body; out: the server's answer.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::host::{self, Algorithm, Kind, Look};
use super::http::{self, Answer, Body, Landing, Options, Place, Redirects, Request, Sink, Wanted};
use crate::contract::{Change, FileArgument, Module, Outcome, Part, Render, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// Asks a web server.
pub struct Uri;

#[derive(Debug, Default, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    #[default]
    Raw,
    Json,
    FormUrlencoded,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Follow {
    All,
    Yes,
    None,
    No,
    #[default]
    Safe,
    Urllib2,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "they are the arguments of Ansible's module"
)]
pub struct Args {
    /// The address.
    url: String,
    /// The method.
    #[serde(default = "get")]
    method: String,
    /// What is sent: text, or a mapping or list that `body_format` writes.
    #[serde(default)]
    body: Value,
    /// How `body` is written: as it is, as JSON, or as a form.
    #[serde(default)]
    body_format: Format,
    /// A file that is sent: of this machine, found as `copy` finds it, or with `remote_src` of the host.
    src: Option<String>,
    /// `src` is on the host.
    #[serde(default)]
    remote_src: bool,
    /// Headers of the request.
    #[serde(default)]
    headers: Map<String, Value>,
    /// Headers that are not sent again when the server redirects.
    #[serde(default)]
    unredirected_headers: Vec<String>,
    /// The statuses that are a success.
    #[serde(default = "fine")]
    status_code: Vec<i64>,
    /// Have the body of the answer in `content`. When it is JSON it is in `json` always.
    #[serde(default)]
    return_content: bool,
    /// A file or folder of the host for the body of the answer.
    dest: Option<String>,
    /// Ask each time, and not only for what is newer than `dest`.
    #[serde(default)]
    force: bool,
    /// Skip when this file exists.
    creates: Option<String>,
    /// Skip when this file does not exist.
    removes: Option<String>,
    /// Seconds without any progress after which it fails.
    #[serde(default = "thirty")]
    timeout: u32,
    /// Redirects that are followed: all, none, those of GET and HEAD (`safe`), or these and of POST those that become a
    /// GET (`urllib2`).
    #[serde(default)]
    follow_redirects: Follow,
    /// User for the server.
    #[schemars(extend("x-aliases" = ["user"]))]
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
    /// A socket of the host that the server listens on.
    unix_socket: Option<String>,
    /// Not supported; an error.
    #[serde(default)]
    use_gssapi: bool,
    /// Owner of `dest`, by name or number.
    owner: Option<String>,
    /// Group of `dest`, by name or number.
    group: Option<String>,
    /// Mode of `dest`: `"0644"`, or symbolic (`u=rw,go=r`).
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

fn get() -> String {
    "GET".to_owned()
}

fn fine() -> Vec<i64> {
    vec![200]
}

fn thirty() -> u32 {
    30
}

fn agent() -> String {
    "ansible-httpget".to_owned()
}

/// The pairs of a form: a mapping, whose lists give their name several times, or a list of pairs.
fn form(body: &Value) -> Result<String, ModuleError> {
    let wrong = || {
        ModuleError::argument(
            "body",
            "cannot form-urlencode body, expect list or dict of texts",
        )
    };
    let pairs: Vec<(&str, &Value)> = match body {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.as_str(), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .map(|item| match item.as_array().map(Vec::as_slice) {
                Some([Value::String(key), value]) => Ok((key.as_str(), value)),
                _ => Err(wrong()),
            })
            .collect::<Result<_, _>>()?,
        _ => return Err(wrong()),
    };
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    for (key, value) in pairs {
        let values = match value {
            Value::Array(values) => values.iter().collect(),
            one => vec![one],
        };
        for value in values {
            let text = match value {
                Value::Null => continue,
                Value::String(text) => text.clone(),
                Value::Bool(flag) => if *flag { "True" } else { "False" }.to_owned(),
                Value::Number(number) => number.to_string(),
                _ => return Err(wrong()),
            };
            form.append_pair(key, &text);
        }
    }
    Ok(form.finish())
}

host::rights_arguments!(Args);

impl Args {
    /// What is sent, and the `Content-Type` that says so.
    fn content(&self) -> Result<(Option<Vec<u8>>, Option<&'static str>), ModuleError> {
        let text = match (&self.body, self.body_format) {
            (Value::String(text), _) => Some(text.clone()),
            (Value::Null, Format::Json) => Some("null".to_owned()),
            (Value::Null, _) => None,
            (body, Format::Json) => Some(super::copy::python_json(body)),
            (body, Format::FormUrlencoded) => Some(form(body)?),
            (Value::Object(_) | Value::Array(_), Format::Raw) => {
                return Err(ModuleError::argument(
                    "body",
                    "a `body` that is no text needs to be told how it is written",
                )
                .hint("add `body_format: json` or `body_format: form-urlencoded`"));
            }
            (other, Format::Raw) => Some(other.to_string()),
        };
        let kind = match self.body_format {
            Format::Raw => None,
            Format::Json => Some("application/json"),
            Format::FormUrlencoded => Some("application/x-www-form-urlencoded"),
        };
        // A GET with `body_format: json` and no body sends none.
        if self.body.is_null() && (self.src.is_some() || self.method.eq_ignore_ascii_case("get")) {
            return Ok((None, kind));
        }
        Ok((text.map(String::into_bytes), kind))
    }

    async fn request(&self, platform: &Platform) -> Result<Request, ModuleError> {
        if self.use_gssapi {
            return Err(ModuleError::argument(
                "use_gssapi",
                "`use_gssapi` is not supported",
            ));
        }
        let method = self.method.to_uppercase();
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(ModuleError::argument(
                "method",
                "Parameter 'method' needs to be a single word in uppercase, like GET or POST.",
            ));
        }
        let mut headers = http::headers(&self.headers)?;
        let (content, kind) = self.content()?;
        let body = match (&self.src, content) {
            (Some(_), Some(_)) => {
                return Err(ModuleError::argument(
                    "src",
                    "parameters are mutually exclusive: body|src",
                ));
            }
            (Some(src), None) if self.remote_src => {
                let path = host::expand(platform, src).await?;
                let looks = host::look(platform, std::slice::from_ref(&path), None).await?;
                if looks.at(&path)?.behind().map(host::Meta::kind) != Some(Kind::File) {
                    return Err(ModuleError::new(
                        ErrorKind::NotFound,
                        format!("Unable to open source file {path}"),
                    ));
                }
                Some(Body::Host(path))
            }
            (Some(src), None) => Some(Body::Bytes(
                tokio::fs::read(src)
                    .await
                    .map_err(|problem| super::copy::unreadable(src, &problem))?,
            )),
            (None, content) => content.map(Body::Bytes),
        };
        if let Some(kind) = kind.filter(|_| !http::has(&headers, "content-type")) {
            headers.push(("Content-Type".to_owned(), kind.to_owned()));
        }
        if self.force && !http::has(&headers, "cache-control") {
            headers.push(("Cache-Control".to_owned(), "no-cache".to_owned()));
        }
        Ok(Request {
            url: http::parse("url", &self.url)?,
            written: self.url.clone(),
            method,
            headers,
            body,
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
                unix_socket: self.unix_socket.clone(),
                unredirected: self
                    .unredirected_headers
                    .iter()
                    .map(|name| name.to_lowercase())
                    .collect(),
                redirects: match self.follow_redirects {
                    Follow::All | Follow::Yes => Redirects::All,
                    Follow::None | Follow::No => Redirects::None,
                    Follow::Safe => Redirects::Safe,
                    Follow::Urllib2 => Redirects::Urllib,
                },
            },
            may_use_wget: false,
        })
    }

    /// The file of the host that the answer goes to, and what is there.
    async fn place(&self, platform: &Platform) -> Result<Option<(Look, u32)>, ModuleError> {
        let Some(dest) = &self.dest else {
            return Ok(None);
        };
        let dest = host::expand(platform, dest).await?;
        let paths = [dest.clone(), host::parent(&dest)];
        let looks = host::look(platform, &paths, Some(Algorithm::Sha1)).await?;
        self.unsupported().check(looks.selinux)?;
        let look = looks.at(&dest)?.clone();
        if !look.is_folder() && !looks.at(&host::parent(&dest))?.is_folder() {
            return Err(ModuleError::new(
                ErrorKind::NotFound,
                format!("Destination {} does not exist", host::parent(&dest)),
            )
            .hint("make it first with `file: {state: directory}`"));
        }
        Ok(Some((look, looks.umask)))
    }

    /// Puts the body of an answer to its place. Says the keys of the result, and whether the rights changed.
    async fn landed(
        &self,
        answer: &Answer,
        file: &str,
        look: &Look,
        umask: u32,
        platform: &Platform,
    ) -> Result<Map<String, Value>, ModuleError> {
        let mut look = look.clone();
        if look.is_folder() {
            let last = http::rest(&answer.last);
            let name = answer
                .file_name()
                .unwrap_or_else(|| if last.is_empty() { "index.html" } else { last }.to_owned());
            let path = host::join(&look.path, &name);
            let path = std::slice::from_ref(&path);
            let looks = host::look(platform, path, Some(Algorithm::Sha1)).await?;
            if let [there] = looks.all.as_slice() {
                look = there.clone();
            }
        }
        if look.own().is_some_and(|meta| meta.kind() == Kind::Folder) {
            return Err(ModuleError::failed(format!(
                "`{}` is a folder, where the answer should be written",
                look.path
            )));
        }
        let [sum, ..] = http::sums(platform, file, None).await?;
        let rights = self.rights();
        let landing = Landing {
            file,
            sum: &sum,
            look: &look,
            rights: &rights,
            umask,
            backup: None,
            is_beside: true,
        };
        let (_, look) = http::land(platform, landing).await?;
        let mut result = host::facts(&look);
        result.insert("path".to_owned(), json!(look.path));
        Ok(result)
    }

    /// The body as text and as JSON, as far as it is wanted and is that.
    fn bodies(&self, answer: &Answer, result: &mut Map<String, Value>) {
        let Some(bytes) = &answer.content else {
            return;
        };
        let (kind, charset) = answer.content_type();
        let charset = charset.unwrap_or_default().to_lowercase();
        let text = match charset.as_str() {
            // Its bytes are the first characters of Unicode.
            "iso-8859-1" | "latin-1" | "latin1" => bytes.iter().map(|byte| *byte as char).collect(),
            _ => String::from_utf8_lossy(bytes).into_owned(),
        };
        let sub = kind.split_once('/').map_or("", |(_, sub)| sub);
        let sub = sub.split_once('+').map_or(sub, |(_, suffix)| suffix);
        if matches!(sub, "json" | "javascript")
            && let Ok(value) = serde_json::from_str::<Value>(&text)
        {
            result.insert("json".to_owned(), value);
        }
        if self.return_content {
            result.insert("content".to_owned(), json!(text));
        }
    }
}

/// Why nothing was asked.
fn skipped(file: &str, why: &str) -> Change<()> {
    let stdout = format!("skipped, since '{file}' {why}");
    Change::None(Outcome::unchanged(json!({"stdout": stdout})))
}

#[async_trait]
impl Module for Uri {
    type Args = Args;
    type Work = ();
    const NAME: &'static str = "uri";
    const SUMMARY: &'static str = "Makes a request of the web from the host";
    const EXAMPLES: &'static str = "- uri:\n    url: https://api.example.com/v1/nodes\n    method: POST\n    body: {name: \"{{ inventory_hostname }}\"}\n    body_format: json\n    status_code: [201, 409]\n    headers: {Authorization: \"Bearer {{ token }}\"}\n  register: made\n- uri: {url: \"http://localhost:8080/healthz\", return_content: true}\n  register: health\n  until: health.status == 200\n  retries: 10\n";
    const SUPPORTS: Supports = Supports {
        check: false,
        diff: false,
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

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<()>, ModuleError> {
        http::parse("url", &args.url)?;
        for (file, decides) in [(&args.creates, true), (&args.removes, false)] {
            let Some(file) = file else { continue };
            let path = host::expand(platform, file).await?;
            let looks = host::look(platform, std::slice::from_ref(&path), None).await?;
            let exists = looks.at(&path)?.behind().is_some();
            if exists == decides {
                let why = if exists { "exists" } else { "does not exist" };
                return Ok(skipped(&path, why));
            }
        }
        Ok(Change::Unknown {
            message: "the request would be made".to_owned(),
            work: (),
        })
    }

    async fn apply(
        &self,
        args: &Args,
        (): (),
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let mut request = args.request(platform).await?;
        let place = args.place(platform).await?;
        if let Some((look, _)) = &place
            && let Some(meta) = look.behind().filter(|meta| meta.kind() == Kind::File)
            && !args.force
        {
            let since = http::date(meta.modified);
            request
                .headers
                .push(("If-Modified-Since".to_owned(), since));
        }
        let beside = place.as_ref().map(|(look, _)| {
            let dir = if look.is_folder() {
                look.path.clone()
            } else {
                host::parent(&look.path)
            };
            Place::Beside(host::join(&dir, ".layerplay"))
        });
        let sink = Sink {
            file: beside,
            // An answer without a body leaves the file as it is.
            statuses: args
                .status_code
                .iter()
                .copied()
                .filter(|status| *status != 304)
                .collect(),
            content: if args.return_content {
                Wanted::Always
            } else {
                Wanted::Json
            },
        };
        let start = platform.clock.now();
        let answer = http::fetch(platform, request, &sink).await?;
        let elapsed = (platform.clock.now().as_second() - start.as_second()).max(0);
        let mut result = answer.result();
        result.insert("elapsed".to_owned(), json!(elapsed));
        if let Some(location) = answer.header("location") {
            let joined = answer.last.join(location);
            let shown = joined.map_or_else(|_| location.to_owned(), |url| url.to_string());
            result.insert("location".to_owned(), json!(http::masked(&shown)));
        }
        args.bodies(&answer, &mut result);
        let mut changed = false;
        if let (Some(file), Some((look, umask))) = (&answer.file, &place) {
            match args.landed(&answer, file, look, *umask, platform).await {
                Ok(landed) => result.extend(landed),
                Err(problem) => {
                    http::remove(platform, file).await?;
                    return Err(problem);
                }
            }
            changed = true;
        }
        if !args.status_code.contains(&answer.status) {
            let mut error = ModuleError::failed(format!(
                "Status code was {} and not {:?}: {}",
                answer.status, args.status_code, answer.msg
            ));
            result.shift_remove("msg");
            error.result = result;
            return Err(error.hint(if answer.status < 0 {
                "the host could not get an answer: check the address, and the way there from this host"
            } else {
                "`return_content: true` has what the server said in `content`; other statuses are a success with `status_code`"
            }));
        }
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
    fn forms_are_written_as_python_writes_them() {
        let body = json!({"a": "1 2", "b": ["x", "é&"], "c": 3, "d": null, "e": true});
        let written = "a=1+2&b=x&b=%C3%A9%26&c=3&e=True";
        assert_eq!(form(&body).unwrap(), written);
        assert_eq!(form(&json!([["a", "1"], ["a", "2"]])).unwrap(), "a=1&a=2");
        for wrong in [json!([["a"]]), json!({"a": {"b": 1}}), json!(5)] {
            assert!(form(&wrong).is_err(), "{wrong}");
        }
    }
}

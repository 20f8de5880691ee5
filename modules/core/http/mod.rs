//! Requests that a host makes itself, with its own `curl` (a plain download also with `wget`), for this machine and for
//! others in one way. In: a request; out: the answer, its body here or in a file of the host.
//!
//! What may be secret (addresses, headers, passwords, bodies) goes to the host by standard input and to the program in its
//! configuration: a command line is for every user of the host to see. Redirects are followed here, hop by hop, so that the rules are the same whatever
//! the program is, and no credentials go to another server.

mod address;
mod answer;
mod config;
mod hop;
mod land;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};
use url::Url;

pub(super) use address::{masked, parse, rest};
pub(super) use answer::Answer;
pub(super) use land::{Landing, land, remove, sums};

use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// As many redirects as Python follows.
const HOPS: usize = 10;

/// Which redirects are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Redirects {
    All,
    None,
    /// Those of `GET` and `HEAD`.
    Safe,
    /// Safe ones, and those that turn a `POST` into a `GET`.
    Urllib,
}

/// What is sent with it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Body {
    Bytes(Vec<u8>),
    /// A file of the host.
    Host(String),
}

/// How the server is reached, and who asks.
#[derive(Debug, Clone)]
pub(super) struct Options {
    /// Seconds without any progress that end it.
    pub(super) timeout: u32,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// Sends user and password at once, not only when the server asks.
    pub(super) force_basic: bool,
    pub(super) validate: bool,
    pub(super) ca_path: Option<String>,
    pub(super) client_cert: Option<String>,
    pub(super) client_key: Option<String>,
    pub(super) ciphers: Vec<String>,
    pub(super) use_proxy: bool,
    pub(super) use_netrc: bool,
    pub(super) decompress: bool,
    pub(super) agent: String,
    pub(super) unix_socket: Option<String>,
    /// Headers that go to the first server only, in lower case.
    pub(super) unredirected: Vec<String>,
    pub(super) redirects: Redirects,
}

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) url: Url,
    /// The address as the playbook has it.
    pub(super) written: String,
    pub(super) method: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<Body>,
    pub(super) options: Options,
    /// Whether `wget` will do where there is no `curl`.
    pub(super) may_use_wget: bool,
}

/// Where the body of the answer goes.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    /// A file of the host whose name begins like this, or with `Temporary` one in the host's folder for such files.
    pub(super) file: Option<Place>,
    /// The statuses for which the file is kept.
    pub(super) statuses: Vec<i64>,
    pub(super) content: Wanted,
}

/// A file for the body.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Beside(String),
    Temporary,
}

/// Whether the body is wanted here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Always,
    /// When it is JSON, or the status is none of those expected.
    Json,
    Never,
}

/// `headers:` of a task: texts and numbers, as Python prints them.
pub(super) fn headers(given: &Map<String, Value>) -> Result<Vec<(String, String)>, ModuleError> {
    let wrong = |name: &str, what: &str| {
        ModuleError::argument(
            "headers",
            format!("the header `{name}` cannot be sent: {what}"),
        )
    };
    let mut all = Vec::new();
    for (name, value) in given {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Bool(flag) => if *flag { "True" } else { "False" }.to_owned(),
            Value::Number(number) => number.to_string(),
            _ => return Err(wrong(name, "its value is no text")),
        };
        let is_token = !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if !is_token {
            return Err(wrong(
                name,
                "its name has characters that a header may not have",
            ));
        }
        if text.contains(['\r', '\n', '\0']) {
            return Err(wrong(name, "its value has more than one line"));
        }
        all.push((name.clone(), text));
    }
    Ok(all)
}

/// Whether a header is among them.
pub(super) fn has(headers: &[(String, String)], name: &str) -> bool {
    headers
        .iter()
        .any(|(own, _)| own.eq_ignore_ascii_case(name))
}

/// Python's date of a header.
pub(super) fn date(seconds: f64) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a header has whole seconds"
    )]
    let whole = seconds as i64;
    let time = jiff::Timestamp::from_second(whole).unwrap_or_default();
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

impl Request {
    /// Takes user and password out of an address, as they must not be in the request line; those of the task come first.
    fn take_credentials(&mut self) {
        let (user, password) = address::take_credentials(&mut self.url);
        if self.options.user.is_none() && user.is_some() {
            self.options.user = user;
            self.options.password = password;
            self.options.force_basic = true;
        }
    }

    /// The request that a redirect leads to, if it is followed. The body and its headers stay with 307 and 308 only.
    fn redirected(&self, status: i64, to: Url, cookies: &[(String, String)]) -> Option<Self> {
        let is_safe = matches!(self.method.as_str(), "GET" | "HEAD");
        let followed = match self.options.redirects {
            Redirects::All => true,
            Redirects::None => false,
            Redirects::Safe => is_safe,
            Redirects::Urllib => is_safe || (self.method == "POST" && status < 304),
        };
        if !followed {
            return None;
        }
        let is_elsewhere = self.url.origin() != to.origin();
        let mut next = self.clone();
        next.url = to;
        if !matches!(status, 307 | 308) {
            next.body = None;
            next.headers.retain(|(name, _)| {
                let name = name.to_ascii_lowercase();
                !matches!(
                    name.as_str(),
                    "content-length" | "content-type" | "transfer-encoding"
                )
            });
            let becomes_get = match status {
                301 => self.method == "POST",
                _ => self.method != "HEAD",
            };
            if becomes_get {
                "GET".clone_into(&mut next.method);
            }
        }
        next.headers.retain(|(name, _)| {
            let name = name.to_ascii_lowercase();
            let is_private = matches!(name.as_str(), "authorization" | "cookie");
            let stays = self.options.unredirected.contains(&name) || (is_elsewhere && is_private);
            !stays
        });
        if is_elsewhere {
            next.options.user = None;
            next.options.password = None;
        } else if !has(&next.headers, "cookie") && !cookies.is_empty() {
            let pairs = answer::pairs(cookies);
            next.headers.push(("Cookie".to_owned(), pairs));
        }
        Some(next)
    }
}

/// Asks, and follows redirects. What the server says is an answer, also when it is an error; so is a server that cannot
/// be reached, with the status -1.
pub(super) async fn fetch(
    platform: &Platform,
    mut request: Request,
    sink: &Sink,
) -> Result<Answer, ModuleError> {
    let mut shown = masked(&request.written);
    let mut cookies: Vec<(String, String)> = Vec::new();
    for hops in 0.. {
        // As it is written in the address: `%40` is not what it stands for.
        if let Some(password) = request.url.password() {
            platform.secrets.add(password);
        }
        request.take_credentials();
        if let Some(password) = &request.options.password {
            platform.secrets.add(password);
        }
        let mut answer = hop::ask(platform, &request, sink).await?;
        for (name, value) in std::mem::take(&mut answer.cookies) {
            cookies.retain(|(known, _)| *known != name);
            cookies.push((name, value));
        }
        answer.cookies.clone_from(&cookies);
        answer.hops = hops;
        answer.url.clone_from(&shown);
        answer.last = request.url.clone();
        let is_redirect = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
        let location = answer.header("location").map(ToOwned::to_owned);
        let Some(location) = location.filter(|_| is_redirect) else {
            return Ok(answer);
        };
        let Ok(to) = request.url.join(&location) else {
            return Ok(answer.failed(&format!(
                "the server redirects to `{}`, which is no address",
                masked(&location)
            )));
        };
        if !matches!(to.scheme(), "http" | "https" | "ftp") {
            return Ok(answer.failed(&format!(
                "the server redirects to an address of the kind `{}`, which is not followed",
                to.scheme()
            )));
        }
        if hops >= HOPS {
            return Ok(answer.failed(&format!("the server redirects more than {HOPS} times")));
        }
        shown = masked(to.as_str());
        match request.redirected(answer.status, to, &cookies) {
            Some(next) => request = next,
            None => return Ok(answer),
        }
    }
    Err(ModuleError::new(ErrorKind::Failed, "no answer"))
}

//! In: what the script printed. Out: the answer: status, headers, cookies, body, and Ansible's word for how it went.

use serde_json::{Map, Value, json};
use url::Url;

use crate::error::ModuleError;

/// What came back.
#[derive(Debug, Clone)]
pub(in crate::core) struct Answer {
    /// Where the last request went, without credentials, as it was written.
    pub(in crate::core) url: String,
    pub(in crate::core) last: Url,
    /// How many redirects led there.
    pub(in crate::core) hops: usize,
    /// -1 when there was no answer.
    pub(in crate::core) status: i64,
    /// `OK (5 bytes)`, `HTTP Error 404: Not Found`, `Request failed: ...`.
    pub(in crate::core) msg: String,
    /// Names in lower case, each once.
    pub(in crate::core) headers: Vec<(String, String)>,
    pub(in crate::core) cookies: Vec<(String, String)>,
    pub(in crate::core) content: Option<Vec<u8>>,
    /// The file of the host that the body is in.
    pub(in crate::core) file: Option<String>,
}

impl Answer {
    pub(in crate::core) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// No answer that can be used.
    pub(super) fn failed(mut self, why: &str) -> Self {
        self.status = -1;
        self.msg = format!("Request failed: {why}");
        self
    }

    /// The name that the server gives the file. Never a path: a server chooses a name, not a place.
    pub(in crate::core) fn file_name(&self) -> Option<String> {
        let header = self.header("content-disposition");
        let named = header.and_then(|text| parameter(text, "filename"));
        named
            .map(|name| crate::core::host::name(&name).to_owned())
            .filter(|name| !name.is_empty() && name != "." && name != "..")
    }

    /// The type of the body and its `charset`.
    pub(in crate::core) fn content_type(&self) -> (String, Option<String>) {
        let text = self.header("content-type").unwrap_or_default();
        let kind = text.split(';').next().unwrap_or_default();
        (kind.trim().to_lowercase(), parameter(text, "charset"))
    }

    /// Headers, cookies, message, status, as results have them.
    pub(in crate::core) fn result(&self) -> Map<String, Value> {
        let mut all = Map::new();
        for (name, value) in &self.headers {
            let name = name.replace('-', "_");
            if !OWN.contains(&name.as_str()) {
                all.insert(name, json!(value));
            }
        }
        if (200..300).contains(&self.status) {
            let cookies: Map<String, Value> = self
                .cookies
                .iter()
                .map(|(name, value)| (name.clone(), json!(value)))
                .collect();
            all.insert("cookies".to_owned(), Value::Object(cookies));
            all.insert("cookies_string".to_owned(), json!(pairs(&self.cookies)));
        }
        all.insert("url".to_owned(), json!(self.url));
        all.insert("status".to_owned(), json!(self.status));
        all.insert("msg".to_owned(), json!(self.msg));
        all.insert("redirected".to_owned(), json!(self.hops > 0));
        all
    }
}

/// Keys that say how a task went: no server says that.
const OWN: [&str; 11] = [
    "ansible_facts",
    "changed",
    "content",
    "elapsed",
    "exception",
    "failed",
    "json",
    "path",
    "skipped",
    "unreachable",
    "warnings",
];

/// Cookies as a header has them.
pub(super) fn pairs(cookies: &[(String, String)]) -> String {
    let pairs: Vec<String> = cookies
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("; ")
}

/// `name="value"` of a header.
fn parameter(text: &str, name: &str) -> Option<String> {
    let mut rest = text.split_once(';')?.1;
    loop {
        let (key, behind) = rest.split_once('=')?;
        let (value, next) = if let Some(inner) = behind.trim_start().strip_prefix('"') {
            let mut value = String::new();
            let mut chars = inner.char_indices();
            let mut end = inner.len();
            while let Some((at, c)) = chars.next() {
                match c {
                    '\\' => value.extend(chars.next().map(|(_, c)| c)),
                    '"' => {
                        end = at + 1;
                        break;
                    }
                    c => value.push(c),
                }
            }
            (value, inner.get(end..).unwrap_or_default())
        } else {
            let end = behind.find(';').unwrap_or(behind.len());
            let (value, next) = behind.split_at(end);
            (value.trim().to_owned(), next)
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = next.trim_start().strip_prefix(';')?;
    }
}

type Pairs = Vec<(String, String)>;

/// The last block of headers, since a proxy's own and interim ones come before it: its status and reason, its headers.
fn head(text: &str) -> (Option<(i64, String)>, Pairs) {
    let mut first = None;
    let mut lines = Pairs::new();
    for line in text.lines() {
        let line = line.trim_end();
        if let Some(rest) = line.strip_prefix("HTTP/") {
            let mut words = rest.splitn(3, ' ').skip(1);
            let status = words.next().and_then(|word| word.parse().ok());
            let reason = words.next().unwrap_or_default().to_owned();
            first = status.map(|status| (status, reason));
            lines.clear();
        } else if let Some((name, value)) = line.split_once(':') {
            lines.push((name.trim().to_lowercase(), value.trim().to_owned()));
        }
    }
    (first, lines)
}

fn reason(status: i64, said: &str) -> String {
    if !said.is_empty() {
        return said.to_owned();
    }
    // HTTP/2 and later send none.
    u16::try_from(status)
        .ok()
        .and_then(|status| http::StatusCode::from_u16(status).ok())
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default()
        .to_owned()
}

/// Reads what the script printed: program, its status, the kept file, the length of the headers; then these, and the
/// body after a `c` when it was wanted.
pub(super) fn parse(stdout: &[u8], said: &str, place: &str) -> Result<Answer, ModuleError> {
    let garbled = || {
        ModuleError::failed(format!(
            "what {place} says of the request cannot be read: {said}"
        ))
    };
    let mut parts = stdout.splitn(5, |byte| *byte == 0);
    let mut word = || {
        let part = parts.next().ok_or_else(garbled)?;
        Ok::<_, ModuleError>(String::from_utf8_lossy(part).trim().to_owned())
    };
    let (program, rc, file, length) = (word()?, word()?, word()?, word()?);
    let rest = parts.next().ok_or_else(garbled)?;
    let length: usize = length.parse().map_err(|_| garbled())?;
    let (headers, content) = rest.split_at_checked(length).ok_or_else(garbled)?;
    let content = content.strip_prefix(b"c").map(<[u8]>::to_vec);
    let (first, lines) = head(&String::from_utf8_lossy(headers));
    // Of GNU wget, 8 says that the server's answer is an error; others say 1 for everything.
    let is_answered = match (program.as_str(), rc.as_str()) {
        (_, "0") => true,
        ("wget", "8" | "1") => first.as_ref().is_some_and(|(status, _)| *status >= 300),
        _ => false,
    };
    let mut cookies = Vec::new();
    let mut all: Vec<(String, String)> = Vec::new();
    for (name, value) in lines {
        if name == "set-cookie" {
            let pair = value.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                cookies.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
        match all.iter_mut().find(|(own, _)| *own == name) {
            Some((_, known)) => *known = format!("{known}, {value}"),
            None => all.push((name, value)),
        }
    }
    let length = all.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or("unknown", |(_, value)| value.as_str());
    let (status, msg) = match first {
        _ if !is_answered => {
            let why = if said.is_empty() {
                format!("`{program}` ended with status {rc}")
            } else {
                said.to_owned()
            };
            (-1, format!("Request failed: {why}"))
        }
        Some((status, said)) if status >= 300 => (
            status,
            format!("HTTP Error {status}: {}", reason(status, &said)),
        ),
        Some((status, _)) => (status, format!("OK ({length} bytes)")),
        // Files and FTP have no status.
        None => (200, format!("OK ({length} bytes)")),
    };
    Ok(Answer {
        url: String::new(),
        last: Url::parse("file:///").map_err(|_| garbled())?,
        hops: 0,
        status,
        msg,
        headers: all,
        cookies,
        content,
        file: Some(file).filter(|file| !file.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(head: &str, more: &str) -> Vec<u8> {
        format!("curl\x000\0\0{}\0{head}{more}", head.len()).into_bytes()
    }

    #[test]
    fn the_last_block_counts_and_the_body_is_whole() {
        let head = "HTTP/1.1 200 Connection established\r\n\r\nHTTP/1.1 401 Go away\r\nA-b: 1\r\nSet-Cookie: x=1; Path=/\r\nSet-Cookie: y=2\r\nContent-Disposition: attachment; a=\"b;c\"; filename=\"../x \\\"y\"\r\n\r\n";
        let answer = parse(&printed(head, "c\0c\0"), "", "here").unwrap();
        assert_eq!(answer.status, 401);
        assert_eq!(answer.msg, "HTTP Error 401: Go away");
        assert_eq!(answer.content.as_deref(), Some(b"\0c\0".as_slice()));
        assert_eq!(answer.header("set-cookie"), Some("x=1; Path=/, y=2"));
        assert_eq!(answer.file_name().as_deref(), Some("x \"y"));
        let named = |text: &str| {
            let head = format!("HTTP/2 200\r\nContent-Disposition: {text}\r\n\r\n");
            let answer = parse(&printed(&head, ""), "", "here").unwrap();
            answer.file_name()
        };
        assert_eq!(
            named("attachment; filename=/etc/passwd").as_deref(),
            Some("passwd")
        );
        assert_eq!(named("attachment; filename=\"..\""), None);
        assert_eq!(named("filename=x"), None);
        let two = parse(&printed("HTTP/2 404\r\n\r\n", ""), "", "here").unwrap();
        assert_eq!(two.msg, "HTTP Error 404: Not Found");
        assert!(two.content.is_none());
        assert!(parse(b"curl\0", "", "here").is_err());
        let own = "HTTP/1.1 200 OK\r\nFailed: true\r\nAnsible-Facts: x\r\nX-Y: 1\r\n\r\n";
        let result = parse(&printed(own, ""), "", "here").unwrap().result();
        assert_eq!(result["x_y"], "1");
        assert!(!result.contains_key("failed") && !result.contains_key("ansible_facts"));
    }
}

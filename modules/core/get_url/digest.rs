//! In: `checksum` as a playbook writes it. Out: the digest that the file must have, looked up in a list when it is the
//! address of one.

use serde_json::json;

use super::{Args, elapsed, named};
use crate::core::host::Algorithm;
use crate::core::http::{self, Sink, Wanted};
use crate::error::ModuleError;
use crate::platform::Platform;

/// A digest that the file must have.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Digest {
    pub(super) algorithm: Algorithm,
    pub(super) hex: String,
}

/// The digest of a file in a list, as the `sha256sum` of coreutils or of BSD writes it. A list of one word is the digest.
fn listed(text: &str, name: &str) -> Option<String> {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    if let [line] = lines.as_slice()
        && line.split_whitespace().count() == 1
    {
        return Some(line.trim().to_owned());
    }
    lines.into_iter().find_map(|line| {
        // `SHA256 (name) = digest`
        let bsd = line.rsplit_once(") = ").or_else(|| line.rsplit_once(")= "));
        if let Some((head, digest)) = bsd
            && let Some((_, path)) = head.split_once('(')
        {
            return (path == name).then(|| digest.trim().to_owned());
        }
        // `digest  name`, `digest *name`, `digest ./name`
        let (digest, path) = line.trim_start().split_once(char::is_whitespace)?;
        let path = path.trim_start();
        let path = path.strip_prefix('*').unwrap_or(path);
        let path = path.trim_start_matches("./");
        (path.trim_end() == name).then(|| digest.to_owned())
    })
}

impl Args {
    /// The digest that the file must have; none when the task says none.
    pub(super) async fn digest(
        &self,
        dest: &str,
        platform: &Platform,
    ) -> Result<Option<Digest>, ModuleError> {
        if self.checksum.is_empty() {
            return Ok(None);
        }
        let wrong = |message: String| ModuleError::argument("checksum", message);
        let Some((name, text)) = self.checksum.split_once(':') else {
            return Err(wrong(
                "The checksum parameter has to be in format <algorithm>:<checksum>".to_owned(),
            ));
        };
        let algorithm = Algorithm::named(name.trim()).ok_or_else(|| {
            wrong(format!("`{name}` is no algorithm that is known"))
                .hint("`sha256`, `sha512`, `sha384`, `sha224`, `sha1` and `md5` are")
        })?;
        let is_address = ["http://", "https://", "ftp://", "file://"]
            .iter()
            .any(|scheme| text.starts_with(scheme));
        let mut text = text.to_owned();
        if is_address {
            let sink = Sink {
                file: None,
                statuses: vec![200],
                content: Wanted::Always,
            };
            let start = platform.clock.now();
            let answer = http::fetch(platform, self.request(&text, "checksum")?, &sink).await?;
            if answer.status != 200 {
                let mut error = self.refused(&answer, dest, elapsed(start, platform));
                error
                    .result
                    .insert("url".to_owned(), json!(http::masked(&text)));
                return Err(error.hint(format!(
                    "the host asked `{}` for the digest and got: {}",
                    http::masked(&text),
                    answer.msg
                )));
            }
            let url = http::parse("url", &self.url)?;
            let name = named(http::rest(&url));
            let list = String::from_utf8_lossy(answer.content.as_deref().unwrap_or_default());
            text = listed(&list, &name).ok_or_else(|| {
                wrong(format!(
                    "Unable to find a checksum for file '{name}' in '{}'",
                    http::masked(&text)
                ))
            })?;
        }
        let hex: String = text
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .collect::<String>()
            .to_lowercase();
        if hex.is_empty() || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong("The checksum format is invalid".to_owned()));
        }
        Ok(Some(Digest { algorithm, hex }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_in_every_kind_of_list() {
        for (list, name, digest) in [
            ("abc\n", "x", Some("abc")),
            ("abc  x\ndef *y\n012 ./dir/z\n", "y", Some("def")),
            ("abc  x\ndef *y\n012 ./z\n", "z", Some("012")),
            ("SHA256 (x) = abc\nSHA256 (y z) = def\n", "y z", Some("def")),
            ("abc  x y\n", "x y", Some("abc")),
            ("abc  xx\n", "x", None),
            ("", "x", None),
        ] {
            assert_eq!(listed(list, name).as_deref(), digest, "{list}");
        }
    }
}

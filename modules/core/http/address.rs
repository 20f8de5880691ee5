//! In: an address as a playbook writes it. Out: its parts, and how it is shown: without the user and password in it.

use url::Url;

use crate::error::ModuleError;

/// What stands for user and password, as in Ansible's results.
const MASK: &str = "****";

/// An address that can be asked.
pub(in crate::core) fn parse(argument: &str, text: &str) -> Result<Url, ModuleError> {
    let url = Url::parse(text.trim()).map_err(|problem| {
        ModuleError::argument(
            argument,
            format!("`{}` is no address: {problem}", masked(text)),
        )
        .hint("write it whole: `https://HOST/PATH`")
    })?;
    match url.scheme() {
        "http" | "https" | "ftp" | "file" => Ok(url),
        other => Err(ModuleError::argument(
            argument,
            format!("an address of the kind `{other}` cannot be asked"),
        )
        .hint("`http`, `https`, `ftp` and `file` can")),
    }
}

/// The address without the user and password in it, else as it was written.
pub(in crate::core) fn masked(text: &str) -> String {
    let Some((scheme, behind)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = behind.find(['/', '?', '#']).unwrap_or(behind.len());
    let (server, path) = behind.split_at(end);
    match server.rsplit_once('@') {
        None => text.to_owned(),
        Some((who, host)) if who.contains(':') => {
            format!("{scheme}://{MASK}:{MASK}@{host}{path}")
        }
        Some((_, host)) => format!("{scheme}://{MASK}@{host}{path}"),
    }
}

/// Takes user and password out, decoded.
pub(super) fn take_credentials(url: &mut Url) -> (Option<String>, Option<String>) {
    let decoded = |text: &str| String::from_utf8_lossy(&decode(text)).into_owned();
    let user = Some(url.username())
        .filter(|user| !user.is_empty())
        .map(decoded);
    let password = url.password().map(decoded);
    if user.is_some() || password.is_some() {
        // Both refuse addresses without a server, which have neither.
        let _ = url.set_username("");
        let _ = url.set_password(None);
    }
    (user, password)
}

/// `%41` as `A`.
fn decode(text: &str) -> Vec<u8> {
    let mut all = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let pair = [ahead.next(), ahead.next()];
        let decoded = match pair {
            [Some(high), Some(low)] if byte == b'%' => std::str::from_utf8(&[high, low])
                .ok()
                .and_then(|hex| u8::from_str_radix(hex, 16).ok()),
            _ => None,
        };
        match decoded {
            Some(decoded) => {
                all.push(decoded);
                bytes = ahead;
            }
            None => all.push(byte),
        }
    }
    all
}

/// The last part of an address's path, as it is written; nothing when it ends in `/`.
pub(in crate::core) fn rest(url: &Url) -> &str {
    url.path().rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_shown_who_asks() {
        for (text, shown) in [
            ("https://host/a@b", "https://host/a@b"),
            ("https://u:p@host:1/a", "https://****:****@host:1/a"),
            ("https://token@host", "https://****@host"),
            (
                "https://u:p@ss@host/?q=a@b",
                "https://****:****@host/?q=a@b",
            ),
            ("ssh://git@host/x", "ssh://****@host/x"),
            ("no address", "no address"),
        ] {
            assert_eq!(masked(text), shown);
        }
        let mut url = Url::parse("https://a%40b:p%3A%25x@host/x%20y").unwrap();
        let taken = take_credentials(&mut url);
        assert_eq!(
            (taken.0.as_deref(), taken.1.as_deref()),
            (Some("a@b"), Some("p:%x"))
        );
        assert_eq!(url.as_str(), "https://host/x%20y");
        assert!(parse("url", "gopher://x").is_err() && parse("url", "x y").is_err());
        let hidden = parse("url", "https://u:secret@ho st/").unwrap_err();
        assert!(!hidden.message.contains("secret"), "{hidden}");
    }
}

//! `known_hosts`: keys of SSH servers. In: a host's name and its key; out: the file with that key, or without the host.
//! Names are matched as `ssh` does it: patterns, and names that are hashed (`|1|salt|hash`).

use std::io::Read as _;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha1::Sha1;

use super::super::host;
use super::super::place::{self, Work};
use super::super::{edit, text};
use super::{State, is_key};
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::ModuleError;
use crate::platform::Platform;

/// Keys of SSH servers.
pub struct KnownHosts;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The name of the server, as `ssh` is given it; `[name]:port` for another port than 22.
    #[schemars(extend("x-aliases" = ["host"]))]
    name: String,
    /// Its key, as a line of `known_hosts` has it (`ssh-keyscan` prints such): the name or a pattern, type, key. Several
    /// lines are several keys of the same server. With `state: absent` it may be left out: all keys of the server go.
    key: Option<String>,
    /// The file, on the host.
    #[serde(default = "path")]
    path: String,
    /// Write the server's name as a hash, so that the file does not tell it.
    #[serde(default)]
    hash_host: bool,
    /// Whether the key should be there.
    #[serde(default)]
    state: State,
}

fn path() -> String {
    "~/.ssh/known_hosts".to_owned()
}

const MARK: &str = "|1|";

/// A line that has a key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// `@cert-authority` or `@revoked`.
    marker: Option<String>,
    names: String,
    kind: String,
    key: String,
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        if line.starts_with('#') {
            return None;
        }
        let mut words = line.split_whitespace().peekable();
        let marker = words
            .next_if(|word| word.starts_with('@'))
            .map(str::to_owned);
        let mut next = || words.next().map(str::to_owned);
        Some(Self {
            marker,
            names: next()?,
            kind: next()?,
            key: next()?,
        })
    }

    fn is_hashed(&self) -> bool {
        self.names.starts_with(MARK)
    }

    /// Whether it is about this server.
    fn is_of(&self, host: &str) -> bool {
        if self.is_hashed() {
            return is_hash_of(&self.names, host);
        }
        let mut found = false;
        for pattern in self.names.split(',') {
            match pattern.strip_prefix('!') {
                // What is left out stays out, whatever else matches.
                Some(pattern) if matches(pattern, host) => return false,
                Some(_) => {}
                None => found |= matches(pattern, host),
            }
        }
        found
    }

    /// The same entry: hashes of one name differ by their salts alone.
    fn is_same(&self, other: &Self) -> bool {
        let names = self.names == other.names || (self.is_hashed() && other.is_hashed());
        names && (&self.marker, &self.kind, &self.key) == (&other.marker, &other.kind, &other.key)
    }
}

/// A pattern with `*` and `?`, in any case.
fn matches(pattern: &str, host: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let host: Vec<char> = host.chars().collect();
    // The place behind the last `*`, and how much of the host it stands for.
    let mut star: Option<(usize, usize)> = None;
    let (mut p, mut h) = (0, 0);
    while h < host.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, h));
                p += 1;
            }
            Some(c) if *c == '?' || host.get(h) == Some(c) => {
                p += 1;
                h += 1;
            }
            _ => match star {
                Some((behind, taken)) => {
                    star = Some((behind, taken + 1));
                    p = behind;
                    h = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

fn hash(salt: &[u8], host: &str) -> Option<Vec<u8>> {
    let mut mac = Hmac::<Sha1>::new_from_slice(salt).ok()?;
    mac.update(host.as_bytes());
    Some(mac.finalize().into_bytes().to_vec())
}

fn is_hash_of(text: &str, host: &str) -> bool {
    let parts = text
        .strip_prefix(MARK)
        .and_then(|rest| rest.split_once('|'));
    let Some((salt, wanted)) = parts else {
        return false;
    };
    match (STANDARD.decode(salt), STANDARD.decode(wanted)) {
        (Ok(salt), Ok(wanted)) => hash(&salt, host) == Some(wanted),
        _ => false,
    }
}

fn hashed(host: &str) -> Result<String, ModuleError> {
    let mut salt = [0; 20];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut salt))
        .map_err(|problem| {
            ModuleError::failed(format!("this machine gives no random bytes: {problem}"))
        })?;
    let sum = hash(&salt, host).unwrap_or_default();
    Ok(format!(
        "{MARK}{}|{}",
        STANDARD.encode(salt),
        STANDARD.encode(sum)
    ))
}

/// A key that was asked for, and the line that says it.
struct Wanted {
    entry: Entry,
    line: String,
}

impl Args {
    fn host(&self) -> Result<String, ModuleError> {
        let host = self.name.trim().to_lowercase();
        if host.contains(',') {
            return Err(ModuleError::argument(
                "name",
                "Comma separated list of names is not supported. Please pass a single name to lookup in the known_hosts file.",
            ));
        }
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(ModuleError::argument(
                "name",
                format!("`name: {}` is no name of a host", self.name),
            ));
        }
        Ok(host)
    }

    fn wanted(&self, host: &str) -> Result<Vec<Wanted>, ModuleError> {
        let text = self.key.as_deref().unwrap_or_default();
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut all = Vec::new();
        for line in lines {
            let entry = Entry::parse(line).filter(|entry| is_key(&entry.kind, &entry.key));
            let Some(mut entry) = entry else {
                return Err(ModuleError::argument(
                    "key",
                    "`key` is no line of `known_hosts`: name, type and key in base64 belong there",
                )
                .hint(format!("`ssh-keyscan {host}` prints such lines")));
            };
            if !entry.is_of(host) {
                return Err(ModuleError::argument(
                    "key",
                    "Host parameter does not match hashed host field in supplied key",
                )
                .hint(format!(
                    "the line of `key` begins with `{}`; `name` is `{host}`",
                    entry.names
                )));
            }
            let mut line = line.to_owned();
            if self.hash_host {
                let names = hashed(host)?;
                line = line
                    .split_whitespace()
                    .map(|word| {
                        if word == entry.names {
                            names.as_str()
                        } else {
                            word
                        }
                    })
                    .collect::<Vec<_>>()
                    .join(" ");
                entry.names = names;
            }
            all.push(Wanted { entry, line });
        }
        if all.is_empty() && self.state == State::Present {
            return Err(ModuleError::argument(
                "key",
                "No key specified when adding a host",
            ));
        }
        Ok(all)
    }

    /// The file's lines as they should be; None when they are.
    fn edited(&self, host: &str, before: &[u8]) -> Result<Option<Vec<Vec<u8>>>, ModuleError> {
        let wanted = self.wanted(host)?;
        let mut lines: Vec<Vec<u8>> = text::lines(before).iter().map(|l| l.to_vec()).collect();
        let entry = |line: &[u8]| {
            Entry::parse(&String::from_utf8_lossy(line)).filter(|entry| entry.is_of(host))
        };
        let mut is_changed = false;
        if wanted.is_empty() {
            let count = lines.len();
            // Authorities and revocations stay, as with `ssh-keygen -R`.
            lines.retain(|line| entry(line).is_none_or(|entry| entry.marker.is_some()));
            is_changed = lines.len() != count;
        }
        for Wanted { entry: new, line } in wanted {
            let mut old = None;
            for (at, current) in lines.iter().enumerate() {
                let Some(found) = entry(current) else {
                    continue;
                };
                if found.is_same(&new) {
                    old = Some((at, true));
                    break;
                }
                // A server has one key of a type: another one takes its place.
                if found.marker.is_none() && new.marker.is_none() && found.kind == new.kind {
                    old = Some((at, false));
                    break;
                }
            }
            let is_there = matches!(old, Some((_, true)));
            if is_there && self.state == State::Present {
                continue;
            }
            if let Some((at, _)) = old {
                lines.remove(at);
                is_changed = true;
            }
            if self.state == State::Present {
                lines.push(line.into_bytes());
                is_changed = true;
            }
        }
        Ok(is_changed.then_some(lines))
    }
}

#[async_trait]
impl Module for KnownHosts {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "known_hosts";
    const SUMMARY: &'static str =
        "Keeps keys of SSH servers in a known_hosts file of the host, or keeps them out";
    const EXAMPLES: &'static str = "- known_hosts:\n    name: git.example.com\n    key: git.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3...\n    path: /etc/ssh/ssh_known_hosts\n- known_hosts: {name: \"[git.example.com]:2222\", key: \"{{ lookup('pipe', 'ssh-keyscan -p 2222 git.example.com') }}\", hash_host: true}\n- known_hosts: {name: old.example.com, state: absent}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = super::super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        let host = args.host()?;
        let path = host::expand(platform, &args.path).await?;
        let before = edit::read(platform, &path).await?;
        let edited = args.edited(&host, before.as_deref().unwrap_or_default())?;
        let result = Map::from_iter([
            ("name".to_owned(), json!(args.name)),
            ("key".to_owned(), json!(args.key)),
            ("path".to_owned(), json!(path)),
            ("hash_host".to_owned(), json!(args.hash_host)),
            ("state".to_owned(), json!(args.state)),
        ]);
        let Some(lines) = edited else {
            return Ok(Change::None(Outcome::unchanged(Value::Object(result))));
        };
        let mut text = text::Text::new(&path, before, text::joined(&lines));
        // `ssh` wants its folder to be the user's alone.
        text.directory_mode = Some(json!("0700"));
        text.result = result;
        text::inspect(text, platform).await
    }

    async fn apply(
        &self,
        _: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        place::apply(work, platform).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const B: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

    fn edited(before: &str, args: Value) -> Result<Option<String>, ModuleError> {
        let args: Args = serde_json::from_value(args).unwrap();
        let host = args.host()?;
        let lines = args.edited(&host, before.as_bytes())?;
        Ok(lines.map(|lines| String::from_utf8(text::joined(&lines)).unwrap()))
    }

    #[test]
    fn patterns_match_as_in_ssh() {
        for (names, host, is_of) in [
            ("a.example.com", "a.example.com", true),
            ("A.Example.com", "a.example.com", true),
            ("x,*.example.com", "a.example.com", true),
            ("*.example.com,!a.example.com", "a.example.com", false),
            ("10.0.0.?", "10.0.0.7", true),
            ("10.0.0.?", "10.0.0.77", false),
            ("[a]:2222", "[a]:2222", true),
            ("[a]:2222", "a", false),
            ("*a*b*", "xaxxbx", true),
            ("*a*b", "xaxxbx", false),
            ("|1|x|y", "a.example.com", false),
        ] {
            let entry = Entry::parse(&format!("{names} ssh-ed25519 {A}")).unwrap();
            assert_eq!(entry.is_of(host), is_of, "{names} {host}");
        }
        let entry = Entry::parse(&format!("{} ssh-ed25519 {A}", hashed("h").unwrap())).unwrap();
        assert!(entry.is_of("h") && !entry.is_of("i"));
    }

    #[test]
    fn a_key_takes_the_place_of_another_of_its_type() {
        let key = |key: &str| format!("h ssh-ed25519 {key}");
        let args = json!({"name": "H", "key": key(A)});
        let file = format!("{}\n", key(A));
        assert_eq!(edited("", args.clone()).unwrap(), Some(file.clone()));
        assert_eq!(edited(&file, args.clone()).unwrap(), None);
        // A comment behind the key is no difference; a last line without its end stays a line.
        assert_eq!(
            edited(&format!("{} me@h", key(A)), args.clone()).unwrap(),
            None
        );
        let before = format!("# c\nh,i ssh-ed25519 {B}\ng ssh-rsa x");
        assert_eq!(
            edited(&before, args).unwrap(),
            Some(format!("# c\ng ssh-rsa x\n{file}"))
        );
    }

    #[test]
    fn hashed_names_stay_hashed_and_are_not_written_again() {
        let key = format!("h ssh-ed25519 {A}");
        let args = json!({"name": "h", "key": key, "hash_host": true});
        let once = edited("", args.clone()).unwrap().unwrap();
        assert!(once.starts_with(MARK) && once.ends_with(&format!(" ssh-ed25519 {A}\n")));
        assert_eq!(edited(&once, args).unwrap(), None);
        let gone = json!({"name": "h", "state": "absent"});
        assert_eq!(edited(&once, gone).unwrap(), Some(String::new()));
    }

    #[test]
    fn absent_takes_all_keys_of_the_host_and_no_authorities() {
        let before = format!(
            "@cert-authority h ssh-ed25519 {A}\nh ssh-ed25519 {A}\nh ssh-rsa x\ni ssh-ed25519 {A}\n"
        );
        let after = edited(&before, json!({"name": "h", "state": "absent"})).unwrap();
        assert_eq!(
            after,
            Some(format!(
                "@cert-authority h ssh-ed25519 {A}\ni ssh-ed25519 {A}\n"
            ))
        );
        let other = json!({"name": "j", "state": "absent"});
        assert_eq!(edited(&before, other).unwrap(), None);
        let one = json!({"name": "i", "state": "absent", "key": format!("i ssh-ed25519 {A}")});
        assert!(!edited(&before, one).unwrap().unwrap().contains("\ni "));
    }

    #[test]
    fn what_is_no_key_of_the_host_is_told_before() {
        for (args, argument) in [
            (json!({"name": "a,b", "key": "x"}), "name"),
            (json!({"name": "", "key": "x"}), "name"),
            (json!({"name": "h"}), "key"),
            (json!({"name": "h", "key": "h ssh-ed25519 AAAA"}), "key"),
            (json!({"name": "h", "key": format!("h ssh-rsa {A}")}), "key"),
            (
                json!({"name": "h", "key": format!("i ssh-ed25519 {A}")}),
                "key",
            ),
        ] {
            let problem = edited("", args.clone()).unwrap_err();
            assert_eq!(problem.argument.as_deref(), Some(argument), "{args}");
        }
    }
}

//! `authorized_key`: keys that may log in as a user. In: the user and the keys; out: the user's file with them, with the
//! rights that `sshd` demands.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::accounts;
use super::super::host::{self, Rights, Step};
use super::super::place::{self, Work};
use super::super::{edit, text};
use super::State;
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// Keys that may log in.
pub struct AuthorizedKey;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The user of the host who may be logged in as.
    user: String,
    /// The public keys, one a line; an address is an error.
    key: String,
    /// The file, when it is not `~/.ssh/authorized_keys`.
    path: Option<String>,
    /// Make the file's folder, and give it to the user alone. Say no with a `path` in a folder that others need.
    #[serde(default = "yes")]
    manage_dir: bool,
    /// Whether the keys should be there.
    #[serde(default)]
    state: State,
    /// Options before the keys (`no-port-forwarding,from="10.0.0.1"`), in place of those that they have.
    key_options: Option<String>,
    /// Remove all other keys. With a loop each item would remove those before it: give all keys in one text.
    #[serde(default)]
    exclusive: bool,
    /// The comment behind the keys, in place of that which they have.
    comment: Option<String>,
    /// Accepted and without effect: nothing is fetched.
    #[serde(default = "yes")]
    validate_certs: bool,
    /// When the file is a link, write what it leads to; else the link is replaced.
    #[serde(default)]
    follow: bool,
}

fn yes() -> bool {
    true
}

/// The types of keys that a file may have.
const TYPES: [&str; 8] = [
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "ssh-ed25519",
    "ssh-dss",
    "ssh-rsa",
];

/// A line with a key.
#[derive(Debug, Clone)]
struct Key {
    options: Vec<String>,
    kind: String,
    key: String,
    comment: String,
}

impl Key {
    fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        if line.starts_with('#') {
            return None;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| TYPES.contains(word))?;
        let (before, rest) = words.split_at(at);
        let [kind, key, comment @ ..] = rest else {
            return None;
        };
        Some(Self {
            options: options(&before.join(" ")),
            kind: (*kind).to_owned(),
            key: (*key).to_owned(),
            comment: comment.join(" "),
        })
    }

    /// The same in all it says; options have no order.
    fn is_same(&self, other: &Self) -> bool {
        let sorted = |key: &Self| {
            let mut options = key.options.clone();
            options.sort_unstable();
            options
        };
        (&self.kind, &self.key, &self.comment) == (&other.kind, &other.key, &other.comment)
            && sorted(self) == sorted(other)
    }

    fn line(&self) -> String {
        let words = [
            self.options.join(","),
            self.kind.clone(),
            self.key.clone(),
            self.comment.clone(),
        ];
        let said: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
        said.join(" ")
    }
}

/// Options, parted by commas outside of quotes; in quotes `\"` is a quote.
fn options(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        match c {
            ',' if !quoted => {
                all.push(String::new());
                continue;
            }
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        if let Some(last) = all.last_mut() {
            last.push(c);
        }
    }
    all.retain(|option| !option.trim().is_empty());
    all
}

impl Args {
    fn wanted(&self) -> Result<Vec<Key>, ModuleError> {
        if self.key.trim_start().starts_with("http") {
            return Err(ModuleError::argument(
                "key",
                "`key` is an address, and nothing is fetched here",
            )
            .hint("write `key: \"{{ lookup('pipe', 'curl -fsS ADDRESS') }}\"`, which this machine fetches"));
        }
        let lines = self.key.lines();
        lines
            .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
            .map(|line| {
                let mut key = Key::parse(line)
                    .filter(|key| super::is_key(&key.kind, &key.key))
                    .ok_or_else(|| {
                        ModuleError::argument("key", "invalid key specified: one of its lines is no public key")
                            .hint("a line is a type (`ssh-ed25519`), the key in base64, and a comment: the content of a `.pub` file")
                    })?;
                if let Some(text) = &self.key_options {
                    key.options = options(text);
                }
                if let Some(comment) = &self.comment {
                    comment.trim().clone_into(&mut key.comment);
                }
                Ok(key)
            })
            .collect()
    }

    fn check(&self) -> Result<(), ModuleError> {
        accounts::check_name("user", &self.user)?;
        for (name, value) in [
            ("comment", &self.comment),
            ("key_options", &self.key_options),
        ] {
            // A line of its own would be a key of its own.
            if value
                .as_deref()
                .is_some_and(|text| text.contains(['\n', '\r']))
            {
                let message = format!("`{name}` has more than one line");
                return Err(ModuleError::argument(name, message));
            }
        }
        Ok(())
    }

    /// The lines as they should be; None when they are.
    fn edited(&self, before: &[u8]) -> Result<Option<Vec<Vec<u8>>>, ModuleError> {
        let wanted = self.wanted()?;
        let mut lines: Vec<(Option<Key>, Vec<u8>)> = text::lines(before)
            .into_iter()
            .map(|line| (Key::parse(&String::from_utf8_lossy(line)), line.to_vec()))
            .collect();
        let is =
            |line: &Option<Key>, key: &Key| line.as_ref().is_some_and(|own| own.key == key.key);
        let mut is_changed = false;
        for key in &wanted {
            // Of a key that is there twice, the last line counts.
            let last = lines
                .iter()
                .rev()
                .find_map(|(own, _)| own.as_ref().filter(|own| own.key == key.key));
            let is_right = match self.state {
                State::Present => last.is_some_and(|own| own.is_same(key)),
                State::Absent => last.is_none(),
            };
            if is_right {
                continue;
            }
            is_changed = true;
            lines.retain(|(own, _)| !is(own, key));
            if self.state == State::Present {
                lines.push((Some(key.clone()), key.line().into_bytes()));
            }
        }
        if self.exclusive && self.state == State::Present {
            let count = lines.len();
            lines.retain(|(own, _)| wanted.iter().any(|key| is(own, key)));
            is_changed |= lines.len() != count;
        }
        Ok(is_changed.then(|| lines.into_iter().map(|(_, line)| line).collect()))
    }

    fn result(&self, file: &str, path: Option<&String>) -> Map<String, Value> {
        let result = json!({
            "user": self.user, "key": self.key, "path": path, "manage_dir": self.manage_dir,
            "state": self.state, "key_options": self.key_options, "exclusive": self.exclusive,
            "comment": self.comment, "validate_certs": self.validate_certs, "follow": self.follow,
            "keyfile": file,
        });
        match result {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }
}

/// The steps that make a user's folder theirs alone. A link is left as it is: it may lead to a folder of the system.
async fn folder(platform: &Platform, dir: &str, rights: &Rights) -> Result<Vec<Step>, ModuleError> {
    let above = host::parent(dir);
    let paths = [dir.to_owned(), above.clone()];
    let looks = host::look(platform, &paths, None).await?;
    let Some(meta) = looks.at(dir)?.own() else {
        // In check mode a task before this one may make it, and has not.
        if !platform.check && !looks.at(&above)?.is_folder() {
            return Err(ModuleError::new(
                ErrorKind::NotFound,
                format!("Failed to create directory {dir} : `{above}` is not there"),
            )
            .hint("the user's home must be there first: `user: {create_home: true}` makes it"));
        }
        let path = dir.to_owned();
        let (owner, group) = (rights.owner.clone(), rights.group.clone());
        let mut steps = vec![Step::Folder { path: path.clone() }];
        steps.extend(owner.map(|owner| Step::Owner {
            path: path.clone(),
            owner,
        }));
        steps.extend(group.map(|group| Step::Group {
            path: path.clone(),
            group,
        }));
        steps.push(Step::Mode { path, mode: 0o700 });
        return Ok(steps);
    };
    Ok(rights.missing(dir, meta, looks.umask)?.0)
}

#[async_trait]
impl Module for AuthorizedKey {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "authorized_key";
    const SUMMARY: &'static str =
        "Keeps SSH keys that may log in as a user of the host, or keeps them out";
    const EXAMPLES: &'static str = "- authorized_key: {user: core, key: \"{{ lookup('file', 'keys/ops.pub') }}\"}\n- authorized_key:\n    user: deploy\n    key: \"{{ keys | join('\\n') }}\"\n    key_options: no-port-forwarding,from=\"10.0.0.0/8\"\n    exclusive: true\n- authorized_key: {user: core, key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3..., state: absent}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = super::super::MACHINE;
    const ALIASES: &'static [&'static str] = &["ansible.posix.authorized_key"];

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        args.check()?;
        let path = match &args.path {
            Some(path) => Some(host::expand(platform, path).await?),
            None => None,
        };
        let account = accounts::user(platform, &args.user).await?;
        let file = match (&path, &account) {
            (Some(path), Some(_)) => path.clone(),
            // A task before this one may make the user, and has not in check mode.
            (Some(path), None) if platform.check => path.clone(),
            (None, Some(account)) => host::join(&account.home, ".ssh/authorized_keys"),
            (_, None) => {
                let message = if platform.check {
                    "Either user must exist or you must provide full path to key file in check mode"
                        .to_owned()
                } else {
                    format!(
                        "Failed to lookup user {}: there is none of this name",
                        args.user
                    )
                };
                return Err(ModuleError::new(ErrorKind::NotFound, message)
                    .hint(format!("make it first: `user: {{name: {}}}`", args.user)));
            }
        };
        let before = edit::read(platform, &file).await?;
        let result = args.result(&file, path.as_ref());
        let Some(lines) = args.edited(before.as_deref().unwrap_or_default())? else {
            return Ok(Change::None(Outcome::unchanged(Value::Object(result))));
        };
        let (owner, group) = account
            .map(|account| (account.uid.to_string(), account.gid.to_string()))
            .unzip();
        let rights = |mode: &str| Rights {
            owner: owner.clone(),
            group: group.clone(),
            mode: Some(json!(mode)),
        };
        let mut text = text::Text::new(&file, before, text::joined(&lines));
        text.rights = rights("0600");
        text.follow = args.follow;
        text.result = result;
        let steps = if args.manage_dir {
            text.directory_mode = Some(json!("0700"));
            folder(platform, &host::parent(&file), &rights("0700")).await?
        } else {
            Vec::new()
        };
        let mut change = text::inspect(text, platform).await?;
        if let Change::Some { work, .. } = &mut change {
            work.steps.extend(steps);
        }
        Ok(change)
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

    const A: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const B: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

    fn edited(before: &str, mut args: Value) -> Result<Option<String>, ModuleError> {
        args["user"] = json!("core");
        let args: Args = serde_json::from_value(args).unwrap();
        args.check()?;
        let lines = args.edited(before.as_bytes())?;
        Ok(lines.map(|lines| String::from_utf8(text::joined(&lines)).unwrap()))
    }

    #[test]
    fn keys_come_behind_what_is_there() {
        let both = json!({"key": format!("# ours\n{A} a\n\n{B} b\n")});
        let before = "# by hand\nsomething else\n";
        let after = format!("{before}{A} a\n{B} b\n");
        assert_eq!(edited(before, both.clone()).unwrap(), Some(after.clone()));
        assert_eq!(edited(&after, both).unwrap(), None);
        // Another comment is another line.
        let other = json!({"key": A, "comment": "c"});
        assert_eq!(
            edited(&after, other).unwrap(),
            Some(format!("{before}{B} b\n{A} c\n"))
        );
    }

    #[test]
    fn options_have_no_order_and_quotes_hold_commas() {
        let text = r#"from="a,b",command="echo \",\" x",no-pty"#;
        assert_eq!(
            options(text),
            [r#"from="a,b""#, r#"command="echo \",\" x""#, "no-pty"]
        );
        let args = json!({"key": A, "key_options": text});
        let line = format!("{text} {A}\n");
        assert_eq!(edited("", args.clone()).unwrap(), Some(line.clone()));
        assert_eq!(edited(&line, args.clone()).unwrap(), None);
        let turned = format!(r#"no-pty,from="a,b",command="echo \",\" x" {A}"#);
        assert_eq!(edited(&turned, args).unwrap(), None);
        // Without options asked for, there are none.
        assert_eq!(
            edited(&line, json!({"key": A})).unwrap(),
            Some(format!("{A}\n"))
        );
    }

    #[test]
    fn exclusive_and_absent_remove() {
        let before = format!("# c\n{A} a\n{B} b\n");
        let only = json!({"key": format!("{B} b"), "exclusive": true});
        assert_eq!(
            edited(&before, only.clone()).unwrap(),
            Some(format!("{B} b\n"))
        );
        assert_eq!(edited(&format!("{B} b\n"), only).unwrap(), None);
        let gone = json!({"key": A, "state": "absent"});
        assert_eq!(
            edited(&before, gone.clone()).unwrap(),
            Some(format!("# c\n{B} b\n"))
        );
        assert_eq!(edited(B, gone).unwrap(), None);
    }

    #[test]
    fn what_is_no_key_is_told_before() {
        for (args, argument) in [
            (json!({"key": "http://example.com/keys"}), "key"),
            (json!({"key": "ssh-ed25519"}), "key"),
            (json!({"key": "ssh-ed25519 AAAA"}), "key"),
            (json!({"key": A, "comment": "a\nb"}), "comment"),
            (json!({"key": A, "key_options": "a\nb"}), "key_options"),
        ] {
            let problem = edited("", args.clone()).unwrap_err();
            assert_eq!(problem.argument.as_deref(), Some(argument), "{args}");
        }
    }
}

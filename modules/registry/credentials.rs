//! In: the name of a repository. Out: the login for it, by containers-auth.json(5).
//!
//! `REGISTRY_AUTH_FILE` alone when it is set; else the union of the default files, where for each the longest matching
//! path wins, and an earlier file wins over a later one (containers/image: pkg/docker/config/config.go).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::error::{ErrorKind, ModuleError};
use crate::platform::CommandSpec;
use crate::secret::Secrets;

/// How to log in to a registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    Anonymous,
    Password {
        user: String,
        password: String,
    },
    /// An identity token, from a credential helper or `identitytoken`.
    Token(String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Password { user, .. } => write!(f, "Password({user})"),
            Self::Token(_) => f.write_str("Token"),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AuthFile {
    auths: HashMap<String, Entry>,
    cred_helpers: HashMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    identitytoken: String,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry")
    }
}

/// The files that hold logins, in their order.
#[derive(Debug, Clone)]
pub struct Credentials {
    files: Vec<PathBuf>,
    /// The one file was asked for by name, so it must be there.
    named: bool,
    /// The text of such a file, from a cluster's pull secret: asked before all files.
    inline: Option<String>,
}

/// What stands where a path would in messages about a pull secret.
const PULL_SECRET: &str = "the cluster's pull secret";

impl Credentials {
    /// As the environment names them.
    pub fn from_environment() -> Self {
        Self::from_lookup(
            |name| std::env::var(name).ok().filter(|value| !value.is_empty()),
            nix::unistd::getuid().as_raw(),
        )
    }

    /// One file and no other.
    pub fn from_file(file: impl Into<PathBuf>) -> Self {
        Self {
            files: vec![file.into()],
            named: true,
            inline: None,
        }
    }

    /// Those of a pull secret (`.dockerconfigjson`) and no others.
    pub fn pull_secret(text: &str) -> Self {
        Self {
            files: Vec::new(),
            named: false,
            inline: Some(text.to_owned()),
        }
    }

    /// With the logins of a pull secret (`.dockerconfigjson`) before those of files.
    #[must_use]
    pub fn with_pull_secret(mut self, text: &str) -> Self {
        self.inline = Some(text.to_owned());
        self
    }

    fn from_lookup(variable: impl Fn(&str) -> Option<String>, uid: u32) -> Self {
        if let Some(file) = variable("REGISTRY_AUTH_FILE") {
            return Self::from_file(file);
        }
        let home = variable("HOME").map(PathBuf::from);
        let runtime = variable("XDG_RUNTIME_DIR").map_or_else(
            || PathBuf::from(format!("/run/containers/{uid}")),
            |dir| Path::new(&dir).join("containers"),
        );
        let config = variable("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(home.as_ref()?.join(".config")));
        let docker = variable("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| Some(home.as_ref()?.join(".docker")));
        let files = [
            Some(runtime.join("auth.json")),
            config.map(|dir| dir.join("containers/auth.json")),
            docker.map(|dir| dir.join("config.json")),
            home.map(|dir| dir.join(".dockercfg")),
        ];
        Self {
            files: files.into_iter().flatten().collect(),
            named: false,
            inline: None,
        }
    }

    /// The login for `registry/repository`. What it finds is registered as secret.
    pub async fn login(
        &self,
        name: &str,
        secrets: &Secrets,
        cancel: &CancellationToken,
    ) -> Result<Login, ModuleError> {
        if let Some(text) = &self.inline {
            let path = Path::new(PULL_SECRET);
            let file = parse(path, text)?;
            if let Some(entry) = longest(&file.auths, name)
                && let Some(login) = entry.login(path)?
            {
                login.hide(secrets);
                return Ok(login);
            }
        }
        for path in &self.files {
            let text = match std::fs::read_to_string(path) {
                Ok(text) => text,
                Err(problem) if problem.kind() == std::io::ErrorKind::NotFound && !self.named => {
                    continue;
                }
                Err(problem) => return Err(unreadable(path, &problem.to_string())),
            };
            let file = parse(path, &text)?;
            let registry = name.split('/').next().unwrap_or(name);
            // A helper for the registry beats what the same file holds; the store for all comes last.
            if let Some(helper) = file.cred_helpers.get(registry) {
                return ask_helper(helper, registry, secrets, cancel).await;
            }
            if let Some(entry) = longest(&file.auths, name)
                && let Some(login) = entry.login(path)?
            {
                login.hide(secrets);
                return Ok(login);
            }
            if let Some(store) = &file.creds_store
                && let login @ (Login::Password { .. } | Login::Token(_)) =
                    ask_helper(store, registry, secrets, cancel).await?
            {
                return Ok(login);
            }
        }
        Ok(Login::Anonymous)
    }
}

fn unreadable(path: &Path, why: &str) -> ModuleError {
    ModuleError::failed(format!(
        "registry logins in `{}` cannot be read: {why}",
        path.display()
    ))
    .hint("log in again with `podman login`, or name another file in `REGISTRY_AUTH_FILE`")
}

fn parse(path: &Path, text: &str) -> Result<AuthFile, ModuleError> {
    // The message of a JSON error may hold a piece of the text, so only its place is told.
    let place =
        |problem: &serde_json::Error| format!("not the expected JSON at line {}", problem.line());
    if path.file_name().is_some_and(|name| name == ".dockercfg") {
        let auths =
            serde_json::from_str(text).map_err(|problem| unreadable(path, &place(&problem)))?;
        return Ok(AuthFile {
            auths,
            ..AuthFile::default()
        });
    }
    serde_json::from_str(text).map_err(|problem| unreadable(path, &place(&problem)))
}

/// `host/ns/repo`, then `host/ns`, then `host`; keys as older tools write them (`https://host/v1/`) count for the host.
fn longest<'f>(auths: &'f HashMap<String, Entry>, name: &str) -> Option<&'f Entry> {
    let mut key = name;
    loop {
        if let Some(entry) = auths.get(key) {
            return Some(entry);
        }
        match key.rfind('/') {
            Some(slash) => key = &key[..slash],
            None => break,
        }
    }
    auths
        .iter()
        .find(|(known, _)| host(known) == key)
        .map(|(_, entry)| entry)
}

/// The host of a key that was written as an address; other keys are paths and were matched whole.
fn host(key: &str) -> &str {
    let Some((_, rest)) = key.split_once("://") else {
        return "";
    };
    rest.split('/').next().unwrap_or(rest)
}

impl Entry {
    fn login(&self, path: &Path) -> Result<Option<Login>, ModuleError> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Login::Token(self.identitytoken.clone())));
        }
        if self.auth.is_empty() {
            return Ok(None);
        }
        let plain = STANDARD
            .decode(&self.auth)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        match plain.as_deref().and_then(|plain| plain.split_once(':')) {
            // Docker pads with zero bytes.
            Some((user, password)) => Ok(Some(Login::Password {
                user: user.to_owned(),
                password: password.trim_end_matches('\0').to_owned(),
            })),
            None => Err(unreadable(
                path,
                "an `auth` is not the base64 of `user:password`",
            )),
        }
    }
}

impl Login {
    fn hide(&self, secrets: &Secrets) {
        match self {
            Self::Anonymous => {}
            Self::Password { user, password } => {
                secrets.add(password);
                secrets.add(&STANDARD.encode(format!("{user}:{password}")));
            }
            Self::Token(token) => secrets.add(token),
        }
    }
}

/// Asks `docker-credential-NAME get`: the registry on its input, JSON on its output.
async fn ask_helper(
    name: &str,
    registry: &str,
    secrets: &Secrets,
    cancel: &CancellationToken,
) -> Result<Login, ModuleError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: String,
    }
    let program = format!("docker-credential-{name}");
    let spec = CommandSpec {
        argv: vec![program.clone(), "get".to_owned()],
        stdin: Some(registry.as_bytes().to_vec()),
        ..CommandSpec::default()
    };
    let output = crate::command::run(spec, cancel).await?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.rc != 0 {
        // The protocol's way to say that there is none.
        if text.contains("credentials not found") {
            return Ok(Login::Anonymous);
        }
        return Err(ModuleError::new(
            ErrorKind::Forbidden,
            format!(
                "`{program}` gave no login for `{registry}`: {}",
                text.trim()
            ),
        ));
    }
    let answer: Answer = serde_json::from_str(&text).map_err(|_| {
        ModuleError::failed(format!(
            "`{program}` did not answer with the JSON of the credential helper protocol"
        ))
    })?;
    let login = if answer.username == "<token>" {
        Login::Token(answer.secret)
    } else {
        Login::Password {
            user: answer.username,
            password: answer.secret,
        }
    };
    login.hide(secrets);
    Ok(login)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Login {
        Login::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    async fn login(credentials: &Credentials, name: &str) -> Result<Login, ModuleError> {
        credentials
            .login(name, &Secrets::default(), &CancellationToken::new())
            .await
    }

    fn file(dir: &Path, name: &str, auths: &[(&str, &str)]) -> PathBuf {
        let auths: serde_json::Map<_, _> = auths
            .iter()
            .map(|(key, login)| {
                (
                    (*key).to_owned(),
                    serde_json::json!({"auth": STANDARD.encode(login)}),
                )
            })
            .collect();
        let path = dir.join(name);
        std::fs::write(&path, serde_json::json!({"auths": auths}).to_string()).unwrap();
        path
    }

    #[tokio::test]
    async fn the_longest_path_wins_and_earlier_files_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = file(dir.path(), "1.json", &[("reg.example.com", "host:pw-1")]);
        let second = file(
            dir.path(),
            "2.json",
            &[
                ("reg.example.com/ns/repo", "repo:pw-2"),
                ("other.example.com/ns", "ns:p:w"),
                ("https://old.example.com/v1/", "old:pw-3"),
            ],
        );
        let both = Credentials {
            files: vec![first, dir.path().join("missing"), second.clone()],
            named: false,
            inline: None,
        };
        assert_eq!(
            login(&both, "reg.example.com/ns/repo").await.unwrap(),
            password("host", "pw-1")
        );
        let one = Credentials {
            files: vec![second],
            named: false,
            inline: None,
        };
        assert_eq!(
            login(&one, "reg.example.com/ns/repo").await.unwrap(),
            password("repo", "pw-2")
        );
        assert_eq!(
            login(&one, "reg.example.com/ns/repo2").await.unwrap(),
            Login::Anonymous
        );
        assert_eq!(
            login(&one, "other.example.com/ns/x").await.unwrap(),
            password("ns", "p:w")
        );
        assert_eq!(
            login(&one, "old.example.com/a").await.unwrap(),
            password("old", "pw-3")
        );
    }

    #[test]
    fn files_by_the_environment() {
        let none = Credentials::from_lookup(|_| None, 7);
        assert_eq!(none.files, [PathBuf::from("/run/containers/7/auth.json")]);
        let usual = Credentials::from_lookup(|name| (name == "HOME").then(|| "/h".to_owned()), 7);
        let shown: Vec<_> = usual
            .files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        assert_eq!(
            shown,
            [
                "/run/containers/7/auth.json",
                "/h/.config/containers/auth.json",
                "/h/.docker/config.json",
                "/h/.dockercfg"
            ]
        );
        let named = Credentials::from_lookup(
            |name| (name == "REGISTRY_AUTH_FILE").then(|| "/f".to_owned()),
            7,
        );
        assert_eq!(
            (named.files.as_slice(), named.named),
            ([PathBuf::from("/f")].as_slice(), true)
        );
    }

    #[tokio::test]
    async fn broken_or_missing_named_files_are_errors_that_show_no_secret() {
        assert!(
            login(&Credentials::from_file("/no/such/file"), "r.example.com/a")
                .await
                .is_err()
        );
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        std::fs::write(&path, r#"{"auths": {"r.example.com": {"auth": "hunter2"#).unwrap();
        let broken = login(&Credentials::from_file(&path), "r.example.com/a")
            .await
            .unwrap_err();
        assert!(
            broken.message.contains("auth.json") && !broken.message.contains("hunter2"),
            "{broken}"
        );
        std::fs::write(
            &path,
            r#"{"auths": {"r.example.com": {"auth": "hunter2!"}}}"#,
        )
        .unwrap();
        let odd = login(&Credentials::from_file(&path), "r.example.com/a")
            .await
            .unwrap_err();
        assert!(!odd.message.contains("hunter2"), "{odd}");
    }

    #[tokio::test]
    async fn what_is_found_is_masked_from_then_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "a.json", &[("r.example.com", "me:s3cret-word")]);
        let secrets = Secrets::default();
        let found = Credentials::from_file(path)
            .login("r.example.com/a", &secrets, &CancellationToken::new())
            .await
            .unwrap();
        assert_eq!(format!("{found:?}"), "Password(me)");
        assert_eq!(secrets.mask("a s3cret-word b"), "a ******** b");
    }
}

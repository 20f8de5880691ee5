//! In: how a machine is reached. Out: one connection to it, which all its tasks share: a master of the user's own `ssh`,
//! with `~/.ssh/config` and whatever arguments the settings add.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use indexmap::IndexMap;
use layerplay_modules::core::arguments::boolean;
use layerplay_modules::platform::at_home;
use layerplay_modules::{ErrorKind, ModuleError};
use openssh::Session;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

/// How long a machine may take to answer, in seconds (Ansible's default).
const TIMEOUT: u32 = 10;

/// Answers `ssh` when it asks for a password, and nothing else: a passphrase or a one-time code is not ours to give.
const ASKPASS: &str =
    "#!/bin/sh\ncase \"$1\" in *[Pp]assword*) exec cat \"${0%/*}/password\" ;; esac\nexit 1\n";

/// What tells one connection from another.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Target {
    pub(super) address: String,
    pub(super) user: Option<String>,
    port: Option<u16>,
    key: Option<String>,
    password: Option<String>,
    arguments: Vec<String>,
    checks_host_key: bool,
    timeout: u32,
    retries: u32,
    control_dir: Option<PathBuf>,
}

fn text(variables: &IndexMap<String, Value>, name: &str) -> Option<String> {
    match variables.get(name)? {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn number<T: std::str::FromStr>(
    variables: &IndexMap<String, Value>,
    name: &'static str,
    what: &str,
) -> Result<Option<T>, ModuleError> {
    text(variables, name)
        .map(|value| {
            value
                .parse()
                .map_err(|_| ModuleError::argument(name, format!("`{name}: {value}` is no {what}")))
        })
        .transpose()
}

impl Target {
    pub(super) fn new(
        address: &str,
        variables: &IndexMap<String, Value>,
    ) -> Result<Self, ModuleError> {
        let mut arguments = Vec::new();
        for name in [
            "ansible_ssh_args",
            "ansible_ssh_common_args",
            "ansible_ssh_extra_args",
        ] {
            let given = text(variables, name).unwrap_or_default();
            arguments.extend(shlex::split(&given).ok_or_else(|| {
                ModuleError::argument(
                    name,
                    format!("`{name}`: a quote is opened and never closed"),
                )
            })?);
        }
        let checks_host_key = match text(variables, "ansible_host_key_checking") {
            Some(value) => boolean(&value).ok_or_else(|| {
                ModuleError::argument(
                    "ansible_host_key_checking",
                    format!("`ansible_host_key_checking: {value}` is neither `true` nor `false`"),
                )
            })?,
            None => true,
        };
        Ok(Self {
            address: address.to_owned(),
            user: text(variables, "ansible_user"),
            port: number(variables, "ansible_port", "port")?,
            key: text(variables, "ansible_ssh_private_key_file"),
            password: text(variables, "ansible_password"),
            arguments,
            checks_host_key,
            timeout: number(variables, "ansible_ssh_timeout", "number of seconds")?
                .unwrap_or(TIMEOUT),
            retries: number(variables, "ansible_ssh_retries", "count")?.unwrap_or(0),
            control_dir: text(variables, "ansible_control_path_dir").map(|dir| at_home(&dir)),
        })
    }

    /// Connects, and again as often as the settings allow where the machine did not answer. `within` is how long it may
    /// take to answer, where that is not the settings'.
    pub(super) async fn connect(&self, within: Option<Duration>) -> Result<Session, ModuleError> {
        let seconds = within.map_or(self.timeout, |within| {
            // A second is the least that `ssh` knows.
            u32::try_from(within.as_secs()).unwrap_or(u32::MAX).max(1)
        });
        let mut left = self.retries;
        loop {
            match self.attempt(seconds).await {
                Err(_) if left > 0 => left -= 1,
                ended => return ended,
            }
        }
    }

    async fn attempt(&self, timeout: u32) -> Result<Session, ModuleError> {
        let here = |problem: io::Error| {
            ModuleError::failed(format!(
                "cannot prepare a connection to `{}`: {problem}",
                self.address
            ))
        };
        let dir = self.folder().map_err(here)?;
        let log = dir.path().join("log");
        let mut ssh = Command::new("ssh");
        ssh.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // A run that is interrupted while it connects leaves nothing behind.
            .kill_on_drop(true)
            .arg("-E")
            .arg(&log)
            .arg("-S")
            .arg(dir.path().join("master"))
            .args(["-M", "-f", "-N", "-o", "ControlPersist=yes"]);
        match &self.password {
            Some(password) => {
                ssh.args(["-o", "NumberOfPasswordPrompts=1"]);
                give_password(&mut ssh, dir.path(), password).map_err(here)?;
            }
            None => {
                ssh.args(["-o", "BatchMode=yes"]);
            }
        }
        // Of two options with one name `ssh` takes the first: what makes it a master stands before the arguments of the
        // user, what is only a default behind them.
        ssh.args(&self.arguments)
            .arg("-o")
            .arg(format!("ConnectTimeout={timeout}"))
            .arg("-o")
            .arg(if self.checks_host_key {
                "StrictHostKeyChecking=yes"
            } else {
                "StrictHostKeyChecking=no"
            });
        if let Some(port) = self.port {
            ssh.arg("-p").arg(port.to_string());
        }
        if let Some(user) = &self.user {
            ssh.arg("-l").arg(user);
        }
        if let Some(key) = &self.key {
            // Whoever names a key means that one, and not the agent's.
            ssh.args(["-o", "IdentitiesOnly=yes", "-i"])
                .arg(at_home(key));
        }
        ssh.arg("--").arg(&self.address);
        let ended = ssh.output().await;
        for file in ["askpass", "password"] {
            // Not there without a password.
            let _ = fs::remove_file(dir.path().join(file));
        }
        let output = ended.map_err(|problem| {
            ModuleError::new(
                ErrorKind::Unreachable,
                format!("`ssh` cannot be started: {problem}"),
            )
            .hint("install the OpenSSH client")
        })?;
        if output.status.success() {
            return Ok(Session::new_native_mux(dir));
        }
        let log = fs::read_to_string(&log).unwrap_or_default();
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(self.failure(&format!("{log}\n{stderr}")))
    }

    /// A folder for the socket. The path of a socket may have 104 bytes on some systems: long folders of temporary
    /// files are no place for it.
    fn folder(&self) -> io::Result<TempDir> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("layerplay-ssh-");
        match &self.control_dir {
            Some(dir) => {
                fs::create_dir_all(dir)?;
                builder.tempdir_in(dir)
            }
            None => builder.tempdir_in("/tmp").or_else(|_| builder.tempdir()),
        }
    }

    /// What `ssh` said, without its banners.
    fn failure(&self, said: &str) -> ModuleError {
        let mut lines: Vec<&str> = said
            .lines()
            .map(str::trim)
            .filter(|line| {
                !line.is_empty()
                    && !line.starts_with("Warning: Permanently added")
                    && !line.starts_with("debug")
            })
            .collect();
        let skipped = lines.len().saturating_sub(4);
        lines.drain(..skipped);
        let address = &self.address;
        ModuleError::new(
            ErrorKind::Unreachable,
            // Ansible's words, which scripts look for.
            format!(
                "Failed to connect to the host via ssh: {}",
                if lines.is_empty() {
                    "ssh said nothing".to_owned()
                } else {
                    lines.join("; ")
                }
            ),
        )
        .hint(format!(
            "try `ssh {address}` by hand: key, user, port, and the host's key in `known_hosts`"
        ))
    }
}

/// Hands a password to `ssh` by a program that it asks (OpenSSH 8.4): never by an argument or the environment, which
/// others could read.
fn give_password(ssh: &mut Command, dir: &Path, password: &str) -> io::Result<()> {
    let write = |name: &str, mode: u32, text: &str| {
        let path = dir.join(name);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        Ok::<PathBuf, io::Error>(path)
    };
    write("password", 0o600, &format!("{password}\n"))?;
    ssh.env("SSH_ASKPASS", write("askpass", 0o700, ASKPASS)?)
        .env("SSH_ASKPASS_REQUIRE", "force");
    Ok(())
}

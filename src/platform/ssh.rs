//! Shells on other machines, over the user's own `ssh`: one connection a machine and run, shared by all its tasks.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use indexmap::IndexMap;
use layerplay_modules::command::missing_program;
use layerplay_modules::platform::{CommandOutput, CommandSpec, Shell, ShellOpener};
use layerplay_modules::{ErrorKind, ModuleError};
use openssh::{KnownHosts, Session, SessionBuilder, Stdio};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, OnceCell};
use tokio_util::sync::CancellationToken;

use super::privilege;
use crate::run::Become;

/// How long a machine may take to answer (Ansible's default).
const TIMEOUT: Duration = Duration::from_secs(10);

/// What tells one connection from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    address: String,
    user: Option<String>,
    port: Option<u16>,
    key: Option<String>,
    arguments: Vec<String>,
    checks_host_key: bool,
}

/// The connections of a run.
#[derive(Default)]
pub(super) struct Connections {
    open: Mutex<HashMap<Key, Arc<OnceCell<Arc<Session>>>>>,
}

fn text(variables: &IndexMap<String, Value>, name: &str) -> Option<String> {
    match variables.get(name)? {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

impl Key {
    fn new(address: &str, variables: &IndexMap<String, Value>) -> Result<Self, ModuleError> {
        if text(variables, "ansible_password").is_some() {
            return Err(ModuleError::new(
                ErrorKind::Argument,
                "`ansible_password` cannot be used: SSH is spoken with keys",
            )
            .hint("name a key with `ansible_ssh_private_key_file`, or load one into `ssh-agent`"));
        }
        let port = text(variables, "ansible_port")
            .map(|port| {
                port.parse().map_err(|_| {
                    ModuleError::argument(
                        "ansible_port",
                        format!("`ansible_port: {port}` is no port"),
                    )
                })
            })
            .transpose()?;
        let mut arguments = Vec::new();
        for name in ["ansible_ssh_common_args", "ansible_ssh_extra_args"] {
            let given = text(variables, name).unwrap_or_default();
            arguments.extend(shlex::split(&given).ok_or_else(|| {
                ModuleError::argument(
                    name,
                    format!("`{name}`: a quote is opened and never closed"),
                )
            })?);
        }
        let setting = text(variables, "ansible_host_key_checking")
            .or_else(|| std::env::var("ANSIBLE_HOST_KEY_CHECKING").ok());
        let is_off =
            |text: &String| matches!(text.to_lowercase().as_str(), "false" | "no" | "0" | "off");
        Ok(Self {
            address: address.to_owned(),
            user: text(variables, "ansible_user"),
            port,
            key: text(variables, "ansible_ssh_private_key_file"),
            arguments,
            checks_host_key: !setting.as_ref().is_some_and(is_off),
        })
    }

    async fn connect(&self) -> Result<Session, ModuleError> {
        let mut builder = SessionBuilder::default();
        builder.connect_timeout(TIMEOUT);
        builder.known_hosts_check(if self.checks_host_key {
            KnownHosts::Strict
        } else {
            KnownHosts::Accept
        });
        if let Some(user) = &self.user {
            builder.user(user.clone());
        }
        if let Some(port) = self.port {
            builder.port(port);
        }
        if let Some(key) = &self.key {
            let home = std::env::var("HOME").unwrap_or_default();
            builder.keyfile(
                key.strip_prefix("~/")
                    .map_or_else(|| key.clone(), |rest| format!("{home}/{rest}")),
            );
        }
        let mut words = self.arguments.iter();
        while let Some(word) = words.next() {
            // Only options in `ssh_config` form can be handed over: they are what inventories use these variables for.
            let option = word.strip_prefix("-o").map(|rest| {
                if rest.is_empty() {
                    words.next().cloned().unwrap_or_default()
                } else {
                    rest.to_owned()
                }
            });
            match option.as_deref().and_then(|option| option.split_once('=')) {
                Some(("UserKnownHostsFile", file)) => {
                    builder.user_known_hosts_file(file);
                }
                Some(("ProxyJump", _)) | None if word == "-J" || option.is_some() => {
                    let host = option
                        .as_deref()
                        .and_then(|option| option.split_once('='))
                        .map_or_else(
                            || words.next().cloned().unwrap_or_default(),
                            |(_, host)| host.to_owned(),
                        );
                    builder.jump_hosts([host]);
                }
                Some(("StrictHostKeyChecking", "no" | "off")) => {
                    builder.known_hosts_check(KnownHosts::Accept);
                }
                _ => {
                    return Err(ModuleError::new(
                        ErrorKind::Argument,
                        format!(
                            "`{word}` in the SSH arguments of `{}` is not supported",
                            self.address
                        ),
                    )
                    .hint("put it into `~/.ssh/config`, which is used as it is"));
                }
            }
        }
        builder.connect_mux(&self.address).await.map_err(|problem| {
            let mut said = problem.to_string();
            let mut source = std::error::Error::source(&problem);
            while let Some(inner) = source {
                let inner_text = inner.to_string();
                if !said.contains(&inner_text) {
                    said = format!("{said}: {inner_text}");
                }
                source = inner.source();
            }
            ModuleError::new(
                ErrorKind::Unreachable,
                format!(
                    "failed to connect to `{}` via ssh: {}",
                    self.address,
                    said.trim()
                ),
            )
            .hint(format!(
                "try `ssh {}` by hand: key, user, port, and the host's key in `known_hosts`",
                self.address
            ))
        })
    }
}

impl Connections {
    pub(super) async fn shell(
        &self,
        address: &str,
        variables: &IndexMap<String, Value>,
        privilege: Option<Become>,
        environment: IndexMap<String, String>,
        cancel: &CancellationToken,
    ) -> Result<Arc<dyn Shell>, ModuleError> {
        let key = Key::new(address, variables)?;
        let cell = {
            let mut open = self.open.lock().await;
            Arc::clone(open.entry(key.clone()).or_default())
        };
        let session = cell
            .get_or_try_init(|| async { key.connect().await.map(Arc::new) })
            .await?;
        Ok(Arc::new(Remote {
            session: Arc::clone(session),
            address: key
                .user
                .as_ref()
                .map_or_else(|| address.to_owned(), |user| format!("{user}@{address}")),
            privilege,
            environment,
            cancel: cancel.clone(),
        }))
    }

    /// Ends a connection. What still runs over it (a task beside the play) keeps it to its own end.
    pub(super) async fn reset(
        &self,
        address: &str,
        variables: &IndexMap<String, Value>,
    ) -> Result<(), ModuleError> {
        let key = Key::new(address, variables)?;
        let cell = self.open.lock().await.remove(&key);
        if let Some(cell) = cell {
            end(cell).await;
        }
        Ok(())
    }

    /// Ends all connections.
    pub(super) async fn close(&self) {
        let all = std::mem::take(&mut *self.open.lock().await);
        for cell in all.into_values() {
            end(cell).await;
        }
    }
}

async fn end(cell: Arc<OnceCell<Arc<Session>>>) {
    let session = Arc::try_unwrap(cell)
        .ok()
        .and_then(OnceCell::into_inner)
        .and_then(|session| Arc::try_unwrap(session).ok());
    if let Some(session) = session {
        // A connection that is gone already is what is wanted.
        let _ = session.close().await;
    }
}

struct Remote {
    session: Arc<Session>,
    address: String,
    privilege: Option<Become>,
    environment: IndexMap<String, String>,
    cancel: CancellationToken,
}

impl Remote {
    /// One line for the shell at the other end: folder, environment, privilege, command.
    fn line(&self, spec: &CommandSpec) -> Result<String, ModuleError> {
        let mut argv = vec!["env".to_owned()];
        let mut environment = self.environment.clone();
        environment.extend(spec.environment.clone());
        argv.extend(
            environment
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        if environment.is_empty() {
            argv.clear();
        }
        argv.extend(spec.argv.iter().cloned());
        let argv = privilege::wrap(argv, self.privilege.as_ref())?;
        let join = |words: &[String]| {
            shlex::try_join(words.iter().map(String::as_str)).map_err(|problem| {
                ModuleError::failed(format!("the command cannot be quoted: {problem}"))
            })
        };
        let command = join(&argv)?;
        let command = match &spec.chdir {
            Some(dir) => format!("cd {} && {command}", join(std::slice::from_ref(dir))?),
            None => command,
        };
        // The shell stays behind the command, and tells its end by a signal as 128 + n: SSH itself has no number for it
        // that could be told from a connection that was lost.
        Ok(format!("{command}; exit $?"))
    }
}

#[async_trait]
impl Shell for Remote {
    fn place(&self) -> String {
        format!("ssh {}", self.address)
    }

    async fn run(&self, mut spec: CommandSpec) -> Result<CommandOutput, ModuleError> {
        let line = self.line(&spec)?;
        spec.stdin = privilege::input(spec.stdin.take(), self.privilege.as_ref());
        let lost = |problem: &dyn std::fmt::Display| {
            ModuleError::new(
                ErrorKind::Unreachable,
                format!("the connection to `{}` was lost: {problem}", self.address),
            )
        };
        let mut command = self.session.raw_command(line);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if spec.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        });
        let mut child = command.spawn().await.map_err(|problem| lost(&problem))?;
        let (stdin, stdout, stderr) = (
            child.stdin().take(),
            child.stdout().take(),
            child.stderr().take(),
        );
        let feed = async {
            if let (Some(mut stdin), Some(text)) = (stdin, spec.stdin) {
                // A program that does not read its input closes it: that is its right.
                let _ = stdin.write_all(&text).await;
                let _ = stdin.shutdown().await;
            }
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let work = async {
            let read_out = async {
                match stdout {
                    Some(mut stream) => stream.read_to_end(&mut out).await.map(|_| ()),
                    None => Ok(()),
                }
            };
            let read_err = async {
                match stderr {
                    Some(mut stream) => stream.read_to_end(&mut err).await.map(|_| ()),
                    None => Ok(()),
                }
            };
            let ((), read_out, read_err) = tokio::join!(feed, read_out, read_err);
            read_out.and(read_err).map_err(|problem| lost(&problem))?;
            match child.wait().await {
                Ok(status) => Ok(Some(status)),
                // Status 127: the shell at the other end has not found the program.
                Err(openssh::Error::Remote(_)) => Ok(None),
                Err(problem) => Err(lost(&problem)),
            }
        };
        let status = tokio::select! {
            status = work => status?,
            () = self.cancel.cancelled() => {
                return Err(ModuleError::new(ErrorKind::Cancelled, format!("a command on `{}` was left: the run was interrupted", self.address)));
            }
        };
        let rc = status.map_or(127, |status| {
            status
                .code()
                .or_else(|| status.signal().map(|signal| 128 + signal))
                .unwrap_or(-1)
        });
        let said = String::from_utf8_lossy(&err);
        // Either the shell says so or, where there is an environment to set, `env`.
        if let (127, Some(program)) = (rc, spec.argv.first())
            && program != "/bin/sh"
            && said.contains(program)
            && (said.contains("not found") || said.contains("No such file"))
        {
            return Err(missing_program(program, &self.address));
        }
        Ok(CommandOutput {
            rc,
            stdout: out,
            stderr: err,
        })
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, ModuleError> {
        read_by_command(self, path).await
    }

    async fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<(), ModuleError> {
        write_by_command(self, path, content, mode).await
    }
}

fn script(text: &str, arguments: &[&str]) -> Vec<String> {
    ["/bin/sh", "-c", text, "sh"]
        .iter()
        .chain(arguments)
        .map(ToString::to_string)
        .collect()
}

/// Reads with `cat`: a POSIX shell is all that is needed.
pub(super) async fn read_by_command(shell: &dyn Shell, path: &str) -> Result<Vec<u8>, ModuleError> {
    let output = shell
        .run(CommandSpec {
            argv: script("[ -e \"$1\" ] || exit 44; exec cat -- \"$1\"", &[path]),
            ..CommandSpec::default()
        })
        .await?;
    match output.rc {
        0 => Ok(output.stdout),
        44 => Err(ModuleError::new(
            ErrorKind::NotFound,
            format!("`{path}`: no such file on {}", shell.place()),
        )),
        _ => Err(ModuleError::failed(format!(
            "`{path}` cannot be read on {}: {}",
            shell.place(),
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}

/// Writes beside the target and renames.
pub(super) async fn write_by_command(
    shell: &dyn Shell,
    path: &str,
    content: &[u8],
    mode: u32,
) -> Result<(), ModuleError> {
    let text = "umask 077; t=$(mktemp \"$1.XXXXXX\") || exit 1; if cat > \"$t\" && chmod \"$2\" \"$t\" && mv -f -- \"$t\" \"$1\"; then :; else rm -f -- \"$t\"; exit 1; fi";
    let output = shell
        .run(CommandSpec {
            argv: script(text, &[path, &format!("{mode:o}")]),
            stdin: Some(content.to_vec()),
            ..CommandSpec::default()
        })
        .await?;
    if output.rc == 0 {
        return Ok(());
    }
    Err(ModuleError::failed(format!(
        "`{path}` cannot be written on {}: {}",
        shell.place(),
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

/// Opens shells on machines that the inventory does not list: nodes by their address.
pub(super) struct Opener {
    pub(super) connections: Arc<Connections>,
    pub(super) cancel: CancellationToken,
}

#[async_trait]
impl ShellOpener for Opener {
    async fn ssh(
        &self,
        address: &str,
        connection: &IndexMap<String, Value>,
    ) -> Result<Arc<dyn Shell>, ModuleError> {
        self.connections
            .shell(address, connection, None, IndexMap::new(), &self.cancel)
            .await
    }
}

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
use openssh::{Session, Stdio};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::privilege;
use super::ssh_master::Target;
use crate::run::Become;

/// The connections of a run.
#[derive(Default)]
pub(super) struct Connections {
    open: Mutex<HashMap<Target, Arc<Link>>>,
}

/// The connection to one machine. One that is lost is made anew when it is needed again.
struct Link {
    target: Target,
    session: Mutex<Option<Arc<Session>>>,
}

impl Link {
    async fn session(&self) -> Result<Arc<Session>, ModuleError> {
        let mut open = self.session.lock().await;
        if let Some(session) = &*open {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(self.target.connect(None).await?);
        *open = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Forgets a connection that is lost, unless there is a new one already.
    async fn forget(&self, lost: &Arc<Session>) {
        let mut open = self.session.lock().await;
        if open
            .as_ref()
            .is_some_and(|session| Arc::ptr_eq(session, lost))
        {
            *open = None;
        }
    }

    async fn end(&self) {
        let session = self.session.lock().await.take();
        if let Some(session) = session.and_then(Arc::into_inner) {
            // A connection that is gone already is what is wanted.
            let _ = session.close().await;
        }
    }

    async fn reconnect(&self, within: Duration) -> Result<(), ModuleError> {
        let mut open = self.session.lock().await;
        if let Some(session) = open.take().and_then(Arc::into_inner) {
            // What is behind it may be gone, and not answer.
            let _ = tokio::time::timeout(within, session.close()).await;
        }
        *open = Some(Arc::new(self.target.connect(Some(within)).await?));
        Ok(())
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
        let target = Target::new(address, variables)?;
        let link = {
            let mut open = self.open.lock().await;
            let new = || {
                Arc::new(Link {
                    target: target.clone(),
                    session: Mutex::default(),
                })
            };
            Arc::clone(open.entry(target.clone()).or_insert_with(new))
        };
        link.session().await?;
        Ok(Arc::new(Remote {
            link,
            address: target
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
        let target = Target::new(address, variables)?;
        let link = self.open.lock().await.remove(&target);
        if let Some(link) = link {
            link.end().await;
        }
        Ok(())
    }

    /// Ends all connections.
    pub(super) async fn close(&self) {
        let all = std::mem::take(&mut *self.open.lock().await);
        for link in all.into_values() {
            link.end().await;
        }
    }
}

struct Remote {
    link: Arc<Link>,
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

    async fn run(&self, spec: CommandSpec) -> Result<CommandOutput, ModuleError> {
        let session = self.link.session().await?;
        let done = self.run_on(&session, spec).await;
        if matches!(&done, Err(problem) if problem.kind == ErrorKind::Unreachable) {
            self.link.forget(&session).await;
        }
        done
    }

    fn reconnects(&self) -> bool {
        true
    }

    async fn reconnect(&self, within: Duration) -> Result<(), ModuleError> {
        self.link.reconnect(within).await
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, ModuleError> {
        read_by_command(self, path).await
    }

    async fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<(), ModuleError> {
        write_by_command(self, path, content, mode).await
    }
}

impl Remote {
    async fn run_on(
        &self,
        session: &Session,
        mut spec: CommandSpec,
    ) -> Result<CommandOutput, ModuleError> {
        let line = self.line(&spec)?;
        spec.stdin = privilege::input(spec.stdin.take(), self.privilege.as_ref());
        let lost = |problem: &dyn std::fmt::Display| {
            ModuleError::new(
                ErrorKind::Unreachable,
                format!("the connection to `{}` was lost: {problem}", self.address),
            )
        };
        let mut command = session.raw_command(line);
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

//! The shell of this machine.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use async_trait::async_trait;
use indexmap::IndexMap;
use layerplay_modules::command;
use layerplay_modules::platform::{CommandOutput, CommandSpec, Shell};
use layerplay_modules::{ErrorKind, ModuleError};
use tokio_util::sync::CancellationToken;

use super::privilege;
use crate::run::Become;

pub(super) struct Local {
    pub(super) privilege: Option<Become>,
    pub(super) environment: IndexMap<String, String>,
    pub(super) cancel: CancellationToken,
}

fn told(path: &str, problem: &std::io::Error) -> ModuleError {
    let kind = match problem.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::PermissionDenied => ErrorKind::Forbidden,
        _ => ErrorKind::Failed,
    };
    ModuleError::new(kind, format!("`{path}`: {problem}"))
}

#[async_trait]
impl Shell for Local {
    fn place(&self) -> String {
        "this machine".to_owned()
    }

    async fn run(&self, mut spec: CommandSpec) -> Result<CommandOutput, ModuleError> {
        let mut environment = self.environment.clone();
        environment.extend(std::mem::take(&mut spec.environment));
        if self.privilege.is_some() {
            spec.stdin = privilege::input(spec.stdin, self.privilege.as_ref());
            // `sudo` clears the environment: it is set again behind it.
            let mut argv = vec!["env".to_owned()];
            argv.extend(
                environment
                    .iter()
                    .map(|(name, value)| format!("{name}={value}")),
            );
            argv.append(&mut spec.argv);
            spec.argv = privilege::wrap(argv, self.privilege.as_ref())?;
        } else {
            spec.environment = environment;
        }
        command::run(spec, &self.cancel).await
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, ModuleError> {
        if self.privilege.is_none() {
            return tokio::fs::read(path)
                .await
                .map_err(|problem| told(path, &problem));
        }
        super::ssh::read_by_command(self, path).await
    }

    async fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<(), ModuleError> {
        if self.privilege.is_some() {
            return super::ssh::write_by_command(self, path, content, mode).await;
        }
        let (path, content) = (path.to_owned(), content.to_vec());
        let done = tokio::task::spawn_blocking(move || {
            let dir = Path::new(&path)
                .parent()
                .filter(|dir| !dir.as_os_str().is_empty())
                .unwrap_or(Path::new("."));
            let write = || -> std::io::Result<()> {
                let mut file = tempfile::NamedTempFile::new_in(dir)?;
                file.write_all(&content)?;
                file.as_file()
                    .set_permissions(std::fs::Permissions::from_mode(mode))?;
                file.as_file().sync_all()?;
                file.persist(&path).map_err(|problem| problem.error)?;
                Ok(())
            };
            write().map_err(|problem| told(&path, &problem))
        });
        done.await
            .map_err(|problem| ModuleError::failed(format!("writing stopped: {problem}")))?
    }

    fn is_local(&self) -> bool {
        self.privilege.is_none()
    }
}

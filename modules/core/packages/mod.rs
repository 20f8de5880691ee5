//! Packages of the host. In: packages as they should be; out: what the host's package manager did. What would change is
//! asked of the manager itself, which plays it through without doing it.

mod apt;
mod dnf;
mod package;

pub use apt::Apt;
pub use dnf::Dnf;
pub use package::Package;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::host;
use crate::error::{ErrorKind, ModuleError};
use crate::platform::{CommandOutput, Platform};

/// How packages should be.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Present,
    /// The same as `present`.
    Installed,
    /// As new as the repositories have it.
    Latest,
    Absent,
    /// The same as `absent`.
    Removed,
}

impl State {
    fn is_absent(self) -> bool {
        matches!(self, Self::Absent | Self::Removed)
    }
}

/// Runs a program with its words, speaking English and asking nothing.
const RUN: &str = r#"LC_ALL=C DEBIAN_FRONTEND=noninteractive; export LC_ALL DEBIAN_FRONTEND
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH
exec "$@""#;

async fn run(platform: &Platform, words: &[String]) -> Result<CommandOutput, ModuleError> {
    host::script(platform, RUN, words, None).await
}

/// Both outputs of a program.
struct Said {
    rc: i32,
    stdout: String,
    stderr: String,
}

impl From<CommandOutput> for Said {
    fn from(output: CommandOutput) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        Self {
            rc: output.rc,
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

impl Said {
    fn has(&self, text: &str) -> bool {
        self.stdout.contains(text) || self.stderr.contains(text)
    }

    /// Why the manager failed. The last lines are the ones that say it.
    fn error(&self, manager: &str, msg: &str) -> ModuleError {
        let said = if self.stderr.is_empty() {
            &self.stdout
        } else {
            &self.stderr
        };
        let is_denied =
            self.has("superuser") || self.has("ermission denied") || self.has("are you root");
        let kind = if is_denied {
            ErrorKind::Forbidden
        } else {
            ErrorKind::Failed
        };
        let mut lines: Vec<&str> = said.lines().rev().take(5).collect();
        lines.reverse();
        let error = ModuleError::new(kind, format!("{msg}: {}", lines.join("\n")))
            .with("rc", self.rc)
            .with("stdout", self.stdout.as_str())
            .with("stderr", self.stderr.as_str());
        error.hint(if is_denied {
            "`become: true` does it as root".to_owned()
        } else {
            format!("`{manager}` on the host said this; `stdout` and `stderr` of the result have all of it")
        })
    }
}

/// A host whose packages are those of its image.
fn image_based(manager: &str) -> ModuleError {
    ModuleError::new(
        ErrorKind::Preflight,
        format!("this host is made of an image (rpm-ostree): `{manager}` cannot change its packages"),
    )
    .hint("build a layer that has them with `layered_image` (`RUN dnf install ...`), and roll it out with `apply_layer`")
}

fn missing_manager(place: &str, which: &str) -> ModuleError {
    ModuleError::new(
        ErrorKind::MissingProgram,
        format!("{place} has no package manager that is known here: {which}"),
    )
    .hint("use `command` with the host's own package manager")
}

/// The names, without spaces around them. What begins with `-` would be an option.
fn names(given: &[String]) -> Result<Vec<String>, ModuleError> {
    let mut all: Vec<String> = Vec::new();
    for name in given.iter().map(|name| name.trim()) {
        if name.starts_with('-') || name.contains(['\n', '\0']) {
            return Err(ModuleError::argument(
                "name",
                format!("`{name}` is no name of a package"),
            ));
        }
        if !name.is_empty() && !all.iter().any(|known| known == name) {
            all.push(name.to_owned());
        }
    }
    Ok(all)
}

/// What a list of names is shown as.
fn shown(names: &[String]) -> Value {
    json!(names)
}

//! In: a script and its arguments. Out: what it said. The words are the script's data, never part of it.

use crate::error::{ErrorKind, ModuleError};
use crate::platform::{CommandOutput, CommandSpec, Platform};

/// Runs a script of a POSIX shell on the host.
pub(in crate::core) async fn run(
    platform: &Platform,
    text: &str,
    arguments: &[String],
    stdin: Option<Vec<u8>>,
) -> Result<CommandOutput, ModuleError> {
    let mut argv: Vec<String> = ["/bin/sh", "-c", text, "sh"].map(str::to_owned).to_vec();
    argv.extend_from_slice(arguments);
    let spec = CommandSpec {
        argv,
        stdin,
        ..CommandSpec::default()
    };
    platform.shell()?.run(spec).await
}

/// What a script's failure means, by what its tools say (they speak English: the scripts set `LC_ALL`).
pub(super) fn kind(said: &str) -> ErrorKind {
    if said.contains("ermission denied") || said.contains("not permitted") {
        ErrorKind::Forbidden
    } else if said.contains("No such file") {
        ErrorKind::NotFound
    } else {
        ErrorKind::Failed
    }
}

/// The same for the file system of this machine.
pub(super) fn io_kind(problem: &std::io::Error) -> ErrorKind {
    match problem.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::PermissionDenied => ErrorKind::Forbidden,
        _ => ErrorKind::Failed,
    }
}

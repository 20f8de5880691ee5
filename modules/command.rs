//! Child processes on this machine: the one place that spawns. In: argv, environment, stdin; out: status and output.
//!
//! A child never outlives its task: it is killed when the run is cancelled, and when the future that waits for it is
//! dropped.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::error::{ErrorKind, ModuleError};
use crate::platform::{CommandOutput, CommandSpec};

/// Runs a program to its end. A status that is not 0 is an answer, not an error.
pub async fn run(
    spec: CommandSpec,
    cancel: &CancellationToken,
) -> Result<CommandOutput, ModuleError> {
    run_with(spec, cancel, |_| ()).await
}

/// Runs a program and hands on every line of its standard error and standard output as it comes, for builders that
/// take minutes. The whole output is returned as well.
pub async fn run_with(
    spec: CommandSpec,
    cancel: &CancellationToken,
    on_line: impl Fn(&str) + Send + Sync,
) -> Result<CommandOutput, ModuleError> {
    let name = spec.argv.first().cloned().unwrap_or_default();
    let mut child = spawn(&spec)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        // A program that does not read its input closes it: that is its right.
        if let (Some(mut stdin), Some(text)) = (stdin, &spec.stdin) {
            let _ = stdin.write_all(text).await;
        }
    };
    let work = async {
        let ((), stdout, stderr) =
            tokio::join!(feed, collect(stdout, &on_line), collect(stderr, &on_line));
        let status = child.wait().await?;
        Ok::<_, std::io::Error>(CommandOutput {
            rc: code(status),
            stdout: stdout?,
            stderr: stderr?,
        })
    };
    let done = tokio::select! {
        done = work => Some(done),
        () = cancel.cancelled() => None,
    };
    match done {
        Some(Ok(output)) => Ok(output),
        Some(Err(problem)) => Err(ModuleError::failed(format!("`{name}`: {problem}"))),
        None => {
            // Also done by the drop; waiting for it leaves nothing behind that still writes.
            let _ = child.kill().await;
            Err(ModuleError::new(
                ErrorKind::Cancelled,
                format!("`{name}` was stopped: the run was interrupted"),
            ))
        }
    }
}

fn spawn(spec: &CommandSpec) -> Result<Child, ModuleError> {
    let Some((program, arguments)) = spec.argv.split_first() else {
        return Err(ModuleError::new(ErrorKind::Argument, "no command given"));
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(&spec.environment)
        .stdin(if spec.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if let Some(dir) = &spec.chdir {
        // Without this look, a missing folder is reported as a missing program.
        if !Path::new(dir).is_dir() {
            return Err(ModuleError::new(
                ErrorKind::NotFound,
                format!("cannot run in `{dir}`: no such folder"),
            ));
        }
        command.current_dir(dir);
    }
    command.spawn().map_err(|problem| match problem.kind() {
        std::io::ErrorKind::NotFound => missing_program(program, "this machine"),
        std::io::ErrorKind::PermissionDenied => ModuleError::new(
            ErrorKind::Forbidden,
            format!("`{program}` may not be executed: {problem}"),
        ),
        _ => ModuleError::failed(format!("`{program}` could not be started: {problem}")),
    })
}

/// The error for a program that is not there, as results of `command` have it.
pub fn missing_program(program: &str, place: &str) -> ModuleError {
    ModuleError::new(
        ErrorKind::MissingProgram,
        format!("`{program}` is not installed, or not in `PATH`"),
    )
    .hint(format!(
        "install `{program}` on {place}, or give its full path"
    ))
    .with("rc", 2)
}

async fn collect(
    stream: Option<impl AsyncRead + Unpin>,
    on_line: &impl Fn(&str),
) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let Some(stream) = stream else { return Ok(all) };
    let mut reader = BufReader::new(stream);
    loop {
        let start = all.len();
        // A line without an end (a progress bar, binary data) is read in pieces, so that memory is all it costs.
        let read = (&mut reader)
            .take(1 << 16)
            .read_until(b'\n', &mut all)
            .await?;
        if read == 0 {
            return Ok(all);
        }
        on_line(String::from_utf8_lossy(&all[start..]).trim_end());
    }
}

/// The exit status, or 128 + n for a signal, as a shell tells it.
fn code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn shell(text: &str) -> CommandSpec {
        CommandSpec {
            argv: ["/bin/sh", "-c", text].map(str::to_owned).to_vec(),
            ..CommandSpec::default()
        }
    }

    #[tokio::test]
    async fn output_status_input_and_environment_arrive_whole() {
        let mut spec = shell("cat; printf %s \"$WORD\" >&2; exit 3");
        // More than a pipe holds, so that feeding and reading must go on together.
        let input = vec![b'x'; 1 << 20];
        spec.stdin = Some(input.clone());
        spec.environment
            .insert("WORD".to_owned(), "a b; $(id)".to_owned());
        let output = run(spec, &CancellationToken::new()).await.unwrap();
        assert_eq!((output.rc, output.stdout == input), (3, true));
        assert_eq!(output.stderr, b"a b; $(id)");
    }

    #[tokio::test]
    async fn a_signal_is_told_as_a_shell_tells_it() {
        let output = run(shell("kill -9 $$"), &CancellationToken::new())
            .await
            .unwrap();
        assert_eq!(output.rc, 137);
    }

    #[tokio::test]
    async fn missing_programs_and_folders_are_told_apart() {
        let spec = CommandSpec {
            argv: vec!["no-such-program".to_owned()],
            ..CommandSpec::default()
        };
        let missing = run(spec.clone(), &CancellationToken::new())
            .await
            .unwrap_err();
        assert_eq!(missing.kind, ErrorKind::MissingProgram);
        let elsewhere = CommandSpec {
            chdir: Some("/no/such/folder".to_owned()),
            ..spec
        };
        assert_eq!(
            run(elsewhere, &CancellationToken::new())
                .await
                .unwrap_err()
                .kind,
            ErrorKind::NotFound
        );
    }

    #[tokio::test]
    async fn lines_come_while_it_runs_and_an_interrupt_kills_it() {
        let cancel = CancellationToken::new();
        let lines = Mutex::new(Vec::new());
        // The first line is the sign that it runs; `exec` makes the sleeper the very process that is killed.
        let stopped = run_with(shell("echo $$; exec sleep 600"), &cancel, |line| {
            lines.lock().unwrap().push(line.to_owned());
            cancel.cancel();
        })
        .await
        .unwrap_err();
        assert_eq!(stopped.kind, ErrorKind::Cancelled);
        let pid = lines.lock().unwrap()[0].clone();
        assert!(!Path::new("/proc").join(pid).exists(), "the child is gone");
    }
}

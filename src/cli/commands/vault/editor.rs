//! Plain text in front of a person. In: bytes. Out: what an editor made of them. The text is in a folder of its own that
//! nobody else can enter, and is overwritten and removed whatever happens; signals do not end the process meanwhile.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::files::{overwrite, write};
use super::{STANDARD, Wipe};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};

/// A folder with plain text; all files in it are overwritten at its end, those of the editor too.
struct Plain(tempfile::TempDir);

impl Drop for Plain {
    fn drop(&mut self) {
        for entry in fs::read_dir(self.0.path()).into_iter().flatten().flatten() {
            let size = entry.metadata().map_or(0, |meta| meta.len());
            if let Ok(file) = fs::OpenOptions::new().write(true).open(entry.path()) {
                // The folder is removed in any case.
                let _ = overwrite(file, size);
            }
        }
    }
}

/// Signals that would end the process before the plain text is gone: they reach the editor, and nothing else.
struct Held {
    _runtime: tokio::runtime::Runtime,
    _signals: Vec<Signal>,
}

impl Held {
    fn new() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let signals = {
            let _inside = runtime.enter();
            [
                SignalKind::interrupt(),
                SignalKind::terminate(),
                SignalKind::hangup(),
                SignalKind::quit(),
            ]
            .into_iter()
            .map(signal)
            .collect::<std::io::Result<Vec<Signal>>>()?
        };
        Ok(Self {
            _runtime: runtime,
            _signals: signals,
        })
    }
}

fn failed(message: String) -> Diagnostics {
    Diagnostic::error(Code::COMMAND_LINE, message).into()
}

/// Lets the person change bytes. The ending of the name tells the editor what they are.
pub(super) fn edit(name: &Path, bytes: &[u8]) -> Result<Vec<u8>, Diagnostics> {
    let program = ["ANSIBLE_EDITOR", "EDITOR"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
        .unwrap_or_else(|| "vi".to_owned());
    let words = shlex::split(&program)
        .filter(|words| !words.is_empty())
        .ok_or_else(|| failed(format!("the editor `{program}` is no command")))?;
    let told = |problem: std::io::Error| failed(format!("the text cannot be edited: {problem}"));
    let _held = Held::new().map_err(told)?;
    let mut builder = tempfile::Builder::new();
    builder.prefix("vault-");
    // In memory where there is such a place.
    let memory = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_dir());
    let folder = memory
        .and_then(|dir| builder.tempdir_in(dir).ok())
        .map_or_else(|| builder.tempdir(), Ok)
        .map_err(told)?;
    let plain = Plain(folder);
    let ending = name
        .extension()
        .map(|ending| format!(".{}", ending.to_string_lossy()))
        .unwrap_or_default();
    let path = plain.0.path().join(format!("text{ending}"));
    write(&path, bytes, Wipe::No)?;
    let status = Command::new(&words[0])
        .args(&words[1..])
        .arg(&path)
        .status()
        .map_err(|problem| failed(format!("the editor `{program}` cannot be run: {problem}")))?;
    if !status.success() {
        return Err(failed(format!(
            "the editor `{program}` failed ({status}); nothing was written"
        )));
    }
    fs::read(&path).map_err(told)
}

/// Shows bytes: page by page on a terminal.
pub(super) fn show(bytes: &[u8]) -> Result<(), Diagnostics> {
    if std::io::stdout().is_terminal() {
        let pager = std::env::var("PAGER")
            .ok()
            .filter(|pager| !pager.is_empty())
            .unwrap_or_else(|| "less".to_owned());
        let started = Command::new("sh")
            .args(["-c", &pager])
            .env(
                "LESS",
                std::env::var("LESS").unwrap_or_else(|_| "FRSX".to_owned()),
            )
            .stdin(Stdio::piped())
            .spawn();
        if let Ok(mut child) = started {
            if let Some(mut stdin) = child.stdin.take() {
                // Who has seen enough closes it.
                let _ = stdin.write_all(bytes);
            }
            if child.wait().is_ok_and(|status| status.code() != Some(127)) {
                return Ok(());
            }
        }
    }
    write(Path::new(STANDARD), bytes, Wipe::No)
}

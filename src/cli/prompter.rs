//! Questions to the person at the terminal. In: whether the answer may be seen; out: one line, without its end. The
//! question itself is printed by a reporter; before a run, by the printer.

use std::io::{self, BufRead, IsTerminal};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

use super::printer;

/// Whether somebody can answer.
pub(in crate::cli) fn is_interactive() -> bool {
    io::stdin().is_terminal()
}

/// Shows what is typed again, whatever happened meanwhile.
struct Echo(Termios);

impl Echo {
    fn off() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // A terminal that is gone needs no mending.
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.0);
    }
}

/// Asks for something that is not shown, before a run has begun. Ctrl-C is an error, so that the terminal is put right.
pub(in crate::cli) fn ask_hidden(question: &str) -> io::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let echo = is_interactive().then(Echo::off).transpose()?;
        printer::question(question);
        let reads = tokio::task::spawn_blocking(|| ask(false));
        let answer = tokio::select! {
            answer = reads => answer.unwrap_or_else(|problem| Err(io::Error::other(problem))),
            _ = interrupt.recv() => Err(io::ErrorKind::Interrupted.into()),
        };
        if echo.is_some() {
            printer::err("");
        }
        answer
    });
    // The thread that reads cannot be stopped, and need not be waited for.
    runtime.shutdown_background();
    answer
}

/// Reads an answer; `hidden` for passwords.
pub(in crate::cli) fn ask(hidden: bool) -> io::Result<String> {
    let _echo = if hidden && is_interactive() {
        Some(Echo::off()?)
    } else {
        None
    };
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// The terminal of a run.
pub(in crate::cli) struct Terminal;

impl crate::run::Ask for Terminal {
    fn is_interactive(&self) -> bool {
        is_interactive()
    }

    fn ask(&self, hidden: bool) -> io::Result<String> {
        ask(hidden)
    }
}

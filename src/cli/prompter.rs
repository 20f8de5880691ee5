//! Questions to the person at the terminal. In: whether the answer may be seen; out: one line, without its end. The
//! question itself is printed by a reporter.

use std::io::{self, BufRead, IsTerminal};

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

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

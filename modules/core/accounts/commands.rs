//! In: commands of shadow-utils. Out: what they said. One script runs them in order, and only while the account is as it
//! was when they were chosen; the first that fails ends it.

use super::super::host;
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// A line of a database that must not have changed.
pub(super) struct Seen<'a> {
    pub(super) database: &'a str,
    pub(super) name: &'a str,
    /// Empty when there was none.
    pub(super) line: String,
    /// Of `/etc`, and not of other databases.
    pub(super) local: bool,
}

/// What all commands printed.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// `line DATABASE NAME` prints the line of an account, of `/etc` alone with `$local`.
pub(super) const LINE: &str = r#"LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH
pick() { while IFS= read -r l || [ -n "$l" ]; do case $l in "$1":*) printf '%s\n' "$l"; break ;; esac; done; }
line() {
if [ -z "$local" ] && command -v getent >/dev/null 2>&1; then getent "$1" "$2" 2>/dev/null | pick "$2"
elif [ -r "/etc/$1" ]; then pick "$2" < "/etc/$1"; fi; }
"#;

/// Words: `local` or nothing, database, name, the line as seen; then each command with the number of its words before it.
/// Standard input is for the command that begins with `<`.
const RUN: &str = r#"local=$1 d=$2 n=$3 seen=$4; shift 4
[ "$(line "$d" "$n")" = "$seen" ] || exit 92
while [ $# -gt 0 ]; do
c=$1; shift
input=; if [ "$1" = '<' ]; then input=y; shift; c=$((c - 1)); fi
command -v "$1" >/dev/null 2>&1 || { printf '\001%s' "$1"; exit 90; }
run() { i=0; while [ "$i" -lt "$c" ]; do set -- "$@" "$1"; shift; i=$((i + 1)); done; shift $(($# - c)); "$@"; }
if [ -n "$input" ]; then run "$@"; else run "$@" </dev/null; fi || { printf '\001%s' "$?"; exit 93; }
shift "$c"
done"#;

/// The word before a command that reads standard input.
pub(super) const INPUT: &str = "<";

/// Runs the commands.
pub(super) async fn run(
    platform: &Platform,
    seen: &Seen<'_>,
    commands: &[Vec<String>],
    input: Option<String>,
) -> Result<Said, ModuleError> {
    let mut words = vec![
        if seen.local { "local" } else { "" }.to_owned(),
        seen.database.to_owned(),
        seen.name.to_owned(),
        seen.line.clone(),
    ];
    for command in commands {
        words.push(command.len().to_string());
        words.extend_from_slice(command);
    }
    let script = format!("{LINE}{RUN}");
    let input = input.map(String::into_bytes);
    let output = host::script(platform, &script, &words, input).await?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let (said, end) = stdout.rsplit_once('\u{1}').unwrap_or((&stdout, ""));
    let place = platform.shell()?.place();
    let name = seen.name;
    match output.rc {
        0 => Ok(Said {
            stdout: stdout.clone(),
            stderr,
        }),
        90 => Err(ModuleError::lacks(&place, end)
            .hint("shadow-utils must be installed there, or libuser for `local: true`")),
        92 => Err(ModuleError::new(
            ErrorKind::Conflict,
            format!("`{name}` changed since it was looked at; it was left as it is"),
        )
        .hint("something else writes it: run the task again")),
        rc => {
            let rc = end.parse().unwrap_or(rc);
            let denied = stderr.contains("ermission denied") || stderr.contains("cannot lock");
            let kind = if denied {
                ErrorKind::Forbidden
            } else {
                ErrorKind::Failed
            };
            let error = ModuleError::new(kind, stderr.clone())
                .with("name", name)
                .with("rc", rc)
                .with("stdout", said.trim())
                .with("stderr", stderr);
            Err(if denied {
                error.hint("`become: true` does it as root")
            } else {
                error
            })
        }
    }
}

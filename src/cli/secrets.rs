//! Passwords of vaults. In: the options and the settings. Out: a keyring, with files read, executables run and the
//! person asked.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::args::VaultOptions;
use super::settings::{Settings, resolve};
use super::{printer, prompter};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::vault::{Keyring, Password, Secret, is_vault};

/// The exit code by which a client script says that it does not know a vault id.
const UNKNOWN_ID: i32 = 2;

/// What passwords are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Purpose {
    /// Nothing may be encrypted at all: only what the options name.
    Run,
    /// Something must be opened: without any option the person is asked.
    Open,
    /// Something is encrypted: a new password is asked for twice.
    Seal,
}

/// Where passwords come from: the options and the settings.
pub(in crate::cli) struct Vaults<'s>(pub(in crate::cli) &'s Settings);

impl Vaults<'_> {
    /// The label of secrets that are given without one.
    fn own_label(&self) -> String {
        self.0.vault_identity.value.clone()
    }

    /// The vault id to encrypt with, when several are given.
    pub(in crate::cli) fn encrypt_label(&self, option: Option<&str>) -> Option<String> {
        option
            .map(ToOwned::to_owned)
            .or_else(|| self.0.vault_encrypt_identity.value.clone())
    }

    /// Vault ids that are always there.
    pub(in crate::cli) fn listed(&self) -> Vec<String> {
        self.0.vault_identity_list.value.clone()
    }

    /// The vault id of a file that is given without one.
    pub(in crate::cli) fn in_file(&self, file: &str) -> String {
        format!("{}@{file}", self.own_label())
    }

    /// The keyring of a run.
    pub(in crate::cli) fn keyring(&self, options: &VaultOptions) -> Result<Keyring, Diagnostics> {
        self.secrets(options, Purpose::Run)
            .map(|secrets| self.of(secrets))
    }

    /// A keyring as the settings want it.
    pub(in crate::cli) fn of(&self, secrets: Vec<Secret>) -> Keyring {
        Keyring::new(secrets, self.0.vault_id_match.value)
    }

    /// All secrets in their order: the settings' list, `--vault-id`, files, then the question.
    pub(in crate::cli) fn secrets(
        &self,
        options: &VaultOptions,
        purpose: Purpose,
    ) -> Result<Vec<Secret>, Diagnostics> {
        let mut ids = self.listed();
        ids.extend(options.vault_ids.iter().cloned());
        let files = options.vault_password_files.iter().cloned().chain(
            self.0
                .vault_password_file
                .iter()
                .map(|file| file.display().to_string()),
        );
        ids.extend(files.map(|file| self.in_file(&file)));
        let asks = options.ask_vault_pass || self.0.ask_vault_pass.value;
        self.gather(&ids, asks, purpose)
    }

    /// The secrets of some vault ids.
    pub(in crate::cli) fn gather(
        &self,
        ids: &[String],
        asks: bool,
        purpose: Purpose,
    ) -> Result<Vec<Secret>, Diagnostics> {
        let mut secrets: Vec<Secret> = Vec::new();
        let mut problems = Diagnostics::default();
        for id in ids {
            if id.contains(';') {
                return Err(wrong(format!("`{id}` is no vault id: `;` cannot be in one")).into());
            }
            let (given, from) = id
                .split_once('@')
                .map_or((None, id.as_str()), |(label, from)| (Some(label), from));
            let label = given
                .filter(|label| !label.is_empty())
                .map_or_else(|| self.own_label(), ToOwned::to_owned);
            let password = if matches!(from, "prompt" | "prompt_ask_vault_pass") {
                Some(question(&format!("Vault password ({label}): "), purpose)?)
            } else {
                match self.password_of(from, given, &secrets) {
                    Ok(password) => Some(password),
                    Err(problem) => {
                        problems.push(problem);
                        None
                    }
                }
            };
            secrets.extend(password.map(|password| Secret { label, password }));
        }
        if asks || (ids.is_empty() && purpose != Purpose::Run) {
            secrets.push(Secret {
                label: self.own_label(),
                password: question("Vault password: ", purpose)?,
            });
        }
        if secrets.is_empty() && !problems.is_empty() {
            return Err(problems);
        }
        // As long as another secret is there, a missing one may not matter.
        for problem in problems.0 {
            printer::err(&format!("warning: {}", problem.message));
        }
        Ok(secrets)
    }

    /// The password in a file, or that an executable prints.
    fn password_of(
        &self,
        name: &str,
        label: Option<&str>,
        known: &[Secret],
    ) -> Result<Password, Diagnostic> {
        let path = resolve(name, &std::env::current_dir().unwrap_or_default());
        let shown = path.display();
        let fail = |what: String| wrong(format!("the vault password file `{shown}` {what}"));
        let meta = std::fs::metadata(&path)
            .map_err(|problem| fail(format!("cannot be read: {problem}")))?;
        if meta.is_dir() {
            return Err(fail("is a folder".to_owned()));
        }
        let bytes = if meta.permissions().mode() & 0o111 != 0 {
            printed(&path, label).map_err(fail)?
        } else {
            let bytes = std::fs::read(&path)
                .map_err(|problem| fail(format!("cannot be read: {problem}")))?;
            // A password may itself be encrypted with a secret that was given before.
            let text = bytes.trim_ascii();
            if is_vault(text) {
                let text = String::from_utf8_lossy(text);
                let opened = self
                    .of(known.to_vec())
                    .open(&text)
                    .map_err(|problem| fail(format!("cannot be opened: {problem}")))?;
                opened.bytes.clone()
            } else {
                text.to_vec()
            }
        };
        let password = strip_ends(&bytes);
        if password.is_empty() {
            return Err(fail("gives an empty password".to_owned()));
        }
        Ok(Password::new(password.to_vec()))
    }
}

fn wrong(message: String) -> Diagnostic {
    Diagnostic::error(Code::COMMAND_LINE, message)
}

fn question(text: &str, purpose: Purpose) -> Result<Password, Diagnostics> {
    let ask = |text: &str| {
        prompter::ask_hidden(text).map_err(|problem| {
            wrong(format!("no vault password was given: {problem}"))
                .help("give it with `--vault-password-file FILE`")
        })
    };
    let password = if purpose == Purpose::Seal {
        let text = format!("New {}{}", &text[..1].to_lowercase(), &text[1..]);
        let first = ask(&text)?;
        if ask(&format!(
            "Confirm {}{}",
            &text[..1].to_lowercase(),
            &text[1..]
        ))? != first
        {
            return Err(wrong("the two passwords are not the same".to_owned()).into());
        }
        first
    } else {
        ask(text)?
    };
    if password.is_empty() {
        return Err(wrong("the vault password is empty".to_owned()).into());
    }
    Ok(Password::new(password.into_bytes()))
}

/// Without newlines on both ends, as Ansible takes them off.
fn strip_ends(bytes: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let start = bytes
        .iter()
        .position(|byte| !is_end(byte))
        .unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(|byte| !is_end(byte))
        .map_or(start, |at| at + 1);
    &bytes[start..end]
}

/// What an executable prints. `NAME-client` is told the vault id.
fn printed(path: &Path, label: Option<&str>) -> Result<Vec<u8>, String> {
    let is_client = path
        .file_stem()
        .is_some_and(|stem| stem.to_string_lossy().ends_with("-client"));
    let mut command = Command::new(path);
    if let (true, Some(label)) = (is_client, label) {
        command.args(["--vault-id", label]);
    }
    let output = command
        .stdin(Stdio::inherit())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|problem| {
            format!(
                "cannot be run: {problem}; if it is no program, take its executable bit away \
                 (`chmod -x`)"
            )
        })?;
    match (output.status.code(), label) {
        (Some(0), _) => Ok(output.stdout),
        (Some(UNKNOWN_ID), Some(label)) if is_client => {
            Err(format!("has no password for the vault id `{label}`"))
        }
        _ => Err(format!("failed when it was run ({})", output.status)),
    }
}

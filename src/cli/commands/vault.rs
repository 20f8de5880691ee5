//! `layerplay vault`: what ansible-vault does, on the same files.

mod editor;
mod files;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use super::project;
use crate::cli::args::{EncryptStringArgs, SealOptions, VaultCommand, VaultOptions};
use crate::cli::secrets::{Purpose, Vaults};
use crate::cli::{exit, printer, prompter};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::vault::{Keyring, Opened, SALT_SIZE, Secret, VaultError, seal};

use files::{Wipe, read, write};

/// Files of which one is no file: standard input and output.
const STANDARD: &str = "-";
/// How far ansible-vault indents the text of a string.
const INDENT: &str = "          ";

pub(in crate::cli) fn run(command: &VaultCommand) -> u8 {
    match act(command) {
        Ok(done) => {
            if let (Some(done), true) = (done, std::io::stdout().is_terminal()) {
                printer::err(done);
            }
            exit::OK
        }
        Err(problems) => project::show(&problems),
    }
}

fn act(command: &VaultCommand) -> Result<Option<&'static str>, Diagnostics> {
    let settings = project::settings()?;
    let vaults = Vaults(&settings);
    match command {
        VaultCommand::Create {
            file,
            skip_tty_check,
            seal,
        } => {
            if !skip_tty_check && !std::io::stdout().is_terminal() {
                return Err(wrong("there is no terminal for an editor")
                    .help("`--skip-tty-check` starts it all the same")
                    .into());
            }
            if file.exists() {
                return Err(wrong(format!("`{}` exists", file.display()))
                    .help("change it with `layerplay vault edit`")
                    .into());
            }
            let secret = secret_to_seal(&vaults, seal)?;
            files::make_folder(file)?;
            let bytes = editor::edit(file, b"")?;
            let text = sealed(&bytes, &secret, Some(&secret.label), file)?;
            write(file, text.as_bytes(), Wipe::No)?;
            Ok(None)
        }
        VaultCommand::Encrypt {
            files,
            output,
            seal,
        } => {
            let secret = secret_to_seal(&vaults, seal)?;
            for (from, to) in pairs(files, output.output.as_deref())? {
                let text = sealed(&read(&from)?, &secret, Some(&secret.label), &from)?;
                write(&to, text.as_bytes(), Wipe::Yes)?;
            }
            Ok(Some("Encryption successful"))
        }
        VaultCommand::EncryptString(args) => encrypt_string(&vaults, args),
        VaultCommand::Decrypt {
            files,
            output,
            vault,
        } => {
            let keyring = keyring_to_open(&vaults, vault)?;
            for (from, to) in pairs(files, output.output.as_deref())? {
                let opened = opened(&keyring, &from)?;
                write(&to, &opened.bytes, Wipe::No)?;
            }
            Ok(Some("Decryption successful"))
        }
        VaultCommand::View { files, vault } => {
            let keyring = keyring_to_open(&vaults, vault)?;
            for file in files {
                editor::show(&opened(&keyring, file)?.bytes)?;
            }
            Ok(None)
        }
        VaultCommand::Edit { files, vault } => {
            let keyring = keyring_to_open(&vaults, vault)?;
            for file in files {
                let opened = opened(&keyring, file)?;
                let bytes = editor::edit(file, &opened.bytes)?;
                if bytes != opened.bytes {
                    let text = sealed(&bytes, &opened.secret, opened.label.as_deref(), file)?;
                    write(file, text.as_bytes(), Wipe::No)?;
                }
            }
            Ok(None)
        }
        VaultCommand::Rekey {
            files,
            new_vault_password_file,
            new_vault_id,
            seal,
        } => {
            let keyring = keyring_to_open(&vaults, &seal.vault)?;
            let label = vaults.encrypt_label(seal.encrypt_vault_id.as_deref());
            let mut ids = Vec::new();
            if label.is_some() {
                ids = vaults.listed();
            }
            ids.extend(new_vault_id.clone());
            let file = new_vault_password_file.iter();
            ids.extend(file.map(|file| vaults.in_file(file)));
            let new = vaults.gather(&ids, false, Purpose::Seal)?;
            let secret = choose(&new, label.as_deref())?;
            for file in files {
                let opened = opened(&keyring, file)?;
                let text = sealed(&opened.bytes, &secret, Some(&secret.label), file)?;
                write(file, text.as_bytes(), Wipe::No)?;
            }
            Ok(Some("Rekey successful"))
        }
    }
}

fn wrong(message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(Code::COMMAND_LINE, message)
}

fn keyring_to_open(vaults: &Vaults, options: &VaultOptions) -> Result<Keyring, Diagnostics> {
    let secrets = vaults.secrets(options, Purpose::Open)?;
    Ok(vaults.of(secrets))
}

fn secret_to_seal(vaults: &Vaults, options: &SealOptions) -> Result<Secret, Diagnostics> {
    let all = vaults.secrets(&options.vault, Purpose::Seal)?;
    let label = vaults.encrypt_label(options.encrypt_vault_id.as_deref());
    if label.is_none() && all.len() > 1 {
        let labels: Vec<&str> = all.iter().map(|secret| secret.label.as_str()).collect();
        return Err(wrong(format!(
            "there are several vault ids to encrypt with: {}",
            labels.join(", ")
        ))
        .help("say which with `--encrypt-vault-id`")
        .into());
    }
    choose(&all, label.as_deref())
}

/// The secret of a label, else the first.
fn choose(all: &[Secret], label: Option<&str>) -> Result<Secret, Diagnostics> {
    let found = all
        .iter()
        .find(|secret| label.is_none_or(|label| secret.label == label));
    found.cloned().ok_or_else(|| {
        let labels: Vec<&str> = all.iter().map(|secret| secret.label.as_str()).collect();
        wrong(format!(
            "no password was given for the vault id `{}`",
            label.unwrap_or_default()
        ))
        .help(format!("there are: {}", labels.join(", ")))
        .into()
    })
}

/// What is read, and what is written: the same file, but for `--output`.
fn pairs(files: &[PathBuf], output: Option<&Path>) -> Result<Vec<(PathBuf, PathBuf)>, Diagnostics> {
    if output.is_some() && files.len() > 1 {
        return Err(wrong("`--output` goes with one file").into());
    }
    if files.is_empty() {
        if prompter::is_interactive() {
            printer::err("Reading from standard input; Ctrl-D ends it");
        }
        let standard = PathBuf::from(STANDARD);
        let to = output.map_or_else(|| standard.clone(), Path::to_owned);
        return Ok(vec![(standard, to)]);
    }
    let pair = |file: &PathBuf| {
        (
            file.clone(),
            output.map_or_else(|| file.clone(), Path::to_owned),
        )
    };
    Ok(files.iter().map(pair).collect())
}

fn at(path: &Path, problem: &VaultError) -> Diagnostics {
    let name = if path.as_os_str() == STANDARD {
        "standard input".to_owned()
    } else {
        format!("`{}`", path.display())
    };
    Diagnostic::error(Code::UNREADABLE, format!("{name}: {problem}")).into()
}

fn opened(keyring: &Keyring, path: &Path) -> Result<std::sync::Arc<Opened>, Diagnostics> {
    let text = String::from_utf8(read(path)?).map_err(|_| at(path, &VaultError::NotVault))?;
    keyring.open(&text).map_err(|problem| at(path, &problem))
}

fn sealed(
    bytes: &[u8],
    secret: &Secret,
    label: Option<&str>,
    path: &Path,
) -> Result<String, Diagnostics> {
    let salt = salt().map_err(|problem| {
        Diagnostic::error(
            Code::UNREADABLE,
            format!("this machine gives no random bytes: {problem}"),
        )
    })?;
    seal(bytes, &secret.password, label, &salt).map_err(|problem| at(path, &problem))
}

fn salt() -> std::io::Result<[u8; SALT_SIZE]> {
    use std::io::Read;
    let mut salt = [0; SALT_SIZE];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut salt)?;
    Ok(salt)
}

/// A string to encrypt, and where it belongs.
struct Plain {
    text: String,
    from: &'static str,
    name: Option<String>,
}

fn encrypt_string(
    vaults: &Vaults,
    args: &EncryptStringArgs,
) -> Result<Option<&'static str>, Diagnostics> {
    let secret = secret_to_seal(vaults, &args.seal)?;
    let strings = plain(args)?;
    let mut lines = Vec::new();
    for (index, string) in strings.iter().enumerate() {
        if strings.len() > 1 {
            let number = index + 1;
            printer::err(&match &string.name {
                Some(name) => format!(
                    "# The encrypted version of variable (\"{name}\", the string #{number} from {}).",
                    string.from
                ),
                None => format!(
                    "# The encrypted version of the string #{number} from {}.)",
                    string.from
                ),
            });
        }
        let sealed = sealed(
            string.text.as_bytes(),
            &secret,
            Some(&secret.label),
            Path::new(string.from),
        )?;
        let name = string
            .name
            .as_ref()
            .map(|name| format!("{name}: "))
            .unwrap_or_default();
        lines.push(format!("{name}!vault |"));
        lines.extend(sealed.lines().map(|line| format!("{INDENT}{line}")));
    }
    let text = lines.join("\n") + "\n";
    let to = args.output.output.as_deref();
    write(to.unwrap_or(Path::new(STANDARD)), text.as_bytes(), Wipe::No)?;
    Ok(Some("Encryption successful"))
}

/// The strings of the command line, of standard input and of the person.
fn plain(args: &EncryptStringArgs) -> Result<Vec<Plain>, Diagnostics> {
    let mut all = Vec::new();
    let reads = args.strings.iter().any(|string| string == STANDARD)
        || args.stdin_name.is_some()
        || (args.strings.is_empty() && !args.prompt);
    if args.prompt && reads {
        return Err(wrong("`--prompt` and `-` exclude each other").into());
    }
    if args.prompt {
        let failed = |problem: std::io::Error| wrong(format!("nothing was answered: {problem}"));
        printer::question("Variable name (enter for no name): ");
        let name = prompter::ask(false).map_err(failed)?;
        let text = if args.show_input {
            printer::question("String to encrypt: ");
            prompter::ask(false)
        } else {
            prompter::ask_hidden("String to encrypt (hidden): ")
        };
        all.push(Plain {
            text: text.map_err(failed)?,
            from: "the interactive prompt",
            name: Some(name).filter(|name| !name.is_empty()),
        });
    }
    if reads {
        if prompter::is_interactive() {
            printer::err("Reading from standard input; Ctrl-D ends it");
        }
        let text = String::from_utf8(read(Path::new(STANDARD))?)
            .map_err(|_| wrong("standard input is no UTF-8 text"))?;
        all.push(Plain {
            text,
            from: "stdin",
            name: args.stdin_name.clone(),
        });
    }
    let strings: Vec<&String> = args
        .strings
        .iter()
        .filter(|string| *string != STANDARD)
        .collect();
    if let Some(last) = args
        .names
        .last()
        .filter(|_| strings.len() > args.names.len())
    {
        printer::err(&format!(
            "there are more strings than names: the last that has one is `{last}`"
        ));
    }
    let mut names = args.names.iter();
    all.extend(strings.into_iter().map(|text| Plain {
        text: text.clone(),
        from: "the command line args",
        name: names.next().cloned(),
    }));
    match all.iter().find(|plain| plain.text.is_empty()) {
        Some(empty) => Err(wrong(format!("the string from {} is empty", empty.from)).into()),
        None => Ok(all),
    }
}

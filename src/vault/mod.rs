//! Ansible's vaults. In: encrypted text and passwords with their labels. Out: what is inside, and the other way round.
//! Pure: where passwords come from is the command line's business, randomness is handed in.

mod format;
mod keyring;

pub use format::{SALT_SIZE, Sealed, is_vault, seal};
pub use keyring::{DEFAULT_LABEL, Keyring, Opened, Password, Secret};

/// Why a vault stays closed, or text stays open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    #[error("this is not encrypted with a vault: it does not begin with `$ANSIBLE_VAULT;`")]
    NotVault,
    #[error("it is encrypted with a vault already")]
    AlreadyVault,
    #[error("the vault is broken: {0}; restore it, or encrypt its content again")]
    Broken(String),
    #[error(
        "vaults of format {version} with {cipher} cannot be opened, only 1.1 and 1.2 with AES256"
    )]
    Unknown { version: String, cipher: String },
    #[error("{} and no vault password was given; {}", closed(.label.as_deref()), give(.label.as_deref()))]
    NoSecret { label: Option<String> },
    #[error(
        "{}, and no secret of that vault id was given (there are: {}); {}",
        closed(.label.as_deref()), .known.join(", "), give(.label.as_deref())
    )]
    NoMatch {
        label: Option<String>,
        known: Vec<String>,
    },
    #[error(
        "{}, and no password that was given opens it (tried: {}); {}",
        closed(.label.as_deref()), .tried.join(", "), give(.label.as_deref())
    )]
    WrongPassword {
        label: Option<String>,
        tried: Vec<String>,
    },
    #[error("what is inside of the vault is no UTF-8 text")]
    NotText,
}

fn closed(label: Option<&str>) -> String {
    label.map_or_else(
        || "this is encrypted with a vault".to_owned(),
        |label| format!("this is encrypted with the vault id `{label}`"),
    )
}

fn give(label: Option<&str>) -> String {
    label.map_or_else(
        || "give it with `--vault-password-file FILE` or `--ask-vault-pass`".to_owned(),
        |label| format!("give it with `--vault-id {label}@FILE` or `--vault-id {label}@prompt`"),
    )
}

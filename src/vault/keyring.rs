//! In: the secrets of a run in their order, texts of vaults. Out: what is inside, worked out once for each text.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use super::VaultError;
use super::format::Sealed;

/// The label of secrets without one.
pub const DEFAULT_LABEL: &str = "default";

/// Bytes that nothing shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Vec<u8>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl Password {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A password with its vault id.
#[derive(Debug, Clone)]
pub struct Secret {
    pub label: String,
    pub password: Password,
}

/// A vault that was opened.
#[derive(Debug, Clone)]
pub struct Opened {
    pub bytes: Vec<u8>,
    /// The vault id in the header.
    pub label: Option<String>,
    /// The secret that opened it.
    pub secret: Secret,
}

/// All secrets of a run.
#[derive(Debug, Default)]
pub struct Keyring {
    secrets: Vec<Secret>,
    /// Only secrets of a vault's own label may open it.
    is_strict: bool,
    opened: Mutex<HashMap<String, Arc<Opened>>>,
}

impl Keyring {
    pub fn new(secrets: Vec<Secret>, is_strict: bool) -> Self {
        Self {
            secrets,
            is_strict,
            opened: Mutex::default(),
        }
    }

    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// Opens a vault: the secrets of its own label first, then all others.
    pub fn open(&self, text: &str) -> Result<Arc<Opened>, VaultError> {
        if let Some(known) = self
            .opened
            .lock()
            .ok()
            .and_then(|opened| opened.get(text).cloned())
        {
            return Ok(known);
        }
        let opened = Arc::new(self.try_all(text)?);
        if let Ok(mut all) = self.opened.lock() {
            all.insert(text.to_owned(), Arc::clone(&opened));
        }
        Ok(opened)
    }

    /// As [`Keyring::open`], for text.
    pub fn open_text(&self, text: &str) -> Result<String, VaultError> {
        let opened = self.open(text)?;
        String::from_utf8(opened.bytes.clone()).map_err(|_| VaultError::NotText)
    }

    fn try_all(&self, text: &str) -> Result<Opened, VaultError> {
        let sealed = Sealed::parse(text)?;
        let label = sealed.label.clone();
        if self.secrets.is_empty() {
            return Err(VaultError::NoSecret { label });
        }
        let is_own = |secret: &&Secret| label.as_deref() == Some(secret.label.as_str());
        let own = self.secrets.iter().filter(is_own);
        let others = self
            .secrets
            .iter()
            .filter(|secret| !is_own(secret) && (label.is_none() || !self.is_strict));
        let mut tried = Vec::new();
        for secret in own.chain(others) {
            if let Some(bytes) = sealed.open(&secret.password)? {
                return Ok(Opened {
                    bytes,
                    label,
                    secret: secret.clone(),
                });
            }
            if !tried.contains(&secret.label) {
                tried.push(secret.label.clone());
            }
        }
        Err(if tried.is_empty() {
            let known = self.secrets.iter().map(|secret| secret.label.clone());
            VaultError::NoMatch {
                label,
                known: known.collect(),
            }
        } else {
            VaultError::WrongPassword { label, tried }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{SALT_SIZE, seal};
    use super::*;

    fn secret(label: &str, password: &str) -> Secret {
        Secret {
            label: label.to_owned(),
            password: Password::new(password.into()),
        }
    }

    #[test]
    fn the_own_label_goes_first_and_all_others_after_it() {
        let secrets = vec![secret("default", "one"), secret("dev", "two")];
        let text = |label: &str, password: &str| {
            seal(
                b"x",
                &secret(label, password).password,
                Some(label),
                &[1; SALT_SIZE],
            )
            .unwrap()
        };
        let keyring = Keyring::new(secrets.clone(), false);
        assert_eq!(
            keyring.open(&text("dev", "two")).unwrap().secret.label,
            "dev"
        );
        assert_eq!(
            keyring.open(&text("prod", "one")).unwrap().secret.label,
            "default"
        );
        assert!(matches!(
            keyring.open(&text("dev", "three")),
            Err(VaultError::WrongPassword { tried, .. }) if tried == ["dev", "default"]
        ));
        let strict = Keyring::new(secrets, true);
        assert!(matches!(
            strict.open(&text("prod", "one")),
            Err(VaultError::NoMatch { known, .. }) if known == ["default", "dev"]
        ));
        assert!(strict.open(&text("dev", "two")).is_ok());
        let empty = Keyring::default().open(&text("dev", "two")).unwrap_err();
        assert!(empty.to_string().contains("--vault-id dev@FILE"));
    }
}

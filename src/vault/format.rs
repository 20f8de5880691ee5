//! The formats 1.1 and 1.2 with AES256. In: text of a vault and a password, or bytes, a password and a salt. Out: bytes,
//! or text of a vault.
//!
//! ```text
//! $ANSIBLE_VAULT;1.2;AES256;label        1.1 has no label
//! hex of: hex(salt) \n hex(HMAC-SHA256 of the ciphertext) \n hex(ciphertext)     in lines of 80
//! PBKDF2-HMAC-SHA256, 10 000 rounds: 32 bytes for AES-256-CTR, 32 for the HMAC, 16 of counter; PKCS #7 inside
//! ```

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{Password, VaultError};

const MARK: &str = "$ANSIBLE_VAULT;";
const CIPHER: &str = "AES256";
const ROUNDS: u32 = 10_000;
const BLOCK: usize = 16;
const LINE: usize = 80;

/// How many random bytes a new vault takes.
pub const SALT_SIZE: usize = 32;

/// Whether bytes are a vault as a whole.
pub fn is_vault(bytes: &[u8]) -> bool {
    bytes.starts_with(MARK.as_bytes())
}

/// A vault that was read, still closed.
pub struct Sealed {
    /// The vault id in the header.
    pub label: Option<String>,
    salt: Vec<u8>,
    signature: Vec<u8>,
    ciphertext: Vec<u8>,
}

/// What a password becomes.
struct Keys([u8; 80]);

impl Keys {
    fn new(password: &Password, salt: &[u8]) -> Self {
        let mut keys = [0; 80];
        pbkdf2::pbkdf2_hmac::<Sha256>(password.bytes(), salt, ROUNDS, &mut keys);
        Self(keys)
    }

    fn mac(&self) -> Result<Hmac<Sha256>, VaultError> {
        Hmac::<Sha256>::new_from_slice(&self.0[32..64])
            .map_err(|_| VaultError::Broken("its keys have the wrong length".to_owned()))
    }

    /// Encrypts and decrypts: in counter mode that is the same.
    fn cipher(&self, bytes: &mut [u8]) -> Result<(), VaultError> {
        Ctr128BE::<Aes256>::new_from_slices(&self.0[..32], &self.0[64..])
            .map_err(|_| VaultError::Broken("its keys have the wrong length".to_owned()))?
            .apply_keystream(bytes);
        Ok(())
    }
}

impl Sealed {
    /// Reads a whole file, or the text of `!vault`; spaces around its lines do not matter.
    pub fn parse(text: &str) -> Result<Self, VaultError> {
        let broken = |what: &str| VaultError::Broken(what.to_owned());
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let header = lines.next().unwrap_or_default();
        let header = header.strip_prefix(MARK).ok_or(VaultError::NotVault)?;
        let mut fields = header.split(';').map(str::trim);
        let (version, cipher) = (
            fields.next().unwrap_or_default(),
            fields.next().unwrap_or_default(),
        );
        if !matches!(version, "1.1" | "1.2") || cipher != CIPHER {
            return Err(VaultError::Unknown {
                version: version.to_owned(),
                cipher: cipher.to_owned(),
            });
        }
        let label = (version == "1.2")
            .then(|| fields.next())
            .flatten()
            .filter(|label| !label.is_empty())
            .map(ToOwned::to_owned);
        let inner = hex::decode(lines.collect::<String>())
            .map_err(|_| broken("below its header stands something that is no hexadecimal text"))?;
        let inner = String::from_utf8(inner).map_err(|_| broken("its inner text is damaged"))?;
        let mut parts = inner
            .splitn(3, '\n')
            .map(|part| hex::decode(part.trim()).map_err(|_| broken("its inner text is damaged")));
        let mut part = || {
            parts
                .next()
                .unwrap_or_else(|| Err(broken("it was cut off")))
                .and_then(|part| {
                    if part.is_empty() {
                        Err(broken("it was cut off"))
                    } else {
                        Ok(part)
                    }
                })
        };
        Ok(Self {
            label,
            salt: part()?,
            signature: part()?,
            ciphertext: part()?,
        })
    }

    /// `None` when it is another password.
    pub fn open(&self, password: &Password) -> Result<Option<Vec<u8>>, VaultError> {
        let keys = Keys::new(password, &self.salt);
        let mut mac = keys.mac()?;
        mac.update(&self.ciphertext);
        if mac.verify_slice(&self.signature).is_err() {
            return Ok(None);
        }
        let mut bytes = self.ciphertext.clone();
        keys.cipher(&mut bytes)?;
        let padding = usize::from(bytes.last().copied().unwrap_or_default());
        let end = bytes
            .len()
            .checked_sub(padding)
            .filter(|end| {
                (1..=BLOCK).contains(&padding)
                    && bytes[*end..]
                        .iter()
                        .all(|byte| usize::from(*byte) == padding)
            })
            .ok_or_else(|| VaultError::Broken("its padding is wrong".to_owned()))?;
        bytes.truncate(end);
        Ok(Some(bytes))
    }
}

/// Encrypts bytes. A label other than `default` is written down, and makes it format 1.2. The salt must be random.
pub fn seal(
    bytes: &[u8],
    password: &Password,
    label: Option<&str>,
    salt: &[u8],
) -> Result<String, VaultError> {
    if is_vault(bytes) {
        return Err(VaultError::AlreadyVault);
    }
    let keys = Keys::new(password, salt);
    let padding = BLOCK - bytes.len() % BLOCK;
    let mut ciphertext = bytes.to_vec();
    ciphertext.resize(
        bytes.len() + padding,
        u8::try_from(padding).unwrap_or_default(),
    );
    keys.cipher(&mut ciphertext)?;
    let mut mac = keys.mac()?;
    mac.update(&ciphertext);
    let inner = format!(
        "{}\n{}\n{}",
        hex::encode(salt),
        hex::encode(mac.finalize().into_bytes()),
        hex::encode(&ciphertext)
    );
    let mut text = match label.filter(|label| *label != super::DEFAULT_LABEL) {
        Some(label) => format!("{MARK}1.2;{CIPHER};{label}\n"),
        None => format!("{MARK}1.1;{CIPHER}\n"),
    };
    let body = hex::encode(inner);
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_can_be_opened_again() {
        let password = Password::new(b"right-horse".to_vec());
        for (plain, label) in [
            (&b""[..], None),
            (&b"sixteen bytes ok"[..], Some("dev")),
            (&[0, 255, 10][..], Some("default")),
        ] {
            let text = seal(plain, &password, label, &[7; SALT_SIZE]).unwrap();
            assert!(text.lines().all(|line| line.len() <= LINE));
            let sealed = Sealed::parse(&text.replace('\n', "\n      ")).unwrap();
            assert_eq!(
                sealed.label.as_deref(),
                label.filter(|label| *label == "dev")
            );
            assert_eq!(sealed.open(&password).unwrap().unwrap(), plain);
            let wrong = Password::new(b"other".to_vec());
            assert_eq!(sealed.open(&wrong).unwrap(), None);
            let again = seal(text.as_bytes(), &password, None, &[7; SALT_SIZE]);
            assert_eq!(again, Err(VaultError::AlreadyVault));
        }
    }

    #[test]
    fn what_is_broken_is_told_from_what_is_no_vault() {
        let problem = |text: &str| Sealed::parse(text).err().unwrap();
        assert_eq!(problem("a: 1"), VaultError::NotVault);
        assert_eq!(problem(""), VaultError::NotVault);
        assert!(matches!(
            problem("$ANSIBLE_VAULT;1.0;AES\n00"),
            VaultError::Unknown { .. }
        ));
        for text in ["xyz", "61", "616", "36310a", "ff"] {
            let text = format!("$ANSIBLE_VAULT;1.1;AES256\n{text}\n");
            assert!(matches!(problem(&text), VaultError::Broken(_)), "{text}");
        }
    }
}

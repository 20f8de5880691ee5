//! In: paths of the user's files. Out: their text, kept once and shared, and spans into it. The only reader of user
//! text: everything that a person wrote for layerplay comes through here, so that every error can show its line, and
//! files that are encrypted as a whole are opened on the way.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use layerplay_modules::secret::Secrets;

use crate::vault::{Keyring, VaultError, is_vault};

/// A file of the user's (or a named piece of text: `--extra-vars`), read once.
#[derive(PartialEq, Eq)]
pub struct SourceFile {
    /// As it is shown; absolute for files.
    pub path: PathBuf,
    pub text: String,
    /// It was encrypted: its lines are never shown.
    pub is_secret: bool,
    pub duplicate_keys: DuplicateKeys,
}

/// What a key that stands twice in a mapping is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DuplicateKeys {
    #[default]
    Warn,
    Error,
    Ignore,
}

impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceFile({})", self.path.display())
    }
}

impl SourceFile {
    /// Text that comes from no file: the name is shown where a path would be.
    pub fn from_text(name: impl Into<PathBuf>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self {
            path: name.into(),
            text: text.into(),
            is_secret: false,
            duplicate_keys: DuplicateKeys::default(),
        })
    }

    /// Line and column of a byte, both from 1; columns count characters.
    pub fn line_column(&self, byte: usize) -> (usize, usize) {
        let byte = byte.min(self.text.len());
        let before = self.text.get(..byte).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }
}

/// A piece of a source file, in bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Span {
    pub file: Arc<SourceFile>,
    pub start: usize,
    pub end: usize,
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Span {
    pub fn new(file: &Arc<SourceFile>, start: usize, end: usize) -> Self {
        Self {
            file: Arc::clone(file),
            start,
            end: end.max(start),
        }
    }

    /// The whole of a file, for problems without a nearer place.
    pub fn file(file: &Arc<SourceFile>) -> Self {
        Self::new(file, 0, 0)
    }

    /// A place inside this one, from an offset relative to its start.
    #[must_use]
    pub fn inside(&self, start: usize, end: usize) -> Self {
        Self::new(
            &self.file,
            (self.start + start).min(self.end),
            (self.start + end).min(self.end),
        )
    }

    pub fn path(&self) -> &Path {
        &self.file.path
    }

    pub fn line_column(&self) -> (usize, usize) {
        self.file.line_column(self.start)
    }

    pub fn text(&self) -> &str {
        self.file.text.get(self.start..self.end).unwrap_or_default()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.line_column();
        write!(f, "{}:{line}:{column}", self.file.path.display())
    }
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("`{}`: {source}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("`{}`: not UTF-8 text (first bad byte at {at})", path.display())]
    NotText { path: PathBuf, at: usize },
    #[error("`{}`: {source}", path.display())]
    Vault { path: PathBuf, source: VaultError },
}

/// Reads a file; the path is made absolute for messages. A leading byte order mark is dropped. A vault is refused:
/// whoever may meet one has a [`Reader`].
pub fn read(path: &Path) -> Result<Arc<SourceFile>, SourceError> {
    Reader::default().read(path)
}

/// Reads files with the passwords of a run. What was encrypted is masked wherever it is shown.
#[derive(Clone, Default)]
pub struct Reader {
    keyring: Arc<Keyring>,
    secrets: Arc<Secrets>,
    duplicate_keys: DuplicateKeys,
    /// What was inside of the vaulted values that were opened.
    opened: Arc<Mutex<HashSet<String>>>,
}

/// Shorter lines of a file are words like `done`: hiding them would hide nothing and break all text.
const SHORTEST_LINE: usize = 8;

impl Reader {
    pub fn new(keyring: Keyring, secrets: Arc<Secrets>, duplicate_keys: DuplicateKeys) -> Self {
        Self {
            keyring: Arc::new(keyring),
            secrets,
            duplicate_keys,
            opened: Arc::default(),
        }
    }

    /// As [`read`], and opens a vault.
    pub fn read(&self, path: &Path) -> Result<Arc<SourceFile>, SourceError> {
        let mut file = read_text(path)?;
        file.duplicate_keys = self.duplicate_keys;
        if is_vault(file.text.as_bytes()) {
            file.text =
                self.keyring
                    .open_text(&file.text)
                    .map_err(|source| SourceError::Vault {
                        path: file.path.clone(),
                        source,
                    })?;
            file.is_secret = true;
        }
        Ok(Arc::new(file))
    }

    /// What is inside of a vaulted value.
    pub fn open(&self, text: &str) -> Result<String, VaultError> {
        let value = self.keyring.open_text(text)?;
        self.hide(&value);
        if let Ok(mut opened) = self.opened.lock()
            && !opened.contains(&value)
        {
            opened.insert(value.clone());
        }
        Ok(value)
    }

    /// Whether a value is what was inside of a vaulted one.
    pub fn was_vaulted(&self, value: &str) -> bool {
        self.opened
            .lock()
            .is_ok_and(|opened| opened.contains(value))
    }

    /// Masks a value from now on.
    pub fn hide(&self, value: &str) {
        self.secrets.add(value);
    }

    /// Masks the lines of a text from now on.
    pub fn hide_lines(&self, text: &str) {
        for line in text.lines().map(str::trim) {
            if line.len() >= SHORTEST_LINE {
                self.secrets.add(line);
            }
        }
    }

    pub fn secrets(&self) -> &Arc<Secrets> {
        &self.secrets
    }
}

fn read_text(path: &Path) -> Result<SourceFile, SourceError> {
    let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let bytes = std::fs::read(path).map_err(|source| SourceError::Io {
        path: shown.clone(),
        source,
    })?;
    let text = String::from_utf8(bytes).map_err(|problem| SourceError::NotText {
        path: shown.clone(),
        at: problem.utf8_error().valid_up_to(),
    })?;
    let text = text
        .strip_prefix('\u{feff}')
        .map(ToOwned::to_owned)
        .unwrap_or(text);
    Ok(SourceFile {
        path: shown,
        text,
        is_secret: false,
        duplicate_keys: DuplicateKeys::default(),
    })
}

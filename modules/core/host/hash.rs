//! In: bytes or a file of this machine. Out: its digest as hex text.

use std::io::Read;
use std::path::Path;

use sha1::digest::DynDigest;

/// The algorithms that `stat` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum Algorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    /// The program that computes it on any Linux.
    pub(in crate::core) fn program(self) -> &'static str {
        match self {
            Self::Md5 => "md5sum",
            Self::Sha1 => "sha1sum",
            Self::Sha224 => "sha224sum",
            Self::Sha256 => "sha256sum",
            Self::Sha384 => "sha384sum",
            Self::Sha512 => "sha512sum",
        }
    }

    /// By Ansible's name of it.
    pub(in crate::core) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "md5" => Self::Md5,
            "sha1" => Self::Sha1,
            "sha224" => Self::Sha224,
            "sha256" => Self::Sha256,
            "sha384" => Self::Sha384,
            "sha512" => Self::Sha512,
            _ => return None,
        })
    }

    fn hasher(self) -> Box<dyn DynDigest> {
        match self {
            Self::Md5 => Box::new(md5::Md5::default()),
            Self::Sha1 => Box::new(sha1::Sha1::default()),
            Self::Sha224 => Box::new(sha2::Sha224::default()),
            Self::Sha256 => Box::new(sha2::Sha256::default()),
            Self::Sha384 => Box::new(sha2::Sha384::default()),
            Self::Sha512 => Box::new(sha2::Sha512::default()),
        }
    }
}

/// A file's digest, read in pieces: it may be larger than memory.
pub(in crate::core) fn digest(path: &Path, algorithm: Algorithm) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = algorithm.hasher();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut buffer)?;
        match buffer.get(..read) {
            Some(piece) if read > 0 => hasher.update(piece),
            _ => return Ok(hex::encode(hasher.finalize())),
        }
    }
}

fn of(bytes: &[u8], algorithm: Algorithm) -> String {
    let mut hasher = algorithm.hasher();
    hasher.update(bytes);
    hex::encode(hasher.finalize())
}

pub(in crate::core) fn sha1(bytes: &[u8]) -> String {
    of(bytes, Algorithm::Sha1)
}

pub(in crate::core) fn md5(bytes: &[u8]) -> String {
    of(bytes, Algorithm::Md5)
}

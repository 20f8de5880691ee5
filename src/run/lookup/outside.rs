//! Lookups that ask this machine: its environment, commands, and chance.

use std::fs::{self, DirBuilder};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use super::{Found, Options, texts};
use crate::template::{LookupCall, LookupError, PasswordHash, Value, salt};

pub(super) fn env(call: &LookupCall) -> Found {
    let options = Options::of(call, &["default"])?;
    Ok(texts(call)?
        .iter()
        .map(|name| match std::env::var(name) {
            Ok(value) => Value::from(value),
            Err(_) => options
                .0
                .get("default")
                .cloned()
                .unwrap_or_else(|| Value::from("")),
        })
        .collect())
}

/// What commands print; as one text, or line by line.
pub(super) fn pipe(call: &LookupCall, by_lines: bool) -> Found {
    Options::of(call, &[])?;
    let mut found = Vec::new();
    for command in texts(call)? {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(&command);
        if let Some(dir) = call.search_path().last().filter(|dir| dir.is_dir()) {
            shell.current_dir(dir);
        }
        let output = shell
            .output()
            .map_err(|problem| format!("`{command}`: {problem}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!(
                "lookup_plugin.{}({command}) returned {}{}{}",
                call.name,
                output.status.code().unwrap_or(-1),
                if said.trim().is_empty() { "" } else { ": " },
                said.trim()
            )
            .into());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        if by_lines {
            found.extend(text.lines().map(Value::from));
        } else {
            found.push(Value::from(text.trim_end()));
        }
    }
    Ok(found)
}

/// A number below `limit`, every one as likely.
fn chance(limit: usize) -> Result<usize, LookupError> {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
    let mut source = fs::File::open("/dev/urandom").map_err(|problem| problem.to_string())?;
    loop {
        let mut bytes = [0; 8];
        source
            .read_exact(&mut bytes)
            .map_err(|problem| problem.to_string())?;
        let number = u64::from_le_bytes(bytes);
        if number < u64::MAX - u64::MAX % limit {
            return Ok(usize::try_from(number % limit).unwrap_or(0));
        }
    }
}

pub(super) fn random_choice(call: &LookupCall) -> Found {
    Options::of(call, &[])?;
    if call.terms.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![call.terms[chance(call.terms.len())?].clone()])
}

const LONGEST: usize = 4096;

/// A password that is made once and kept in a file, in clear text; with `encrypt` its hash is given, and the salt is kept
/// as well. `/dev/null` keeps nothing.
pub(super) fn password(call: &LookupCall) -> Found {
    const OPTIONS: &[&str] = &["length", "chars", "encrypt", "ident", "seed"];
    let options = Options::of(call, OPTIONS)?;
    let mut found = Vec::new();
    for term in texts(call)? {
        let (named, name) = crate::playbook::parse_words(&term, false)?;
        if let Some((wrong, _)) = named
            .iter()
            .find(|(name, _)| !OPTIONS.contains(&name.as_str()))
        {
            return Err(format!("`{wrong}` is no option of `password`").into());
        }
        let of_term = |name: &str| {
            let value = named.iter().find(|(key, _)| key == name);
            value.map(|(_, value)| value.clone())
        };
        let text = |name: &str| {
            let given = of_term(name).or_else(|| options.get(name).map(ToString::to_string));
            given.filter(|text| !text.is_empty())
        };
        let length = match of_term("length") {
            Some(text) => text
                .parse()
                .map_err(|_| format!("`length` is no whole number: {text}"))?,
            None => options.number("length")?.unwrap_or(20),
        };
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= LONGEST)
            .ok_or_else(|| format!("`length` is from 0 to {LONGEST}"))?;
        let kinds = match (of_term("chars"), options.get("chars")) {
            (Some(text), _) => kinds(&text),
            (None, Some(value)) if super::lists::is_list(value) => value
                .try_iter()
                .map_err(|problem| problem.to_string())?
                .map(|kind| kind.to_string())
                .collect(),
            (None, Some(value)) => kinds(&value.to_string()),
            (None, None) => kinds("ascii_letters,digits,.,,:,-,_"),
        };
        let wish = Wish {
            letters: letters(&kinds),
            length,
            seed: text("seed"),
            hash: text("encrypt").map(|method| PasswordHash {
                method,
                ident: text("ident"),
                ..PasswordHash::default()
            }),
        };
        let kept = kept(&place(call, &name), &wish)?;
        found.push(Value::from(match wish.hash {
            Some(hash) => PasswordHash {
                salt: kept.salt,
                ident: kept.ident,
                ..hash
            }
            .of(&kept.password)?,
            None => kept.password,
        }));
    }
    Ok(found)
}

/// Kinds of letters, parted by commas; `,,` is a comma.
fn kinds(text: &str) -> Vec<String> {
    let mut kinds: Vec<String> = text
        .replace(",,", ",\u{0},")
        .split(',')
        .filter(|kind| !kind.is_empty())
        .map(|kind| kind.replace('\u{0}', ","))
        .collect();
    kinds.dedup();
    kinds
}

fn letters(kinds: &[String]) -> Vec<char> {
    let lower = "abcdefghijklmnopqrstuvwxyz";
    let upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let digits = "0123456789";
    let signs = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
    let mut all = String::new();
    for kind in kinds {
        match kind.as_str() {
            "ascii_letters" => all.extend([lower, upper]),
            "ascii_lowercase" => all.push_str(lower),
            "ascii_uppercase" => all.push_str(upper),
            "digits" => all.push_str(digits),
            "hexdigits" => all.extend([digits, "abcdefABCDEF"]),
            "octdigits" => all.push_str("01234567"),
            "punctuation" => all.push_str(signs),
            other => all.push_str(other),
        }
    }
    let mut letters: Vec<char> = Vec::new();
    // Quotes are no letters of passwords, whatever is asked for.
    for letter in all.chars().filter(|letter| !matches!(letter, '"' | '\'')) {
        if !letters.contains(&letter) {
            letters.push(letter);
        }
    }
    letters
}

fn place(call: &LookupCall, name: &str) -> PathBuf {
    let path = Path::new(name);
    match call.search_path().last() {
        Some(dir) if path.is_relative() => dir.join(path),
        _ => path.to_owned(),
    }
}

/// What a password is to be like.
struct Wish {
    letters: Vec<char>,
    length: usize,
    /// The same seed makes the same password.
    seed: Option<String>,
    hash: Option<PasswordHash>,
}

impl Wish {
    fn password(&self) -> Result<String, LookupError> {
        if self.letters.is_empty() {
            return Err("`chars` leaves no letter to choose".into());
        }
        let mut password = String::new();
        for at in 0..self.length {
            let place = match &self.seed {
                Some(seed) => seeded(seed, at, self.letters.len()),
                None => chance(self.letters.len())?,
            };
            password.push(self.letters[place]);
        }
        Ok(password)
    }
}

/// A number below `limit` that only a seed and its place decide.
fn seeded(seed: &str, at: usize, limit: usize) -> usize {
    let digest = Sha256::digest(format!("{at}:{seed}"));
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    let limit = u64::try_from(limit).unwrap_or(u64::MAX).max(1);
    usize::try_from(u64::from_le_bytes(bytes) % limit).unwrap_or(0)
}

/// What the file of a password has: `PASSWORD[ salt=SALT[ ident=IDENT]]`, as Ansible writes it.
struct Kept {
    password: String,
    salt: Option<String>,
    ident: Option<String>,
}

impl Kept {
    fn read(text: &str) -> Self {
        let Some((password, rest)) = text.rsplit_once(" salt=") else {
            return Self {
                password: text.to_owned(),
                salt: None,
                ident: None,
            };
        };
        let (salt, ident) = match rest.rsplit_once(" ident=") {
            Some((salt, ident)) => (salt, Some(ident.to_owned())),
            None => (rest, None),
        };
        Self {
            password: password.to_owned(),
            salt: Some(salt.to_owned()),
            ident,
        }
    }

    fn write(&self) -> String {
        let mut text = self.password.clone();
        for (name, value) in [("salt", &self.salt), ("ident", &self.ident)] {
            if let Some(value) = value {
                text.push_str(&format!(" {name}={value}"));
            }
        }
        text
    }

    /// What a hash needs and the file has not: a salt of its own, so that the hash stays the same.
    fn complete(&mut self, hash: &PasswordHash) -> Result<bool, LookupError> {
        let before = (self.salt.is_some(), self.ident.is_some());
        if self.salt.is_none() {
            self.salt = Some(salt(hash.salt_length()?)?);
        }
        match (&self.ident, &hash.ident) {
            (Some(known), Some(asked)) if known != asked => {
                return Err(format!(
                    "The ident parameter provided ({asked}) does not match the stored one ({known})."
                )
                .into());
            }
            (None, asked) => {
                let is_bcrypt = matches!(hash.method.as_str(), "bcrypt" | "blowfish");
                self.ident = asked.clone().or(is_bcrypt.then(|| "2b".to_owned()));
            }
            _ => {}
        }
        Ok(before != (self.salt.is_some(), self.ident.is_some()))
    }
}

fn kept(path: &Path, wish: &Wish) -> Result<Kept, LookupError> {
    let fail =
        |problem: std::io::Error| LookupError::Text(format!("`{}`: {problem}", path.display()));
    let is_kept = path != Path::new("/dev/null");
    let is_there = is_kept && path.exists();
    let mut kept = if is_there {
        Kept::read(fs::read_to_string(path).map_err(fail)?.trim_end())
    } else {
        Kept {
            password: wish.password()?,
            salt: None,
            ident: None,
        }
    };
    let is_new = match &wish.hash {
        Some(hash) => kept.complete(hash)?,
        None => false,
    };
    if !is_kept || (is_there && !is_new) {
        return Ok(kept);
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir.unwrap_or(Path::new("."));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(fail)?;
    // Beside the file, and there in one go: another host may want the same password now.
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(fail)?;
    writeln!(file, "{}", kept.write()).map_err(fail)?;
    if is_there {
        file.persist(path).map_err(|problem| fail(problem.error))?;
        return Ok(kept);
    }
    match file.persist_noclobber(path) {
        Ok(_) => Ok(kept),
        // Another host was faster: its password counts.
        Err(problem) if problem.error.kind() == std::io::ErrorKind::AlreadyExists => {
            self::kept(path, wish)
        }
        Err(problem) => Err(fail(problem.error)),
    }
}

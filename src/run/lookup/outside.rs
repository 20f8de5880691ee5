//! Lookups that ask this machine: its environment, commands, and chance.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Found, Options, texts};
use crate::template::{LookupCall, LookupError, Value};

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

/// A password that is made once and kept in a file. `/dev/null` keeps nothing.
pub(super) fn password(call: &LookupCall) -> Found {
    const OPTIONS: &[&str] = &["length", "chars"];
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
        let path = place(call, &name);
        found.push(Value::from(kept(&path, &letters(&kinds), length)?));
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
    for letter in all.chars() {
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

fn kept(path: &Path, letters: &[char], length: usize) -> Result<String, LookupError> {
    let fail =
        |problem: std::io::Error| LookupError::Text(format!("`{}`: {problem}", path.display()));
    let is_kept = path != Path::new("/dev/null");
    if is_kept && path.exists() {
        let text = fs::read_to_string(path).map_err(fail)?;
        let text = text.trim_end_matches('\n');
        // What Ansible wrote may have its salt behind the password.
        return Ok(text.split(" salt=").next().unwrap_or_default().to_owned());
    }
    if letters.is_empty() {
        return Err("`chars` leaves no letter to choose".into());
    }
    let mut password = String::new();
    for _ in 0..length {
        password.push(letters[chance(letters.len())?]);
    }
    if is_kept {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(fail)?;
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        match file {
            Ok(mut file) => writeln!(file, "{password}").map_err(fail)?,
            // Another host was faster: its password counts.
            Err(problem) if problem.kind() == std::io::ErrorKind::AlreadyExists => {
                return kept(path, letters, length);
            }
            Err(problem) => return Err(fail(problem)),
        }
    }
    Ok(password)
}

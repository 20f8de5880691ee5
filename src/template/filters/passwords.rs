//! `password_hash`: what `/etc/shadow` and `htpasswd` hold. In: a password, the name of a method, a salt and rounds. Out:
//! the text that passlib writes for them.

use std::fs::File;
use std::io::Read;

use base64::Engine;
use base64::alphabet::BCRYPT;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bcrypt::Version;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error};
use sha_crypt::{Params, sha256_crypt, sha512_crypt};

use super::fail;

pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("password_hash", filter);
}

/// The letters of a salt, and of what `crypt` writes, in their order.
const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// How a password is to be hashed. What is not given is Ansible's default.
#[derive(Debug, Clone, Default)]
pub struct PasswordHash {
    pub method: String,
    pub salt: Option<String>,
    pub salt_size: Option<usize>,
    pub rounds: Option<u32>,
    /// The variant of bcrypt.
    pub ident: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Method {
    Sha256,
    Sha512,
    Bcrypt,
}

/// The system's own chance.
pub(super) fn random(length: usize) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; length];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|problem| format!("/dev/urandom: {problem}"))?;
    Ok(bytes)
}

/// As many letters of a salt as are asked for.
pub fn salt(length: usize) -> Result<String, String> {
    let bytes = random(length)?;
    // 64 letters: no byte is more likely than another.
    let letter = |byte: &u8| char::from(LETTERS[usize::from(byte % 64)]);
    Ok(bytes.iter().map(letter).collect())
}

impl PasswordHash {
    fn method(&self) -> Result<Method, String> {
        match self.method.as_str() {
            "sha256" | "sha256_crypt" => Ok(Method::Sha256),
            "sha512" | "sha512_crypt" => Ok(Method::Sha512),
            "blowfish" | "bcrypt" => Ok(Method::Bcrypt),
            other => Err(format!(
                "`{other}` is no method of password hashes here: take sha512, sha256 or bcrypt"
            )),
        }
    }

    /// The length of a salt that is made up.
    pub fn salt_length(&self) -> Result<usize, String> {
        Ok(match self.method()? {
            Method::Bcrypt => 22,
            _ => 16,
        })
    }

    pub fn of(&self, password: &str) -> Result<String, String> {
        let method = self.method()?;
        if password.contains('\0') {
            return Err("a password with a null byte cannot be hashed".to_owned());
        }
        let longest = self.salt_length()?;
        let salt = match self.salt.as_deref().filter(|salt| !salt.is_empty()) {
            Some(salt) => salt.to_owned(),
            None => match self.salt_size.filter(|size| *size > 0) {
                Some(size) if size > longest || (method == Method::Bcrypt && size != longest) => {
                    return Err(format!("`salt_size` is at most {longest}, not {size}"));
                }
                size => self::salt(size.unwrap_or(longest))?,
            },
        };
        if !salt.bytes().all(|letter| LETTERS.contains(&letter)) {
            return Err("a salt has letters, digits, `.` and `/` only".to_owned());
        }
        if salt.len() > longest || (method == Method::Bcrypt && salt.len() != longest) {
            let most = if method == Method::Bcrypt {
                "exactly"
            } else {
                "at most"
            };
            return Err(format!(
                "the salt has {} letters; {most} {longest} are allowed",
                salt.len()
            ));
        }
        match method {
            Method::Bcrypt => self.bcrypt(password, &salt),
            _ => self.sha_crypt(method, password, &salt),
        }
    }

    fn bcrypt(&self, password: &str, salt: &str) -> Result<String, String> {
        let version = match self.ident.as_deref().map(|ident| ident.trim_matches('$')) {
            None | Some("" | "2b") => Version::TwoB,
            Some("2a") => Version::TwoA,
            Some("2y") => Version::TwoY,
            Some(other) => {
                return Err(format!(
                    "`{other}` is no variant of bcrypt: take 2b, 2a or 2y"
                ));
            }
        };
        let rounds = self.rounds.unwrap_or(12);
        if !(4..=31).contains(&rounds) {
            return Err(format!("bcrypt has 4 to 31 rounds, not {rounds}"));
        }
        // 22 letters are 132 bits, of which 128 count: the rest is cut off, as passlib does.
        let engine = GeneralPurpose::new(
            &BCRYPT,
            GeneralPurposeConfig::new()
                .with_decode_allow_trailing_bits(true)
                .with_decode_padding_mode(DecodePaddingMode::RequireNone),
        );
        let salt: [u8; 16] = engine
            .decode(salt)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or("the salt of bcrypt cannot be read")?;
        bcrypt::hash_with_salt(password, rounds, salt)
            .map(|parts| parts.format_for_version(version))
            .map_err(|problem| problem.to_string())
    }

    fn sha_crypt(&self, method: Method, password: &str, salt: &str) -> Result<String, String> {
        let rounds = self.rounds.unwrap_or(match method {
            Method::Sha256 => 535_000,
            _ => 656_000,
        });
        let params = Params::new(rounds)
            .map_err(|_| format!("this method has 1000 to 999999999 rounds, not {rounds}"))?;
        let mut out = String::from(if method == Method::Sha256 {
            "$5$"
        } else {
            "$6$"
        });
        // What `crypt` takes when nothing is said is not written.
        if rounds != Params::RECOMMENDED_ROUNDS {
            out.push_str(&format!("rounds={rounds}$"));
        }
        out.push_str(salt);
        out.push('$');
        let (password, salt) = (password.as_bytes(), salt.as_bytes());
        // Three bytes a time in an order of its own, each group turned by one (Drepper, "Unix crypt using SHA-256 and
        // SHA-512", step 22).
        let mut at = match method {
            Method::Sha256 => [0, 10, 20],
            _ => [0, 21, 42],
        };
        if method == Method::Sha256 {
            let bytes = sha256_crypt(password, salt, params);
            for _ in 0..10 {
                letters(&mut out, at.map(|at| bytes[at]), 4);
                at = [at[2] + 1, at[0] + 1, at[1] + 1];
            }
            letters(&mut out, [0, bytes[31], bytes[30]], 3);
        } else {
            let bytes = sha512_crypt(password, salt, params);
            for _ in 0..21 {
                letters(&mut out, at.map(|at| bytes[at]), 4);
                at = [at[1] + 1, at[2] + 1, at[0] + 1];
            }
            letters(&mut out, [0, 0, bytes[63]], 2);
        }
        Ok(out)
    }
}

/// 24 bits, six for a letter, the lowest first.
fn letters(out: &mut String, [high, middle, low]: [u8; 3], count: usize) {
    let mut bits = u32::from(high) << 16 | u32::from(middle) << 8 | u32::from(low);
    for _ in 0..count {
        out.push(char::from(LETTERS[(bits & 63) as usize]));
        bits >>= 6;
    }
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn filter(
    password: &Value,
    method: Option<String>,
    salt: Option<String>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let hash = PasswordHash {
        method: kwargs
            .get::<Option<String>>("hashtype")?
            .or(method)
            .unwrap_or_else(|| "sha512".to_owned()),
        salt: kwargs.get::<Option<String>>("salt")?.or(salt),
        salt_size: kwargs.get("salt_size")?,
        rounds: kwargs
            .get::<Option<u32>>("rounds")?
            .filter(|rounds| *rounds > 0),
        ident: kwargs.get("ident")?,
    };
    kwargs.assert_all_used()?;
    let password = password
        .as_str()
        .map_or_else(|| password.to_string(), ToOwned::to_owned);
    hash.of(&password).map_err(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(method: &str, salt: &str, rounds: Option<u32>) -> Result<String, String> {
        PasswordHash {
            method: method.to_owned(),
            salt: Some(salt.to_owned()),
            rounds,
            ..PasswordHash::default()
        }
        .of("Hello world!")
    }

    #[test]
    fn as_the_specification_says() {
        // The first two are test vectors of Drepper's specification.
        assert_eq!(
            hash("sha512", "saltstring", Some(5000)).unwrap(),
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
        );
        assert_eq!(
            hash("sha256_crypt", "saltstringsaltst", Some(10_000)).unwrap(),
            "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA"
        );
        let cost = hash("bcrypt", "abcdefghijklmnopqrstuu", Some(4)).unwrap();
        assert!(
            cost.starts_with("$2b$04$abcdefghijklmnopqrstuu") && cost.len() == 60,
            "{cost}"
        );
        assert!(bcrypt::verify("Hello world!", &cost).unwrap());
    }

    #[test]
    fn what_passlib_refuses_is_refused() {
        for (method, salt, rounds) in [
            ("md4", "a", None),
            ("sha512", "seventeen.letters", Some(5000)),
            ("sha512", "a$b", Some(5000)),
            ("sha512", "a", Some(999)),
            ("bcrypt", "short", Some(4)),
            ("bcrypt", "abcdefghijklmnopqrstuu", Some(3)),
        ] {
            assert!(hash(method, salt, rounds).is_err(), "{method} {salt}");
        }
        let own = |size| PasswordHash {
            method: "sha256".to_owned(),
            salt_size: Some(size),
            rounds: Some(1000),
            ..PasswordHash::default()
        };
        let made = own(4).of("x").unwrap();
        assert_eq!(made.split('$').nth(3).unwrap().len(), 4, "{made}");
        assert!(own(17).of("x").is_err());
    }
}

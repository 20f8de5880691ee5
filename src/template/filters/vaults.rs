//! `vault` and `unvault`: texts of Ansible's vaults with a password of their own, not with those of the run.

use std::io::Read;

use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, State};

use super::{fail, passwords};
use crate::vault::{Keyring, Password, SALT_SIZE, Secret, is_vault, seal};

pub(super) fn add_to(env: &mut Environment<'static>) {
    env.add_filter("vault", vault);
    env.add_filter("unvault", unvault);
    env.add_test("vaulted_file", vaulted_file);
    env.add_test("vault_encrypted", vault_encrypted);
}

/// The label of what these filters write, unless another is named.
const LABEL: &str = "filter_default";

fn text<'v>(value: &'v Value, what: &str) -> Result<&'v str, Error> {
    value
        .as_str()
        .ok_or_else(|| fail(format!("{what} must be text, not {}", value.kind())))
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn vault(
    value: &Value,
    secret: &Value,
    salt: Option<String>,
    label: Option<String>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let salt = kwargs.get::<Option<String>>("salt")?.or(salt);
    let label = kwargs.get::<Option<String>>("vault_id")?.or(label);
    let is_wrapped = kwargs.get::<Option<bool>>("wrap_object")?.unwrap_or(false);
    kwargs.assert_all_used()?;
    if is_wrapped {
        return Err(fail(
            "`wrap_object` is not supported: write the text below `!vault |`",
        ));
    }
    let salt = match salt {
        Some(salt) => salt.into_bytes(),
        None => passwords::random(SALT_SIZE).map_err(fail)?,
    };
    seal(
        text(value, "what is encrypted")?.as_bytes(),
        &Password::new(text(secret, "the secret")?.into()),
        Some(label.as_deref().unwrap_or(LABEL)),
        &salt,
    )
    .map_err(|problem| fail(problem.to_string()))
}

/// What is no vault stays as it is, as in Ansible.
#[allow(
    clippy::needless_pass_by_value,
    reason = "the engine hands its arguments over by value"
)]
fn unvault(
    value: &Value,
    secret: &Value,
    label: Option<String>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let label = kwargs.get::<Option<String>>("vault_id")?.or(label);
    kwargs.assert_all_used()?;
    let sealed = text(value, "what is decrypted")?;
    let password = Password::new(text(secret, "the secret")?.into());
    if !is_vault(sealed.as_bytes()) {
        return Ok(sealed.to_owned());
    }
    let secret = Secret {
        label: label.unwrap_or_else(|| LABEL.to_owned()),
        password,
    };
    Keyring::new(vec![secret], false)
        .open_text(sealed)
        .map_err(|problem| fail(problem.to_string()))
}

/// Only the first bytes are read: the file may be large.
fn vaulted_file(path: &str) -> Result<bool, Error> {
    let mut start = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(32).read_to_end(&mut start))
        .map_err(|problem| fail(format!("`{path}`: {problem}")))?;
    Ok(is_vault(&start))
}

/// The name of what knows which values came out of a vault.
pub(in crate::template) const WAS_VAULTED: &str = "__was_vaulted";

fn vault_encrypted(state: &mut State<'_, '_>, value: &Value) -> Result<bool, Error> {
    match state.lookup(WAS_VAULTED) {
        Some(function) => Ok(function.call(state, std::slice::from_ref(value))?.is_true()),
        None => Ok(false),
    }
}

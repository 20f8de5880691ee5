//! In: a command and whose rights it should have. Out: the command with its privilege escalation around it.

use layerplay_modules::ModuleError;

use crate::run::Become;

/// Nobody has to become who they are: as with Ansible, `sudo` is then not needed at all.
pub(super) fn needed(privilege: Option<Become>, user: Option<&str>) -> Option<Become> {
    privilege.filter(|privilege| user != Some(privilege.user.as_str()))
}

/// Who this process is.
pub(super) fn own_name() -> Option<String> {
    nix::unistd::User::from_uid(nix::unistd::geteuid())
        .ok()
        .flatten()
        .map(|user| user.name)
}

/// `argv` under `sudo` or `su`. A password goes to standard input, never onto a command line.
pub(super) fn wrap(
    argv: Vec<String>,
    privilege: Option<&Become>,
) -> Result<Vec<String>, ModuleError> {
    let Some(privilege) = privilege else {
        return Ok(argv);
    };
    let flags = privilege
        .flags
        .as_deref()
        .map(|flags| shlex::split(flags).unwrap_or_default());
    let mut wrapped: Vec<String> = match privilege.method.as_str() {
        "sudo" => {
            let asks = if privilege.password.is_some() {
                vec!["-S", "-p", ""]
            } else {
                vec!["-n"]
            };
            std::iter::once("sudo")
                .chain(asks)
                .map(ToOwned::to_owned)
                .collect()
        }
        "su" => {
            let command = shlex::try_join(argv.iter().map(String::as_str)).map_err(|problem| {
                ModuleError::failed(format!("the command cannot be given to `su`: {problem}"))
            })?;
            return Ok(["su", "-", &privilege.user, "-c", &command]
                .map(ToOwned::to_owned)
                .to_vec());
        }
        other => {
            return Err(
                ModuleError::failed(format!("`become_method: {other}` is not known"))
                    .hint("use `sudo` or `su`"),
            );
        }
    };
    wrapped.extend(flags.unwrap_or_default());
    wrapped.extend(["-u".to_owned(), privilege.user.clone(), "--".to_owned()]);
    wrapped.extend(argv);
    Ok(wrapped)
}

/// The password line that `sudo -S` reads before the command's own input.
pub(super) fn input(stdin: Option<Vec<u8>>, privilege: Option<&Become>) -> Option<Vec<u8>> {
    let password = privilege
        .filter(|privilege| privilege.method == "sudo")
        .and_then(|privilege| privilege.password.as_ref());
    match password {
        None => stdin,
        Some(password) => {
            let mut text = format!("{password}\n").into_bytes();
            text.extend(stdin.unwrap_or_default());
            Some(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_becomes_who_they_are() {
        let privilege = Some(Become {
            method: "sudo".to_owned(),
            user: "root".to_owned(),
            flags: None,
            password: None,
        });
        assert_eq!(needed(privilege.clone(), Some("root")), None);
        assert_eq!(needed(privilege.clone(), Some("core")), privilege);
        assert_eq!(needed(privilege.clone(), None), privilege);
    }

    #[test]
    fn a_commands_own_input_is_never_lost() {
        let text = Some(b"text".to_vec());
        assert_eq!(input(text.clone(), None), text);
        let mut privilege = Become {
            method: "su".to_owned(),
            user: "root".to_owned(),
            flags: None,
            password: Some("pw".to_owned()),
        };
        assert_eq!(input(text.clone(), Some(&privilege)), text);
        privilege.method = "sudo".to_owned();
        assert_eq!(input(text, Some(&privilege)), Some(b"pw\ntext".to_vec()));
        assert_eq!(input(None, Some(&privilege)), Some(b"pw\n".to_vec()));
    }
}

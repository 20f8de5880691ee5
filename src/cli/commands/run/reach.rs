//! In: options and settings. Out: how hosts are reached where neither a keyword nor a variable says it, with the
//! passwords that the person gives.

use std::path::Path;

use crate::cli::args::ReachOptions;
use crate::cli::prompter;
use crate::cli::settings::Settings;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::vars::Reach;

fn wrong(message: String) -> Diagnostic {
    Diagnostic::error(Code::COMMAND_LINE, message)
}

/// A password from a file, or from the person when it is to be asked for.
fn password(file: Option<&Path>, question: Option<&str>) -> Result<Option<String>, Diagnostics> {
    let text = match (file, question) {
        (Some(path), _) => std::fs::read_to_string(path).map_err(|problem| {
            wrong(format!(
                "the password file `{}` cannot be read: {problem}",
                path.display()
            ))
        })?,
        (None, Some(question)) => prompter::ask_hidden(question)
            .map_err(|problem| wrong(format!("no password was given: {problem}")))?,
        (None, None) => return Ok(None),
    };
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()).filter(|text| !text.is_empty()))
}

pub(super) fn of(options: &ReachOptions, settings: &Settings) -> Result<Reach, Diagnostics> {
    let file = |option: &Option<std::path::PathBuf>, setting: &Option<std::path::PathBuf>| {
        option.clone().or_else(|| setting.clone())
    };
    let text = |option: &Option<String>, setting: &Option<String>| {
        option.clone().or_else(|| setting.clone())
    };
    let asks = options.ask_pass || settings.ask_pass.value;
    // An option that asks is stronger than a file of the settings.
    let connection_file = file(
        &options.connection_password_file,
        &settings.connection_password_file,
    )
    .filter(|_| !options.ask_pass);
    let connection_password =
        password(connection_file.as_deref(), asks.then_some("SSH password: "))?;
    let becomes_asking = options.ask_become_pass || settings.become_ask_pass.value;
    let become_file = file(
        &options.become_password_file,
        &settings.become_password_file,
    )
    .filter(|_| !options.ask_become_pass);
    let question = if connection_password.is_some() {
        "BECOME password[defaults to SSH password]: "
    } else {
        "BECOME password: "
    };
    let mut become_password = password(become_file.as_deref(), becomes_asking.then_some(question))?;
    if become_password.is_none() && becomes_asking {
        become_password.clone_from(&connection_password);
    }
    let path = |path: &std::path::PathBuf| path.display().to_string();
    let variables = [
        ("ansible_user", text(&options.user, &settings.remote_user)),
        (
            "ansible_port",
            settings.remote_port.as_ref().map(ToString::to_string),
        ),
        (
            "ansible_ssh_private_key_file",
            options
                .private_key
                .clone()
                .or_else(|| settings.private_key_file.as_ref().map(path)),
        ),
        ("ansible_password", connection_password),
        (
            "ansible_ssh_timeout",
            Some(
                options
                    .timeout
                    .unwrap_or(settings.timeout.value)
                    .to_string(),
            ),
        ),
        (
            "ansible_host_key_checking",
            Some(settings.host_key_checking.value.to_string()),
        ),
        ("ansible_ssh_args", settings.ssh_args.value.clone()),
        (
            "ansible_ssh_common_args",
            text(&options.ssh_common_args, &settings.ssh_common_args),
        ),
        (
            "ansible_ssh_extra_args",
            text(&options.ssh_extra_args, &settings.ssh_extra_args),
        ),
        (
            "ansible_ssh_retries",
            Some(settings.ssh_retries.value.to_string()),
        ),
        (
            "ansible_control_path_dir",
            settings.control_path_dir.as_ref().map(path),
        ),
    ];
    Ok(Reach {
        becomes: options.becomes || settings.r#become.value,
        become_user: text(&options.become_user, &settings.become_user),
        become_method: text(&options.become_method, &settings.become_method),
        become_flags: settings.become_flags.value.clone(),
        become_password,
        connection: text(&options.connection, &settings.transport)
            // Ansible's older name for SSH.
            .map(|name| {
                if name == "smart" {
                    "ssh".to_owned()
                } else {
                    name
                }
            }),
        variables: variables
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect(),
    })
}

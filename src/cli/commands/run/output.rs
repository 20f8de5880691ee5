//! In: options and settings. Out: the reporter of a run, its log, and the file that names the hosts to try again.

use std::fs;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use layerplay_modules::secret::Secrets;

use crate::cli::args::{Format, RunArgs};
use crate::cli::commands::junit;
use crate::cli::printer;
use crate::cli::settings::{Origin, Settings};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::event::Sink;
use crate::report::{Ansible, JsonLines, Junit, Output, Pretty, ResultFormat, Shown};

/// The format of the options, else that of the settings, else what fits where the output goes: a script that reads what
/// ansible-playbook prints can read this.
fn format(args: &RunArgs, settings: &Settings) -> Format {
    let fitting = if std::io::stdout().is_terminal() {
        Format::Pretty
    } else {
        Format::Ansible
    };
    if let Some(format) = args.format {
        return format;
    }
    if settings.stdout_callback.origin == Origin::Default {
        return fitting;
    }
    let name = settings.stdout_callback.as_str();
    match name.rsplit('.').next().unwrap_or(name) {
        "pretty" => Format::Pretty,
        "json" | "jsonl" => Format::Json,
        "junit" => Format::Junit,
        "default" | "ansible" | "yaml" | "debug" => Format::Ansible,
        _ => {
            printer::err(&format!(
                "warning: there is no callback `{name}` ({}): the output has the form of `default`",
                settings.stdout_callback.origin
            ));
            Format::Ansible
        }
    }
}

/// The reporter of a run.
pub(super) fn sink(
    args: &RunArgs,
    settings: &Settings,
    secrets: &Arc<Secrets>,
) -> Result<Box<dyn Sink>, Diagnostics> {
    if settings.force_color.value {
        anstream::ColorChoice::Always.write_global();
    } else if settings.nocolor.value {
        anstream::ColorChoice::Never.write_global();
    }
    let mut output = Output::new(Box::new(anstream::stdout()), Arc::clone(secrets));
    if let Some(path) = &settings.log_path.value {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|problem| {
                Diagnostic::error(
                    Code::SETTINGS,
                    format!("the log `{}` cannot be written: {problem}", path.display()),
                )
                .help(format!("`log_path` is set by {}", settings.log_path.origin))
            })?;
        output = output.with_log(Box::new(anstream::StripStream::new(log)));
    }
    let is_yaml = settings.stdout_callback.ends_with("yaml");
    let shown = Shown {
        verbosity: settings.verbosity.value,
        diff: settings.diff_always.value,
        diff_context: usize::try_from(settings.diff_context.value).unwrap_or(usize::MAX),
        skipped: settings.display_skipped_hosts.value,
        ok: settings.display_ok_hosts.value,
        check_markers: settings.check_mode_markers.value,
        results: if is_yaml {
            ResultFormat::Yaml
        } else {
            settings.callback_result_format.value
        },
    };
    Ok(match format(args, settings) {
        Format::Pretty => Box::new(Pretty::new(output, std::io::stderr().is_terminal(), shown)),
        Format::Ansible => Box::new(Ansible::new(output, shown)),
        Format::Json => Box::new(JsonLines::new(output)),
        Format::Junit => Box::new(Junit::new(output, junit::options())),
    })
}

/// `PLAYBOOK.retry`, for `--limit @FILE`: the hosts that failed.
pub(super) fn retry_file(playbooks: &[PathBuf], settings: &Settings, hosts: &[Arc<str>]) {
    let Some(playbook) = playbooks.first().filter(|_| !hosts.is_empty()) else {
        return;
    };
    let name = playbook.with_extension("retry");
    let path = match &settings.retry_files_save_path.value {
        Some(dir) => dir.join(name.file_name().unwrap_or_default()),
        None => name,
    };
    let text = hosts.join("\n") + "\n";
    let written = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(&path, text));
    let shown = path.display();
    printer::err(&match written {
        Ok(()) => format!("to try the hosts that failed again: --limit @{shown}"),
        Err(problem) => format!("warning: `{shown}` cannot be written: {problem}"),
    });
}

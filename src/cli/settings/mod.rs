//! Settings. In: `ANSIBLE_*` variables, `layerplay.toml`, `ansible.cfg`. Out: one typed struct that knows of each value
//! where it comes from, and every mistake in these files at once.
//!
//! Strongest first: options of the command line (each command adds them itself), environment, `layerplay.toml`,
//! `ansible.cfg`, Ansible's defaults. Names, types and defaults: ansible-core 2.19, `config/base.yml` and the plugins
//! `ssh`, `sudo`, `default`, `jsonfile`.

mod cfg;
mod files;
mod kinds;
mod names;
#[cfg(test)]
mod tests;
mod toml;

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
pub(super) use kinds::resolve;
use kinds::{Folders, Inventories, Kind, Raw};

use serde_json::Value;

use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::playbook::Strategy;
use crate::report::ResultFormat;
use crate::source::{DuplicateKeys, Span};
use crate::vars::Gathering;

/// A line of a settings file.
#[derive(Debug, Clone)]
struct Entry {
    section: String,
    key: String,
    raw: Raw,
    span: Span,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Origin {
    Default,
    Environment(&'static str),
    File(Span),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Environment(name) => f.write_str(name),
            Self::File(span) => write!(f, "{span}"),
        }
    }
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sourced<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

impl<T> Deref for Sourced<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A setting as it is listed: name, value, origin.
pub(super) type Row = (&'static str, Value, Origin);

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: $kind:ty = $default:expr, [$($key:literal),*], [$($variable:literal),*];)*) => {
        /// Every setting that has an effect.
        #[derive(Debug, Clone)]
        pub(super) struct Settings {
            /// The files that were read.
            pub(super) files: Vec<PathBuf>,
            $($(#[$doc])* pub(super) $name: Sourced<$kind>,)*
        }

        impl Settings {
            fn assemble(given: &Given, problems: &mut Diagnostics) -> Self {
                Self {
                    files: given.files(),
                    $($name: given.read(&[$($key),*], &[$($variable),*], problems).unwrap_or_else(|| Sourced {
                        value: $default,
                        origin: Origin::Default,
                    }),)*
                }
            }

            /// All of them, for people.
            pub(super) fn rows(&self) -> Vec<Row> {
                vec![$((stringify!($name), self.$name.value.value(), self.$name.origin.clone())),*]
            }

            /// All of them by the names of their environment variables.
            fn by_variable(&self) -> Vec<(&'static str, Value)> {
                let mut all = Vec::new();
                $(for name in [$($variable),*] {
                    all.push((name, self.$name.value.value()));
                })*
                all
            }
        }

        /// `section.key` of every setting that has an effect.
        const EFFECTIVE: &[&str] = &[$($($key,)*)*];
    };
}

settings! {
    // How hosts are found and reached.
    inventory: Inventories = Inventories::default(), ["defaults.inventory"], ["ANSIBLE_INVENTORY"];
    forks: u32 = 5, ["defaults.forks"], ["ANSIBLE_FORKS"];
    remote_user: Option<String> = None, ["defaults.remote_user"], ["ANSIBLE_REMOTE_USER"];
    remote_port: Option<u16> = None, ["defaults.remote_port"], ["ANSIBLE_REMOTE_PORT"];
    private_key_file: Option<PathBuf> = None, ["defaults.private_key_file"], ["ANSIBLE_PRIVATE_KEY_FILE"];
    /// Seconds that a machine may take to answer.
    timeout: u32 = 10, ["defaults.timeout", "ssh_connection.timeout"], ["ANSIBLE_TIMEOUT", "ANSIBLE_SSH_TIMEOUT"];
    transport: Option<String> = None, ["defaults.transport"], ["ANSIBLE_TRANSPORT"];
    host_key_checking: bool = true, ["defaults.host_key_checking", "ssh_connection.host_key_checking"], ["ANSIBLE_HOST_KEY_CHECKING", "ANSIBLE_SSH_HOST_KEY_CHECKING"];
    ask_pass: bool = false, ["defaults.ask_pass"], ["ANSIBLE_ASK_PASS"];
    connection_password_file: Option<PathBuf> = None, ["defaults.connection_password_file"], ["ANSIBLE_CONNECTION_PASSWORD_FILE"];
    ssh_args: Option<String> = None, ["ssh_connection.ssh_args"], ["ANSIBLE_SSH_ARGS"];
    ssh_common_args: Option<String> = None, ["ssh_connection.ssh_common_args"], ["ANSIBLE_SSH_COMMON_ARGS"];
    ssh_extra_args: Option<String> = None, ["ssh_connection.ssh_extra_args"], ["ANSIBLE_SSH_EXTRA_ARGS"];
    ssh_retries: u32 = 0, ["ssh_connection.retries", "connection.retries"], ["ANSIBLE_SSH_RETRIES"];
    control_path_dir: Option<PathBuf> = None, ["ssh_connection.control_path_dir"], ["ANSIBLE_SSH_CONTROL_PATH_DIR"];
    // Whose rights tasks have.
    r#become: bool = false, ["privilege_escalation.become"], ["ANSIBLE_BECOME"];
    become_user: Option<String> = None, ["privilege_escalation.become_user", "sudo_become_plugin.user"], ["ANSIBLE_BECOME_USER", "ANSIBLE_SUDO_USER"];
    become_method: Option<String> = None, ["privilege_escalation.become_method"], ["ANSIBLE_BECOME_METHOD"];
    become_flags: Option<String> = None, ["privilege_escalation.become_flags", "sudo_become_plugin.flags"], ["ANSIBLE_BECOME_FLAGS", "ANSIBLE_SUDO_FLAGS"];
    become_ask_pass: bool = false, ["privilege_escalation.become_ask_pass"], ["ANSIBLE_BECOME_ASK_PASS"];
    become_password_file: Option<PathBuf> = None, ["defaults.become_password_file"], ["ANSIBLE_BECOME_PASSWORD_FILE"];
    // Plays.
    roles_path: Folders = Folders::default(), ["defaults.roles_path"], ["ANSIBLE_ROLES_PATH"];
    strategy: Strategy = Strategy::Linear, ["defaults.strategy"], ["ANSIBLE_STRATEGY"];
    gathering: Gathering = Gathering::Implicit, ["defaults.gathering"], ["ANSIBLE_GATHERING"];
    fact_caching: String = "memory".to_owned(), ["defaults.fact_caching"], ["ANSIBLE_CACHE_PLUGIN"];
    fact_caching_connection: Option<PathBuf> = None, ["defaults.fact_caching_connection"], ["ANSIBLE_CACHE_PLUGIN_CONNECTION"];
    fact_caching_prefix: String = "ansible_facts".to_owned(), ["defaults.fact_caching_prefix"], ["ANSIBLE_CACHE_PLUGIN_PREFIX"];
    /// Seconds; 0 is for ever.
    fact_caching_timeout: u64 = 86400, ["defaults.fact_caching_timeout"], ["ANSIBLE_CACHE_PLUGIN_TIMEOUT"];
    inject_facts_as_vars: bool = true, ["defaults.inject_facts_as_vars"], ["ANSIBLE_INJECT_FACT_VARS"];
    force_handlers: bool = false, ["defaults.force_handlers"], ["ANSIBLE_FORCE_HANDLERS"];
    any_errors_fatal: bool = false, ["defaults.any_errors_fatal"], ["ANSIBLE_ANY_ERRORS_FATAL"];
    error_on_missing_handler: bool = true, ["defaults.error_on_missing_handler"], ["ANSIBLE_ERROR_ON_MISSING_HANDLER"];
    no_log: bool = false, ["defaults.no_log"], ["ANSIBLE_NO_LOG"];
    /// Seconds that an attempt of a task may take; 0 is no limit.
    task_timeout: u64 = 0, ["defaults.task_timeout"], ["ANSIBLE_TASK_TIMEOUT"];
    tags_run: Vec<String> = Vec::new(), ["tags.run"], ["ANSIBLE_RUN_TAGS"];
    tags_skip: Vec<String> = Vec::new(), ["tags.skip"], ["ANSIBLE_SKIP_TAGS"];
    retry_files_enabled: bool = false, ["defaults.retry_files_enabled"], ["ANSIBLE_RETRY_FILES_ENABLED"];
    retry_files_save_path: Option<PathBuf> = None, ["defaults.retry_files_save_path"], ["ANSIBLE_RETRY_FILES_SAVE_PATH"];
    // The language.
    allow_broken_conditionals: bool = false, ["defaults.allow_broken_conditionals"], ["ANSIBLE_ALLOW_BROKEN_CONDITIONALS"];
    duplicate_dict_key: DuplicateKeys = DuplicateKeys::Warn, ["defaults.duplicate_dict_key"], ["ANSIBLE_DUPLICATE_YAML_DICT_KEY"];
    hash_behaviour: String = "replace".to_owned(), ["defaults.hash_behaviour"], ["ANSIBLE_HASH_BEHAVIOUR"];
    error_on_undefined_vars: bool = true, ["defaults.error_on_undefined_vars"], ["ANSIBLE_ERROR_ON_UNDEFINED_VARS"];
    jinja2_extensions: Vec<String> = Vec::new(), ["defaults.jinja2_extensions"], ["ANSIBLE_JINJA2_EXTENSIONS"];
    // Vaults.
    vault_password_file: Option<PathBuf> = None, ["defaults.vault_password_file"], ["ANSIBLE_VAULT_PASSWORD_FILE"];
    vault_identity_list: Vec<String> = Vec::new(), ["defaults.vault_identity_list"], ["ANSIBLE_VAULT_IDENTITY_LIST"];
    vault_identity: String = "default".to_owned(), ["defaults.vault_identity"], ["ANSIBLE_VAULT_IDENTITY"];
    vault_encrypt_identity: Option<String> = None, ["defaults.vault_encrypt_identity"], ["ANSIBLE_VAULT_ENCRYPT_IDENTITY"];
    vault_id_match: bool = false, ["defaults.vault_id_match"], ["ANSIBLE_VAULT_ID_MATCH"];
    ask_vault_pass: bool = false, ["defaults.ask_vault_pass"], ["ANSIBLE_ASK_VAULT_PASS"];
    // What is shown.
    stdout_callback: String = "default".to_owned(), ["defaults.stdout_callback"], ["ANSIBLE_STDOUT_CALLBACK"];
    callback_result_format: ResultFormat = ResultFormat::Json, ["defaults.callback_result_format"], ["ANSIBLE_CALLBACK_RESULT_FORMAT"];
    display_skipped_hosts: bool = true, ["defaults.display_skipped_hosts"], ["ANSIBLE_DISPLAY_SKIPPED_HOSTS"];
    display_ok_hosts: bool = true, ["defaults.display_ok_hosts"], ["ANSIBLE_DISPLAY_OK_HOSTS"];
    check_mode_markers: bool = false, ["defaults.check_mode_markers"], ["ANSIBLE_CHECK_MODE_MARKERS"];
    diff_always: bool = false, ["diff.always"], ["ANSIBLE_DIFF_ALWAYS"];
    diff_context: u32 = 3, ["diff.context"], ["ANSIBLE_DIFF_CONTEXT"];
    verbosity: u8 = 0, ["defaults.verbosity"], ["ANSIBLE_VERBOSITY"];
    nocolor: bool = false, ["defaults.nocolor"], ["ANSIBLE_NOCOLOR", "NO_COLOR"];
    force_color: bool = false, ["defaults.force_color"], ["ANSIBLE_FORCE_COLOR"];
    log_path: Option<PathBuf> = None, ["defaults.log_path"], ["ANSIBLE_LOG_PATH"];
}

/// Settings that are called other than their variables.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("RUN_TAGS", "TAGS_RUN"),
    ("SKIP_TAGS", "TAGS_SKIP"),
    ("INVENTORY", "DEFAULT_HOST_LIST"),
    ("CACHE_PLUGIN", "CACHE_PLUGIN"),
    ("FORCE_COLOR", "ANSIBLE_FORCE_COLOR"),
    ("NOCOLOR", "ANSIBLE_NOCOLOR"),
];

impl Settings {
    /// As `lookup('config', NAME)` names them. Most are called as their variables, many of them with `DEFAULT_` in front,
    /// in no order that one could learn: both forms are taken.
    pub(super) fn by_constant(&self) -> IndexMap<String, Value> {
        let mut all = IndexMap::new();
        for (variable, value) in self.by_variable() {
            let name = variable.strip_prefix("ANSIBLE_").unwrap_or(variable);
            let other = OTHER_NAMES.iter().find(|(own, _)| *own == name);
            all.insert(
                other.map_or_else(
                    || format!("DEFAULT_{name}"),
                    |(_, other)| (*other).to_owned(),
                ),
                value.clone(),
            );
            all.insert(name.to_owned(), value);
        }
        all
    }
}

/// What files and the environment say, strongest file first.
struct Given {
    files: Vec<files::Read>,
    environment: fn(&str) -> Option<String>,
    here: PathBuf,
}

impl Given {
    fn files(&self) -> Vec<PathBuf> {
        self.files
            .iter()
            .map(|read| read.file.path.clone())
            .collect()
    }

    /// One setting by its names; `None` where nobody says it. A wrong value is a problem and no value.
    fn read<T: Kind>(
        &self,
        keys: &[&str],
        variables: &[&'static str],
        problems: &mut Diagnostics,
    ) -> Option<Sourced<T>> {
        for &variable in variables {
            let Some(text) = (self.environment)(variable).filter(|text| !text.is_empty()) else {
                continue;
            };
            // Any text at all asks for no colours (<https://no-color.org>).
            let text = if variable == "NO_COLOR" {
                "true".to_owned()
            } else {
                text
            };
            return match T::read(&Raw::Text(text.clone()), &self.here) {
                Ok(value) => Some(Sourced {
                    value,
                    origin: Origin::Environment(variable),
                }),
                Err(wanted) => {
                    problems.push(
                        Diagnostic::error(
                            Code::SETTINGS,
                            format!("`{variable}={text}`: the setting has to be {wanted}"),
                        )
                        .help(format!(
                            "correct the environment variable, or `unset {variable}`"
                        )),
                    );
                    None
                }
            };
        }
        let entries = self.files.iter().flat_map(|read| {
            let dir = read.file.path.parent().unwrap_or(Path::new("."));
            // In one file the last of two equal keys holds, as in Ansible.
            read.entries.iter().rev().map(move |entry| (entry, dir))
        });
        for (entry, dir) in entries {
            let is_this = |key: &&&str| {
                key.split_once('.')
                    .is_some_and(|(section, key)| entry.section == section && entry.key == key)
            };
            if !keys.iter().any(|key| is_this(&key)) {
                continue;
            }
            return match T::read(&entry.raw, dir) {
                Ok(value) => Some(Sourced {
                    value,
                    origin: Origin::File(entry.span.clone()),
                }),
                Err(wanted) => {
                    problems.push(
                        Diagnostic::error(
                            Code::SETTINGS,
                            format!("`{}` has to be {wanted}", entry.key),
                        )
                        .at(&entry.span, ""),
                    );
                    None
                }
            };
        }
        None
    }
}

/// Reads all settings. Warnings come along; every mistake of every file comes back together.
pub(super) fn load() -> Result<(Settings, Diagnostics), Diagnostics> {
    let here = std::env::current_dir().unwrap_or_default();
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let (files, problems) = files::find(&here, home.as_deref(), &|name| std::env::var(name).ok());
    settle(
        &Given {
            files,
            environment: |name| std::env::var(name).ok(),
            here,
        },
        problems,
    )
}

fn settle(
    given: &Given,
    mut problems: Diagnostics,
) -> Result<(Settings, Diagnostics), Diagnostics> {
    let settings = Settings::assemble(given, &mut problems);
    for entry in given.files.iter().flat_map(|read| &read.entries) {
        if let Some(problem) = names::judge(entry) {
            problems.push(problem);
        }
    }
    refuse(&settings, &mut problems);
    if problems.has_errors() {
        return Err(problems);
    }
    Ok((settings, problems))
}

/// What would silently change the meaning of playbooks, were it passed over.
fn refuse(settings: &Settings, problems: &mut Diagnostics) {
    let mut say = |severe: bool, origin: &Origin, message: String, help: &str| {
        let problem = if severe {
            Diagnostic::error(Code::SETTINGS, message)
        } else {
            Diagnostic::warning(Code::SETTINGS, message)
        };
        let problem = match origin {
            Origin::File(span) => problem.at(span, ""),
            Origin::Environment(name) => problem.help(format!("set by `{name}`")),
            Origin::Default => problem,
        };
        problems.push(problem.help(help));
    };
    if settings.forks.value == 0 {
        say(
            true,
            &settings.forks.origin,
            "`forks` has to be 1 or more".to_owned(),
            "it is the number of hosts that are worked on at once",
        );
    }
    if settings.hash_behaviour.value != "replace" {
        say(
            true,
            &settings.hash_behaviour.origin,
            format!(
                "`hash_behaviour: {}` is not supported: a mapping replaces the one below it",
                *settings.hash_behaviour
            ),
            "join mappings where they are used: `{{ base | combine(more, recursive=true) }}`",
        );
    }
    if !settings.error_on_undefined_vars.value {
        say(
            false,
            &settings.error_on_undefined_vars.origin,
            "`error_on_undefined_vars: false` has no effect: an undefined name always fails"
                .to_owned(),
            "write `| default('')` where a name may be missing",
        );
    }
    if !settings.jinja2_extensions.is_empty() {
        say(
            false,
            &settings.jinja2_extensions.origin,
            "`jinja2_extensions` has no effect".to_owned(),
            "templates that use an extension's tags do not compile; `check` finds them",
        );
    }
    if !matches!(
        settings.fact_caching.as_str(),
        "memory" | "jsonfile" | "ansible.builtin.memory" | "ansible.builtin.jsonfile"
    ) {
        say(
            true,
            &settings.fact_caching.origin,
            format!("there is no cache of facts `{}`", *settings.fact_caching),
            "`memory` and `jsonfile` are there",
        );
    } else if settings.fact_caching.ends_with("jsonfile")
        && settings.fact_caching_connection.is_none()
    {
        say(
            true,
            &settings.fact_caching.origin,
            "a cache of facts in files needs a folder".to_owned(),
            "name it with `fact_caching_connection`",
        );
    }
}

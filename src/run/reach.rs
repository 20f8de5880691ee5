//! In: a task's keywords, its host's variables and the command line. Out: how the host is reached and with whose rights:
//! the platform of the task. Variables say it before keywords, and these before the command line.

use std::sync::Arc;

use indexmap::IndexMap;
use layerplay_modules::platform::{Platform, Progress, ProgressSink};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::attempt::{Problem, Unit};
use super::result::{Done, to_json};
use super::{Become, Run, Wanted};
use crate::event::{EventKind, TaskRef};
use crate::playbook::yes_or_no;
use crate::template::{Lazy, Scope};
use crate::vars::TaskScope;

/// Variables that say how a host is reached, and how clusters and registries are.
const CONNECTION: &[&str] = &[
    "ansible_become",
    "ansible_become_flags",
    "ansible_become_method",
    "ansible_become_password",
    "ansible_become_user",
    "ansible_connection",
    "ansible_control_path_dir",
    "ansible_host",
    "ansible_host_key_checking",
    "ansible_password",
    "ansible_port",
    "ansible_ssh_args",
    "ansible_ssh_common_args",
    "ansible_ssh_extra_args",
    "ansible_ssh_private_key_file",
    "ansible_ssh_retries",
    "ansible_ssh_timeout",
    "ansible_user",
    "context",
    "kubeconfig",
    "registry_auth_file",
    "registry_ca_file",
    "registry_insecure",
];

/// Other names of them. Where both are set, the second of a pair is the one, as in Ansible.
const OTHER_NAMES: &[(&str, &str)] = &[
    ("ansible_become_password", "ansible_become_pass"),
    ("ansible_host", "ansible_ssh_host"),
    ("ansible_host_key_checking", "ansible_ssh_host_key_checking"),
    ("ansible_password", "ansible_ssh_pass"),
    ("ansible_port", "ansible_ssh_port"),
    ("ansible_private_key_file", "ansible_ssh_private_key_file"),
    ("ansible_timeout", "ansible_ssh_timeout"),
    ("ansible_user", "ansible_ssh_user"),
];

/// Turns what a module says into events.
struct Relay {
    run: Arc<Run>,
    task: TaskRef,
    host: String,
}

impl ProgressSink for Relay {
    fn send(&self, progress: Progress) {
        let (task, host) = (self.task.clone(), self.host.clone());
        self.run.bus.emit(match progress {
            Progress::Status(text) => EventKind::Status { task, host, text },
            Progress::Note(text) => EventKind::Note { task, host, text },
            Progress::Warning(text) => EventKind::Note {
                task,
                host,
                text: format!("warning: {text}"),
            },
            Progress::Rollout(progress) => EventKind::Rollout {
                task,
                host,
                progress,
            },
            Progress::Stall(diagnosis) => EventKind::Stall {
                task,
                host,
                diagnosis,
            },
        });
    }
}

impl Unit {
    /// The adapters for the host that the task runs on.
    pub(super) async fn platform(&self) -> Result<Platform, Box<Done>> {
        let wanted = self.wanted().map_err(|problem| Box::new(problem.done()))?;
        self.run
            .connect
            .platform(wanted)
            .await
            .map_err(|problem| Box::new(Done::error(problem, None)))
    }

    /// What the variables say of how a host is reached, each under one name.
    fn connection_variables(&self, reach: &TaskScope) -> Result<IndexMap<String, Value>, Problem> {
        let shared = reach.share();
        let mut variables = IndexMap::new();
        let value = |name: &str| -> Result<Option<Value>, Problem> {
            let Some(lazy) = reach.lookup(name) else {
                return Ok(None);
            };
            Ok(Some(to_json(&self.templar().evaluate(&lazy, &shared)?)))
        };
        for name in CONNECTION {
            let mut found = value(name)?;
            for (first, second) in OTHER_NAMES {
                if first == name {
                    found = value(second)?.filter(|value| !value.is_null()).or(found);
                } else if second == name && found.as_ref().is_none_or(Value::is_null) {
                    found = value(first)?;
                }
            }
            if let Some(found) = found {
                variables.insert((*name).to_owned(), found);
            }
        }
        Ok(variables)
    }

    /// Whose rights the task has: variables say it before keywords, and these before the command line.
    fn privilege(&self, variables: &IndexMap<String, Value>) -> Result<Option<Become>, Problem> {
        let var = |name: &str| match variables.get(name)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        };
        let keywords = &self.task.keywords;
        let options = &self.run.world.settings.reach;
        let becomes = match var("ansible_become") {
            Some(text) => yes_or_no(&text).ok_or_else(|| {
                Problem::Text(format!(
                    "`ansible_become: {text}` is neither `true` nor `false`"
                ))
            })?,
            None => self
                .flag(keywords.become_.as_ref())?
                .unwrap_or(options.becomes),
        };
        if !becomes {
            return Ok(None);
        }
        let said = |name: &str, keyword: &Option<Lazy>, option: Option<&String>| {
            Ok::<_, Problem>(match var(name) {
                Some(text) => Some(text),
                None => self.text(keyword.as_ref())?.or_else(|| option.cloned()),
            })
        };
        let password = var("ansible_become_password").or_else(|| options.become_password.clone());
        if let Some(password) = &password {
            self.run.secrets.add(password);
        }
        let method = said(
            "ansible_become_method",
            &keywords.become_method,
            options.become_method.as_ref(),
        )?;
        let user = said(
            "ansible_become_user",
            &keywords.become_user,
            options.become_user.as_ref(),
        )?;
        Ok(Some(Become {
            method: method
                .as_deref()
                .map_or("sudo", |name| name.trim_start_matches("ansible.builtin."))
                .to_owned(),
            user: user.unwrap_or_else(|| "root".to_owned()),
            flags: said(
                "ansible_become_flags",
                &keywords.become_flags,
                options.become_flags.as_ref(),
            )?,
            password,
        }))
    }

    pub(super) fn wanted(&self) -> Result<Wanted, Problem> {
        let host = self
            .delegated_to
            .clone()
            .unwrap_or_else(|| self.scope.host.name.to_string());
        let world = &self.run.world;
        // How a machine is reached is said by its own variables, not by those of the host that delegates to it.
        let reach = match &self.delegated_to {
            Some(other) => {
                let mut scope = TaskScope::new(world, self.scope.play.clone(), &world.host(other));
                scope.play_vars.clone_from(&self.scope.play_vars);
                scope
            }
            None => self.outer.as_deref().unwrap_or(&self.scope).clone(),
        };
        let mut variables = self.connection_variables(&reach)?;
        let keywords = &self.task.keywords;
        let options = &world.settings.reach;
        for (name, keyword) in [
            ("ansible_user", &keywords.remote_user),
            ("ansible_port", &keywords.port),
        ] {
            if !variables.contains_key(name)
                && let Some(text) = self.text(keyword.as_ref())?
            {
                variables.insert(name.to_owned(), Value::String(text));
            }
        }
        for (name, value) in &options.variables {
            if !variables.contains_key(*name) {
                variables.insert((*name).to_owned(), Value::String(value.clone()));
            }
        }
        if let Some(Value::String(password)) = variables.get("ansible_password") {
            self.run.secrets.add(password);
        }
        let connection = match variables.get("ansible_connection").and_then(Value::as_str) {
            Some(name) => name.to_owned(),
            None => match self.text(keywords.connection.as_ref())? {
                Some(name) => name,
                // The implicit localhost needs no inventory and no SSH. One that the inventory has goes by the options.
                None if matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1")
                    && (options.connection.is_none() || !world.has_host(&host)) =>
                {
                    "local".to_owned()
                }
                None => options
                    .connection
                    .clone()
                    .unwrap_or_else(|| "ssh".to_owned()),
            },
        };
        let privilege = self.privilege(&variables)?;
        Ok(Wanted {
            connection,
            variables,
            privilege,
            environment: self.environment()?,
            check: self.check,
            diff: self.diff,
            base_dir: self
                .scope
                .play
                .as_ref()
                .map(|play| play.dir.clone())
                .unwrap_or_default(),
            progress: Arc::new(Relay {
                run: Arc::clone(&self.run),
                task: self.task_ref.clone(),
                host: self.scope.host.name.to_string(),
            }),
            cancel: CancellationToken::clone(&self.run.cancel),
            host,
        })
    }
}

//! In: a task, a host's scope. Out: one attempt: arguments, connection, then the module's inspect and apply.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use layerplay_modules::contract::{Change, DynModule, FileArgument, Part, Render};
use layerplay_modules::core::arguments::first_word;
use layerplay_modules::platform::Platform;
use layerplay_modules::{ModuleError, Retry};
use serde_json::{Map, Value, json};

use super::lookup::{form_for, whole};
use super::result::{Done, to_json};
use super::{Run, builtin, gate, nested};
use crate::event::TaskRef;
use crate::playbook::{Kind, Task, yes_or_no};
use crate::source::Span;
use crate::template::{
    Condition, Form, Lazy, Scope, Templar, TemplateError, TemplateText, about, is_template,
};
use crate::vars::{HostState, TaskScope};

/// A module that asks for it is tried again this often (a conflict, an API server that restarts).
const RETRIES: u32 = 3;

/// One host's part of a task, as everything below a unit needs it.
#[derive(Clone)]
pub(super) struct Unit {
    pub(super) run: Arc<Run>,
    pub(super) task: Arc<Task>,
    pub(super) task_ref: TaskRef,
    pub(super) scope: TaskScope,
    /// Inside of a module in YAML: the scope of the task that called it. How the host is reached is said there, not by
    /// the module's options, which may have the same names.
    pub(super) outer: Option<Box<TaskScope>>,
    /// Inside of a module in YAML: the task that a person wrote, whose arguments are to blame.
    pub(super) caller: Option<Arc<Task>>,
    /// The other host that it runs on.
    pub(super) delegated_to: Option<String>,
    pub(super) check: bool,
    pub(super) diff: bool,
}

/// A template failed, or a value has the wrong form: what the result says.
pub(super) enum Problem {
    Template(TemplateError),
    /// The value of an argument: of which.
    Argument(String, TemplateError),
    Text(String),
}

impl From<TemplateError> for Problem {
    fn from(problem: TemplateError) -> Self {
        Self::Template(problem)
    }
}

impl Problem {
    pub(super) fn done(self) -> Done {
        match self {
            Self::Template(problem) => Done::template(&problem),
            Self::Argument(place, problem) => Done::template_in(&place, &problem),
            Self::Text(message) => Done::failed(message),
        }
    }
}

impl Unit {
    pub(super) fn templar(&self) -> &Templar {
        &self.run.world.templar
    }

    /// A keyword's value; `None` when it is not set, or `omit`.
    pub(super) fn keyword(&self, lazy: Option<&Lazy>) -> Result<Option<minijinja::Value>, Problem> {
        let Some(lazy) = lazy else { return Ok(None) };
        let value = self.templar().evaluate(lazy, &self.scope.share())?;
        Ok((!Templar::is_omit(&value) && !value.is_none()).then_some(value))
    }

    pub(super) fn flag(&self, lazy: Option<&Lazy>) -> Result<Option<bool>, Problem> {
        let Some(value) = self.keyword(lazy)? else {
            return Ok(None);
        };
        let text = value.to_string();
        match yes_or_no(&text) {
            Some(flag) => Ok(Some(flag)),
            None => Err(Problem::Text(format!(
                "The value '{text}' is not a valid boolean."
            ))),
        }
    }

    pub(super) fn text(&self, lazy: Option<&Lazy>) -> Result<Option<String>, Problem> {
        Ok(self.keyword(lazy)?.map(|value| value.to_string()))
    }

    /// All arguments: defaults of the module, `args:` as one template, then those written at the module.
    pub(super) fn arguments(&self) -> Result<Map<String, Value>, Problem> {
        let scope = self.scope.share();
        let mut all = Map::new();
        let names = self.names();
        for lazy in &self.task.keywords.module_defaults {
            let defaults = to_json(&self.templar().evaluate(lazy, &scope)?);
            for (module, arguments) in defaults.as_object().into_iter().flatten() {
                let own = names.iter().any(|name| name == module);
                all.extend(
                    arguments
                        .as_object()
                        .filter(|_| own)
                        .cloned()
                        .unwrap_or_default(),
                );
            }
        }
        for lazy in &self.task.args.whole {
            match to_json(&self.templar().evaluate(lazy, &scope)?) {
                Value::Object(map) => all.extend(map),
                Value::Null => {}
                other => {
                    return Err(Problem::Text(format!(
                        "a module's arguments are a mapping, not `{other}`"
                    )));
                }
            }
        }
        for (name, lazy) in &self.task.args.named {
            let value = self
                .templar()
                .evaluate(lazy, &scope)
                .map_err(|problem| self.argument_problem(name, problem))?;
            if Templar::is_omit(&value) {
                all.shift_remove(&**name);
            } else {
                // `set_fact` may make up its names.
                let name = if is_template(name) {
                    let text = TemplateText::from_text("name", name);
                    let name = Lazy::Template(Arc::new(text));
                    self.templar().evaluate(&name, &scope)?.to_string()
                } else {
                    name.to_string()
                };
                all.insert(name, to_json(&value));
            }
        }
        if let (Some(free), Some(info)) = (&self.task.args.free, self.task.kind.info()) {
            let value = self
                .templar()
                .evaluate(free, &scope)
                .map_err(|problem| self.argument_problem("_raw_params", problem))?;
            let name = info
                .free_form
                .clone()
                .unwrap_or_else(|| "_raw_params".to_owned());
            all.insert(name, to_json(&value));
        }
        Ok(all)
    }

    /// The module's whole name, where it has one: `ansible.builtin.copy`.
    fn full_action(&self) -> String {
        let mut names = self.names().into_iter();
        let full = names.find(|name| name.contains('.'));
        full.unwrap_or_else(|| self.task.action.clone())
    }

    /// The template of an argument failed: in Ansible's words.
    fn argument_problem(&self, argument: &str, problem: TemplateError) -> Problem {
        let module = self.full_action();
        Problem::Argument(
            format!(
                "Finalization of task args for '{module}' failed: Error while resolving value for '{argument}': "
            ),
            problem,
        )
    }

    /// `ansible_failed_task`: the task as it was meant to run.
    pub(super) fn failed_task(&self) -> Value {
        let keywords = &self.task.keywords;
        let scope = self.scope.share();
        let whole = |lazy: Option<&Lazy>| {
            lazy.and_then(|lazy| self.templar().evaluate(lazy, &scope).ok())
                .map_or(Value::Null, |value| to_json(&value))
        };
        let conditions: Vec<Value> = keywords.when.iter().map(shown_condition).collect();
        let mut arguments = self.arguments().unwrap_or_default();
        if let Some(free) = &self.task.args.free {
            arguments.insert("_raw_params".to_owned(), whole(Some(free)));
        }
        json!({
            "name": self.task.name.as_ref().map_or_else(|| json!(""), |name| whole(Some(name))),
            "action": self.task.action,
            "_resolved_action": self.full_action(),
            "args": arguments,
            "tags": keywords.tags,
            "when": conditions,
            "register": self.task.register.as_deref(),
            "delegate_to": self.delegated_to,
            "ignore_errors": whole(keywords.ignore_errors.as_ref()),
            "become": whole(keywords.become_.as_ref()),
            "become_user": whole(keywords.become_user.as_ref()),
            "run_once": whole(keywords.run_once.as_ref()),
            "no_log": whole(keywords.no_log.as_ref()),
            "retries": whole(self.task.retries.as_ref()),
            "delay": whole(self.task.delay.as_ref()),
            "vars": self.task.vars.as_ref().map(|vars| {
                vars.iter()
                    .map(|(name, value)| (name.to_string(), whole(Some(value))))
                    .collect::<Map<String, Value>>()
            }).unwrap_or_default(),
        })
    }

    /// The variables of the host that the task is delegated to.
    pub(super) fn delegated_scope(&self, other: &str) -> TaskScope {
        let world = &self.run.world;
        TaskScope::new(world, self.scope.play.clone(), &world.host(other))
    }

    /// Where that host is reached, when it is not by its name.
    pub(super) fn delegated_address(&self) -> Option<String> {
        let other = self.delegated_to.as_ref()?;
        let scope = self.delegated_scope(other).share();
        let address = scope.lookup("ansible_host")?;
        let address = self.templar().evaluate(&address, &scope).ok()?.to_string();
        (address != *other).then_some(address)
    }

    /// The hosts that get the facts of the task: the one that it is delegated to, all of the batch, or its own.
    pub(super) fn fact_hosts(&self) -> Vec<Arc<HostState>> {
        let is_set = |lazy: Option<&Lazy>| self.flag(lazy).unwrap_or(None).unwrap_or(false);
        let keywords = &self.task.keywords;
        if let Some(other) = &self.delegated_to
            && is_set(keywords.delegate_facts.as_ref())
        {
            return vec![self.run.world.host(other)];
        }
        let batch = self
            .scope
            .play
            .as_ref()
            .filter(|_| is_set(keywords.run_once.as_ref()))
            .and_then(|play| Some(play.batch.read().ok()?.clone()));
        match batch {
            Some(hosts) if !hosts.is_empty() => {
                hosts.iter().map(|host| self.run.world.host(host)).collect()
            }
            _ => vec![Arc::clone(&self.scope.host)],
        }
    }

    /// Every name of the task's module, for `module_defaults`.
    fn names(&self) -> Vec<String> {
        match (&self.task.kind, self.task.kind.info()) {
            (_, Some(info)) => info.aliases.iter().chain([&info.name]).cloned().collect(),
            (Kind::Builtin(action), _) => vec![
                action.name().to_owned(),
                format!("ansible.builtin.{}", action.name()),
            ],
            _ => vec![self.task.action.clone()],
        }
    }

    pub(super) fn environment(&self) -> Result<IndexMap<String, String>, Problem> {
        let mut all = IndexMap::new();
        for lazy in &self.task.keywords.environment {
            let Some(value) = self.keyword(Some(lazy))? else {
                continue;
            };
            for (name, value) in to_json(&value).as_object().into_iter().flatten() {
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), ToOwned::to_owned);
                all.insert(name.clone(), text);
            }
        }
        Ok(all)
    }

    /// Runs the task's action once, within its `timeout`.
    pub(super) async fn timed(&self) -> Done {
        let limit = match self.text(self.task.keywords.timeout.as_ref()) {
            Ok(text) => text
                .and_then(|text| text.parse::<f64>().ok())
                .filter(|seconds| *seconds > 0.0),
            Err(problem) => return problem.done(),
        };
        let Some(seconds) = limit else {
            return self.act().await;
        };
        if let Ok(done) = tokio::time::timeout(Duration::from_secs_f64(seconds), self.act()).await {
            done
        } else {
            #[allow(clippy::cast_possible_truncation, reason = "whole, and waited for")]
            let period = if seconds.fract() == 0.0 {
                json!(seconds as i64)
            } else {
                json!(seconds)
            };
            let mut done =
                Done::failed(format!("Task failed: Timed out after {seconds} second(s)."));
            done.result
                .insert("timedout".to_owned(), json!({"period": period}));
            done
        }
    }

    async fn act(&self) -> Done {
        let arguments = match self.arguments() {
            Ok(arguments) => arguments,
            Err(problem) => return problem.done(),
        };
        for (_, value) in arguments.iter().filter(|(name, _)| is_secret(name)) {
            if let Value::String(secret) = value {
                self.run.secrets.add(secret);
            }
        }
        match &self.task.kind {
            Kind::Builtin(action) => builtin::run(self, *action, arguments).await,
            Kind::Native(module) => match self.platform().await {
                Ok(platform) => self.native(module, arguments, &platform).await,
                Err(done) => *done,
            },
            Kind::Yaml(module) if self.check && !module.info.supports.check => {
                Self::no_check_mode(&module.info.name)
            }
            Kind::Yaml(module) => nested::run(self, module, arguments).await,
            Kind::External(path) => match self.platform().await {
                Ok(platform) => super::nested::external(self, path, arguments, &platform).await,
                Err(done) => *done,
            },
        }
    }

    fn no_check_mode(name: &str) -> Done {
        let message = format!("remote module ({name}) does not support check mode");
        Done {
            skipped: true,
            result: super::result::map(json!({"msg": message})),
            ..Done::default()
        }
    }

    async fn native(
        &self,
        module: &Arc<dyn DynModule>,
        mut arguments: Map<String, Value>,
        platform: &Platform,
    ) -> Done {
        let info = module.info();
        if self.check && !info.supports.check {
            return Self::no_check_mode(&info.name);
        }
        for file in &info.files {
            if let Err(done) = self.resolve_file(file, &mut arguments) {
                return *done;
            }
        }
        if let Err(problem) = gate::check(self, info, &arguments) {
            return Done::error(problem, None);
        }
        let mut tries = 0;
        loop {
            match self.once(module, arguments.clone(), platform).await {
                Ok(done) => return done,
                Err(problem) => match problem.retry {
                    Retry::After(delay) if tries < RETRIES && !self.run.cancel.is_cancelled() => {
                        tries += 1;
                        platform.status(format!("{problem}; trying again"));
                        platform.clock.sleep(delay).await;
                    }
                    _ => {
                        let place = problem
                            .argument
                            .as_ref()
                            .and_then(|name| self.argument_place(name));
                        return Done::error(problem, place);
                    }
                },
            }
        }
    }

    /// Where a person wrote the value of an argument: inside of a module in YAML that is the option that it hands on.
    fn argument_place(&self, name: &str) -> Option<&Span> {
        let own = self.task.args.places.get(name);
        let (Some(caller), Some(Lazy::Template(text))) =
            (&self.caller, self.task.args.named.get(name))
        else {
            return own;
        };
        let inner = text.text.trim_start_matches(['{', ' ']);
        let end = inner
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(inner.len());
        caller.args.places.get(&inner[..end]).or(own)
    }

    async fn once(
        &self,
        module: &Arc<dyn DynModule>,
        arguments: Map<String, Value>,
        platform: &Platform,
    ) -> Result<Done, ModuleError> {
        let change = module.inspect(arguments, platform).await?;
        let (fields, diff) = match &change.change {
            Change::None(outcome) => return Ok(Done::outcome(outcome.clone())),
            Change::Unknown { message, .. } if self.check => {
                return Ok(Done {
                    skipped: true,
                    result: super::result::map(json!({"msg": message})),
                    ..Done::default()
                });
            }
            Change::Some {
                fields,
                diff,
                preview,
                ..
            } if self.check => {
                return Ok(Done {
                    changed: true,
                    changes: fields.clone(),
                    diff: diff.clone(),
                    ..Done::outcome(preview.clone())
                });
            }
            Change::Some { fields, diff, .. } => (fields.clone(), diff.clone()),
            Change::Unknown { .. } => (Vec::new(), Vec::new()),
        };
        let outcome = module.apply(change, platform).await?;
        Ok(Done {
            changes: fields,
            diff,
            ..Done::outcome(outcome)
        })
    }

    /// Finds the file that an argument names, and renders it when the module wants that.
    fn resolve_file(
        &self,
        file: &FileArgument,
        arguments: &mut Map<String, Value>,
    ) -> Result<(), Box<Done>> {
        let Some(text) = arguments.get(file.argument).and_then(Value::as_str) else {
            return Ok(());
        };
        let fail = |message: String| Box::new(Done::failed(message));
        let quoted = |path: &str| {
            shlex::try_quote(path)
                .map(std::borrow::Cow::into_owned)
                .map_err(|problem| fail(format!("`{path}` cannot be quoted: {problem}")))
        };
        let (name, rest) = match (file.part, first_word(text)) {
            (Part::Whole, _) => (text.to_owned(), None),
            (Part::FirstWord, Some((word, rest))) => (word, Some(rest.to_owned())),
            // The module tells what is wrong with it.
            (Part::FirstWord, None) => return Ok(()),
        };
        let says = |name: &str, words: [&str; 2]| {
            arguments
                .get(name)
                .is_some_and(|value| words.contains(&value.to_string().trim_matches('"')))
        };
        // `copy: false` is the older form of it.
        if says("remote_src", ["true", "yes"]) || says("copy", ["false", "no"]) {
            return Ok(());
        }
        let path = self.find_file(&name, file.folder).map_err(|looked| {
            fail(format!(
                "Could not find or access '{name}' on this machine; looked in {}",
                looked
                    .iter()
                    .map(|dir| dir.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            ))
        })?;
        let found = path.display().to_string();
        let found = match rest {
            Some(rest) => format!("{} {rest}", quoted(&found)?),
            None => found,
        };
        arguments.insert(file.argument.to_owned(), json!(found));
        let Some(content) = file.content else {
            return Ok(());
        };
        let is_off = |name: &str| {
            arguments
                .get(name)
                .is_some_and(|value| matches!(value.to_string().trim_matches('"'), "false" | "no"))
        };
        if file.render == Render::Never && (is_off("decrypt") || !is_vault(&path)) {
            return Ok(());
        }
        let reader = self.templar().reader();
        let source = reader
            .read(&path)
            .map_err(|problem| fail(problem.to_string()))?;
        let is_template = match file.render {
            Render::Never => false,
            Render::Always => true,
            Render::J2 => path.extension().is_some_and(|ending| ending == "j2"),
        };
        let text = if is_template {
            let form = form(arguments, &path, &self.scope.search_path).map_err(fail)?;
            let dest = arguments.get("dest").and_then(Value::as_str);
            let is_set = self.scope.lookup("ansible_managed").is_some();
            let own = about(&name, &path, dest, is_set)
                .into_iter()
                .map(|(name, value)| (name, Lazy::Data(value)));
            let scope = self.scope.clone().with_local(own.collect());
            self.templar()
                .render_file(&whole(&source), &scope.share(), &form)
                .map_err(|problem| Box::new(Done::template(&problem)))?
        } else {
            source.text.clone()
        };
        if source.is_secret {
            reader.hide_lines(&source.text);
            reader.hide_lines(&text);
        }
        arguments.insert(content.to_owned(), json!(text));
        Ok(())
    }

    /// Ansible's search: beside the task's file, then beside the playbook, each with its special folder first.
    pub(super) fn find_file(&self, name: &str, folder: &str) -> Result<PathBuf, Vec<PathBuf>> {
        super::lookup::find_in(&self.scope.search_path, folder, name)
    }
}

/// Arguments that hold secrets, by their names.
fn is_secret(name: &str) -> bool {
    ["password", "passwd", "passphrase", "token", "secret"]
        .iter()
        .any(|ending| name == *ending || name.ends_with(&format!("_{ending}")))
}

/// True for a file that is encrypted as a whole. Other files may be large, or no text: only their first bytes are read.
fn is_vault(path: &Path) -> bool {
    use std::io::Read;
    let mut start = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(15).read_to_end(&mut start))
        .is_ok_and(|_| start == b"$ANSIBLE_VAULT;")
}

/// How a template file is written, as the arguments of its module say.
fn form(arguments: &Map<String, Value>, path: &Path, search: &[PathBuf]) -> Result<Form, String> {
    let mut form = Form::default();
    for name in [
        "block_start_string",
        "block_end_string",
        "variable_start_string",
        "variable_end_string",
        "comment_start_string",
        "comment_end_string",
        "trim_blocks",
        "lstrip_blocks",
    ] {
        match arguments.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => form.set(name, text)?,
            Some(other) => form.set(name, &other.to_string())?,
        }
    }
    Ok(form_for(form, path, search))
}

/// A condition as it is written.
fn shown_condition(condition: &Condition) -> Value {
    match condition {
        Condition::Bool(value) => json!(value),
        Condition::Expression(text) => json!(&*text.text),
        Condition::All(several) => several.iter().map(shown_condition).collect(),
        Condition::Wrong { .. } => Value::Null,
    }
}

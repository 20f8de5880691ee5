//! Modules that are no Rust: in YAML (tasks that run for the host inside of one task) and executables of the project
//! (JSON on standard input, JSON on standard output, the same contract).

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use layerplay_modules::core::arguments::{missing, unknown};
use layerplay_modules::platform::{CommandSpec, Platform};
use layerplay_modules::{FieldChange, ModuleError};
use minijinja::Value as TemplateValue;
use serde_json::{Map, Value, json};

use super::attempt::{Problem, Unit};
use super::result::{Done, map, to_json};
use crate::playbook::{Item, Keywords, OptionType, Task, YamlModule, yes_or_no};
use crate::template::Lazy;
use crate::vars::Vars;

/// Runs a module in YAML.
pub(super) fn run<'u>(
    unit: &'u Unit,
    module: &'u Arc<YamlModule>,
    arguments: Map<String, Value>,
) -> BoxFuture<'u, Done> {
    Box::pin(async move {
        let parameters = match options(module, arguments) {
            Ok(parameters) => parameters,
            Err(problem) => {
                let place = problem
                    .argument
                    .as_ref()
                    .and_then(|name| unit.task.args.places.get(name.as_str()));
                return Done::error(problem, place);
            }
        };
        let mut inner = unit.clone();
        inner
            .outer
            .get_or_insert_with(|| Box::new(unit.scope.clone()));
        inner.caller.get_or_insert_with(|| Arc::clone(&unit.task));
        inner.scope.local.clear();
        inner.scope.parameters.push(Arc::new(parameters));
        let keywords = match handed_on(unit) {
            Ok(keywords) => keywords,
            Err(problem) => return problem.done(),
        };
        let mut nested = Nested {
            unit: inner,
            keywords,
            whole: Done::default(),
        };
        if let Err(failed) = nested.items(&module.tasks).await {
            let mut whole = nested.whole;
            whole.failed = failed.failed;
            whole.unreachable = failed.unreachable;
            whole.diagnostic = failed.diagnostic;
            whole.help = failed.help;
            whole.result.extend(failed.result);
            return whole;
        }
        let mut whole = nested.whole;
        if let Some(returns) = &module.returns {
            match nested
                .unit
                .templar()
                .evaluate(returns, &nested.unit.scope.share())
            {
                Ok(value) => whole.result.extend(map(to_json(&value))),
                Err(problem) => return Done::template(&problem),
            }
        }
        whole
    })
}

/// What the calling task says of where and how, as values: inside, its templates could mean options of the module.
fn handed_on(unit: &Unit) -> Result<Keywords, Problem> {
    let value = |lazy: &Option<Lazy>| -> Result<Option<Lazy>, Problem> {
        Ok(unit.keyword(lazy.as_ref())?.map(Lazy::Data))
    };
    let own = &unit.task.keywords;
    let mut environment = Vec::new();
    for lazy in &own.environment {
        environment.extend(value(&Some(lazy.clone()))?);
    }
    Ok(Keywords {
        environment,
        become_: value(&own.become_)?,
        become_user: value(&own.become_user)?,
        become_method: value(&own.become_method)?,
        become_flags: value(&own.become_flags)?,
        connection: value(&own.connection)?,
        remote_user: value(&own.remote_user)?,
        port: value(&own.port)?,
        no_log: value(&own.no_log)?,
        check_mode: Some(Lazy::Data(unit.check.into())),
        diff: Some(Lazy::Data(unit.diff.into())),
        delegate_to: value(&own.delegate_to)?,
        ..Keywords::default()
    })
}

/// The arguments as variables: checked, converted, with defaults; an option that was not given is undefined, so that
/// a variable of the play that has its name is not taken for it.
fn options(module: &YamlModule, mut arguments: Map<String, Value>) -> Result<Vars, ModuleError> {
    let name = &module.info.name;
    if let Some(wrong) = arguments
        .keys()
        .find(|key| !module.options.contains_key(key.as_str()))
    {
        let known = module.options.keys();
        let known = known
            .map(|option| (option.to_string(), Value::Null))
            .collect();
        return Err(unknown(name, wrong, &known));
    }
    let mut vars = Vars::new();
    for (option, spec) in &module.options {
        let given = arguments
            .shift_remove(&**option)
            .filter(|value| !value.is_null());
        let value = match (given, &spec.default) {
            (Some(value), _) => {
                let value = converted(name, option, spec.kind, value)?;
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), ToOwned::to_owned);
                if !spec.choices.is_empty() && !spec.choices.contains(&text) {
                    return Err(ModuleError::argument(
                        &**option,
                        format!("`{name}`: `{option}` cannot be `{text}`"),
                    )
                    .hint(format!("it is one of: {}", spec.choices.join(", "))));
                }
                Lazy::Data(super::result::from_json(&value))
            }
            (None, Some(default)) => default.clone(),
            (None, None) if spec.required => {
                return Err(missing(name, &[&**option]));
            }
            (None, None) => Lazy::Data(TemplateValue::UNDEFINED),
        };
        vars.insert(Arc::clone(option), value);
    }
    Ok(vars)
}

fn converted(
    module: &str,
    option: &str,
    kind: OptionType,
    value: Value,
) -> Result<Value, ModuleError> {
    let wrong = |what: &str, value: &Value| {
        Err(ModuleError::argument(
            option,
            format!("`{module}`: `{option}` is {what}, not `{value}`"),
        ))
    };
    match (kind, value) {
        (OptionType::Str, Value::String(text)) => Ok(Value::String(text)),
        (OptionType::Str, value @ (Value::Number(_) | Value::Bool(_))) => {
            Ok(Value::String(value.to_string()))
        }
        (OptionType::Str, value) => wrong("text", &value),
        (OptionType::Int, value) => match value
            .as_i64()
            .or_else(|| value.as_str()?.trim().parse().ok())
        {
            Some(number) => Ok(json!(number)),
            None => wrong("a whole number", &value),
        },
        (OptionType::Bool, value) => match yes_or_no(value.to_string().trim_matches('"')) {
            Some(flag) => Ok(json!(flag)),
            None => wrong("yes or no", &value),
        },
        (OptionType::List, Value::Array(items)) => Ok(Value::Array(items)),
        (OptionType::List, Value::String(text)) => Ok(json!(
            text.split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .collect::<Vec<_>>()
        )),
        (OptionType::List, value) => wrong("a list", &value),
        (OptionType::Dict, Value::Object(map)) => Ok(Value::Object(map)),
        (OptionType::Dict, value) => wrong("a mapping", &value),
        (OptionType::Raw, value) => Ok(value),
    }
}

/// A failure, and what failed while it was cleaned up after.
fn both(mut first: Done, then: &Done) -> Done {
    let message = |done: &Done| {
        let message = done.result.get("msg").and_then(Value::as_str);
        message.unwrap_or("failed").to_owned()
    };
    let text = format!("{}; then {}", message(&first), message(then));
    first.result.insert("msg".to_owned(), json!(text));
    first
}

/// The tasks of one call.
struct Nested {
    unit: Unit,
    /// What the calling task hands on.
    keywords: Keywords,
    /// Changes, differences and warnings of all tasks so far.
    whole: Done,
}

impl Nested {
    fn items<'n>(&'n mut self, items: &'n [Item]) -> BoxFuture<'n, Result<(), Done>> {
        Box::pin(async move {
            for item in items {
                match item {
                    Item::Task(task) => self.task(task).await?,
                    // Refused when the module was read.
                    Item::Role(_) => {}
                    Item::Block(block) => {
                        let mut ended = self.items(&block.block).await;
                        if let Err(failed) = &ended
                            && !failed.unreachable
                            && !block.rescue.is_empty()
                            && !self.unit.run.cancel.is_cancelled()
                        {
                            self.set("ansible_failed_result", failed.value());
                            ended = self.items(&block.rescue).await;
                        }
                        let always = self.items(&block.always).await;
                        match (ended, always) {
                            (Err(first), Err(then)) if !self.unit.run.cancel.is_cancelled() => {
                                return Err(both(first, &then));
                            }
                            (ended, always) => ended.and(always)?,
                        }
                    }
                }
            }
            Ok(())
        })
    }

    async fn task(&mut self, task: &Arc<Task>) -> Result<(), Done> {
        if self.unit.run.cancel.is_cancelled() {
            return Err(Done::failed("the run was interrupted before this step"));
        }
        let mut unit = self.unit.clone();
        let mut step = Task::clone(task);
        step.keywords = step.keywords.under(&self.keywords);
        unit.task = Arc::new(step);
        // Where and how the outer task runs holds for its steps, too.
        unit.scope
            .task_vars
            .extend(task.keywords.vars.iter().cloned());
        let step = task.plain_name().unwrap_or_else(|| task.action.clone());
        let ended = Box::pin(unit.run(false)).await;
        let done = ended.done;
        self.whole.changed |= done.changed;
        self.whole.changes.extend(done.changes.iter().cloned());
        self.whole.diff.extend(done.diff.iter().cloned());
        self.whole.warnings.extend(done.warnings.iter().cloned());
        if let Some(name) = &task.register {
            self.set(name, done.value());
        }
        if (done.failed || done.unreachable) && !ended.ignored {
            let mut done = done;
            let message = done
                .result
                .get("msg")
                .and_then(Value::as_str)
                .unwrap_or("failed")
                .to_owned();
            // A step that only hands on why another one failed does not say it twice.
            if !message.starts_with(&format!("{step}: ")) {
                let message = format!("{step}: {message}");
                done.result.insert("msg".to_owned(), json!(message));
            }
            done.result.insert("step".to_owned(), json!(step));
            return Err(done);
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: TemplateValue) {
        self.unit
            .scope
            .parameters
            .push(Arc::new(Vars::from([(Arc::from(name), Lazy::Data(value))])));
    }
}

/// Runs an executable module on this machine: `{"mode": "inspect"}`, then, when it says that something would change and
/// this is no check, `{"mode": "apply"}` with what it said.
pub(super) async fn external(
    unit: &Unit,
    path: &Path,
    arguments: Map<String, Value>,
    platform: &Platform,
) -> Done {
    let inspected = match call(path, json!({"mode": "inspect", "arguments": arguments, "host": platform.host, "check": unit.check}), platform).await {
        Ok(answer) => answer,
        Err(problem) => return Done::error(problem, None),
    };
    let is_changed = inspected
        .get("changed")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let changes: Vec<FieldChange> = inspected
        .get("changes")
        .and_then(|changes| serde_json::from_value(changes.clone()).ok())
        .unwrap_or_default();
    let is_failed = inspected.get("failed").and_then(Value::as_bool) == Some(true);
    if !is_changed || is_failed || unit.check {
        return Done {
            changes,
            ..answered(inspected)
        };
    }
    let change = inspected.get("change").cloned().unwrap_or_default();
    match call(
        path,
        json!({"mode": "apply", "arguments": arguments, "change": change, "host": platform.host}),
        platform,
    )
    .await
    {
        Ok(answer) => Done {
            changes,
            ..answered(answer)
        },
        Err(problem) => Done::error(problem, None),
    }
}

fn answered(mut answer: Map<String, Value>) -> Done {
    let mut flag = |name: &str| {
        answer
            .shift_remove(name)
            .and_then(|value| value.as_bool())
            .unwrap_or(false)
    };
    let (changed, failed, skipped) = (flag("changed"), flag("failed"), flag("skipped"));
    answer.shift_remove("change");
    answer.shift_remove("changes");
    Done {
        changed,
        failed,
        skipped,
        result: answer,
        ..Done::default()
    }
}

async fn call(
    path: &Path,
    request: Value,
    platform: &Platform,
) -> Result<Map<String, Value>, ModuleError> {
    let shown = path.display();
    let output = layerplay_modules::command::run(
        CommandSpec {
            argv: vec![shown.to_string()],
            stdin: Some(request.to_string().into_bytes()),
            chdir: None,
            environment: platform.environment.clone(),
        },
        &platform.cancel,
    )
    .await?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let answer = serde_json::from_slice::<Value>(&output.stdout);
    match answer {
        Ok(Value::Object(answer)) if output.rc == 0 => Ok(answer),
        Ok(Value::Object(answer)) => {
            let message = answer.get("msg").and_then(Value::as_str).map_or_else(|| format!("ended with status {}", output.rc), ToOwned::to_owned);
            Err(ModuleError::failed(format!("module `{shown}`: {message}")).with("rc", output.rc).with("stderr", said))
        }
        _ => Err(ModuleError::failed(format!("module `{shown}` printed no JSON mapping"))
            .hint("a module reads one JSON request from standard input and writes one JSON mapping to standard output")
            .with("rc", output.rc)
            .with("stderr", said)),
    }
}

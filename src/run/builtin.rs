//! Actions that need the language: they evaluate expressions, or change the engine's own state.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::argument_spec;
use super::attempt::Unit;
use super::pause;
use super::result::{Done, Request, map, to_json};
use super::unit::condition;
use crate::diagnostic::{Diagnostics, draw};
use crate::playbook::{Builtin, RoleWish, yes_or_no};
use crate::template::{Condition, Lazy, TemplateErrorKind, TemplateText};
use crate::vars::{DirOptions, Vars, is_reserved, load_dir, load_file};

pub(super) async fn run(unit: &Unit, action: Builtin, arguments: Map<String, Value>) -> Done {
    if let Some(wrong) = action.unknown(&arguments) {
        let place = unit.task.args.places.get(wrong);
        return Done::error(action.wrong_argument(wrong), place);
    }
    match action {
        Builtin::Debug => debug(unit, &arguments),
        Builtin::Assert => assert(unit, &arguments),
        Builtin::Fail => Done {
            failed: true,
            result: map(json!({
                "msg": arguments.get("msg").cloned().unwrap_or_else(|| json!("Failed as requested from task")),
            })),
            ..Done::default()
        },
        Builtin::AsyncStatus => unit.job_status(&arguments),
        Builtin::SetFact => set_fact(unit, arguments),
        Builtin::IncludeVars => include_vars(unit, &arguments),
        // Imports are opened when the playbook is read.
        Builtin::IncludeTasks | Builtin::ImportTasks => include_tasks(unit, &arguments),
        Builtin::IncludeRole | Builtin::ImportRole => include_role(unit, &arguments),
        Builtin::Meta => meta(unit).await,
        Builtin::AddHost => add_host(unit, &arguments),
        Builtin::GroupBy => group_by(unit, &arguments),
        Builtin::Pause => pause::run(unit, &arguments).await,
        Builtin::ValidateArgumentSpec => argument_spec::action::run(unit, &arguments),
    }
}

/// A text argument; numbers and booleans as they are written.
pub(super) fn text(arguments: &Map<String, Value>, name: &str) -> Option<String> {
    match arguments.get(name)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// A list, or text parted by commas.
fn names(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| {
                item.as_str()
                    .map_or_else(|| item.to_string(), ToOwned::to_owned)
            })
            .collect(),
        Some(Value::String(text)) => text
            .split(',')
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect(),
        _ => Vec::new(),
    }
}

fn debug(unit: &Unit, arguments: &Map<String, Value>) -> Done {
    let verbosity = text(arguments, "verbosity")
        .and_then(|text| text.parse::<u8>().ok())
        .unwrap_or(0);
    if verbosity > unit.run.world.settings.verbosity {
        return Done {
            skipped: true,
            ..Done::ok(json!({"skipped_reason": "Verbosity threshold not met."}))
        };
    }
    let mut result = Map::new();
    if arguments.contains_key("var") && arguments.contains_key("msg") {
        return Done::failed("parameters are mutually exclusive: msg|var");
    }
    match arguments.get("var") {
        Some(Value::String(expression)) => {
            let template = TemplateText::from_text("var", expression);
            let scope = unit.scope.share();
            let value = match unit.templar().expression(&template, &scope) {
                Ok(value) => to_json(&value),
                Err(problem) if problem.kind == TemplateErrorKind::Undefined => {
                    match scope.lookup(expression.trim()) {
                        Some(lazy) => as_far_as_it_goes(unit, &lazy, &mut 0),
                        None => json!(hole(1, &problem.message)),
                    }
                }
                Err(problem) => {
                    return Done::template_in("Error while resolving value for 'var': ", &problem);
                }
            };
            result.insert(expression.clone(), value);
        }
        Some(other) => {
            result.insert(other.to_string(), other.clone());
        }
        None => {
            result.insert(
                "msg".to_owned(),
                arguments
                    .get("msg")
                    .cloned()
                    .unwrap_or_else(|| json!("Hello world!")),
            );
        }
    }
    Done {
        shown: true,
        result,
        ..Done::default()
    }
}

/// What stands for a part that cannot be shown.
fn hole(number: usize, why: &str) -> String {
    format!("<< error {number} - {why} >>")
}

/// What `debug` shows of a variable in which something is undefined.
fn as_far_as_it_goes(unit: &Unit, lazy: &Lazy, holes: &mut usize) -> Value {
    match lazy {
        Lazy::Map(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, value)| (key.to_string(), as_far_as_it_goes(unit, value, holes)))
                .collect(),
        ),
        Lazy::List(items) => items
            .iter()
            .map(|item| as_far_as_it_goes(unit, item, holes))
            .collect(),
        other => match unit.templar().evaluate(other, &unit.scope.share()) {
            Ok(value) => to_json(&value),
            Err(problem) => {
                *holes += 1;
                json!(hole(*holes, &problem.message))
            }
        },
    }
}

fn assert(unit: &Unit, arguments: &Map<String, Value>) -> Done {
    let conditions: Vec<Value> = match arguments.get("that") {
        Some(Value::Array(items)) => items.clone(),
        Some(Value::Null) | None => return Done::failed("missing required arguments: that"),
        Some(one) => vec![one.clone()],
    };
    let scope = unit.scope.share();
    for item in conditions {
        let (judged, shown) = match &item {
            Value::Bool(value) => (Condition::Bool(*value), value.to_string()),
            Value::String(text) => (condition(text), text.clone()),
            _ => return Done::failed("Task failed: Conditional expressions must be strings."),
        };
        match unit.templar().condition(&judged, &scope) {
            Ok(true) => {}
            Ok(false) => {
                let message = arguments
                    .get("fail_msg")
                    .or_else(|| arguments.get("msg"))
                    .cloned();
                return Done {
                    failed: true,
                    shown: true,
                    result: map(json!({
                        "assertion": shown, "evaluated_to": false,
                        "msg": message.unwrap_or_else(|| json!("Assertion failed")),
                    })),
                    ..Done::default()
                };
            }
            Err(problem) => return Done::condition(&problem),
        }
    }
    let message = arguments
        .get("success_msg")
        .cloned()
        .unwrap_or_else(|| json!("All assertions passed"));
    let quiet = text(arguments, "quiet").is_some_and(|text| yes_or_no(&text) == Some(true));
    Done {
        shown: !quiet,
        ..Done::ok(json!({"msg": message}))
    }
}

fn lazy(value: &Value) -> Lazy {
    Lazy::Data(super::result::from_json(&value))
}

fn set_fact(unit: &Unit, arguments: Map<String, Value>) -> Done {
    let mut facts = Map::new();
    let mut warnings = Vec::new();
    let is_cacheable =
        text(&arguments, "cacheable").is_some_and(|text| yes_or_no(&text) == Some(true));
    for (name, value) in arguments {
        if name == "cacheable" {
            continue;
        }
        let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit());
        if !is_name || name.is_empty() {
            let mut done = Done::failed(format!("Task failed: Invalid variable name '{name}'."));
            done.help = Some("Variable names must be strings starting with a letter or underscore character, and contain only letters, numbers and underscores.".to_owned());
            return done;
        }
        if is_reserved(&name) {
            warnings.push(format!(
                "`{name}` is a name of layerplay's own: what is set is not seen"
            ));
        }
        facts.insert(name, value);
    }
    if facts.is_empty() {
        return Done::failed(
            "No key/value pairs provided, at least one is required for this action to succeed",
        );
    }
    let named = || {
        let facts = facts.iter();
        facts.map(|(name, value)| (Arc::from(name.as_str()), lazy(value)))
    };
    for host in unit.fact_hosts() {
        host.add_set(named());
        if is_cacheable {
            unit.run.keep_facts(&host, named());
        }
    }
    Done {
        warnings,
        ..Done::ok(json!({"ansible_facts": facts}))
    }
}

/// The argument that may also stand behind the module's name.
fn free_text(
    unit: &Unit,
    arguments: &Map<String, Value>,
    name: &str,
) -> Result<Option<String>, Done> {
    if let Some(text) = text(arguments, name) {
        return Ok(Some(text));
    }
    unit.text(unit.task.args.free.as_ref())
        .map_err(super::attempt::Problem::done)
}

fn drawn(problems: &Diagnostics) -> Done {
    let text: Vec<String> = problems
        .0
        .iter()
        .map(|problem| draw(problem, false))
        .collect();
    let message = problems
        .0
        .first()
        .map(|problem| problem.message.clone())
        .unwrap_or_default();
    Done {
        diagnostic: Some(text.join("\n")),
        ..Done::failed(message)
    }
}

fn include_vars(unit: &Unit, arguments: &Map<String, Value>) -> Done {
    let name = match free_text(unit, arguments, "file") {
        Ok(name) => name.or_else(|| text(arguments, "dir")),
        Err(done) => return done,
    };
    let Some(name) = name else {
        return Done::failed("`include_vars` needs a file or `dir`");
    };
    let Ok(path) = unit.find_file(&name, "vars") else {
        return Done::failed(format!(
            "Could not find or access '{name}' on the Ansible Controller."
        ));
    };
    if text(arguments, "hash_behaviour").is_some_and(|text| text == "merge") {
        return Done::failed("`include_vars` does not merge: use the filter `combine`");
    }
    let reader = unit.templar().reader();
    let loaded = if path.is_dir() {
        let options = DirOptions {
            depth: text(arguments, "depth")
                .and_then(|text| text.parse().ok())
                .unwrap_or(0),
            matching: text(arguments, "files_matching"),
            ignore: names(arguments.get("ignore_files")),
            extensions: names(arguments.get("extensions")),
            ignore_unknown: text(arguments, "ignore_unknown_extensions")
                .is_some_and(|text| yes_or_no(&text) == Some(true)),
        };
        load_dir(&path, &options, reader)
    } else {
        load_file(&path, reader).map(|vars| (vars, vec![path]))
    };
    let (vars, files) = match loaded {
        Ok(loaded) => loaded,
        Err(problems) => return drawn(&problems),
    };
    let files: Vec<String> = files
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let scope = unit.scope.share();
    let mut facts = Map::new();
    for (key, value) in &vars {
        // Shown as far as it can be expanded now; what is kept stays as written.
        if let Ok(value) = unit.templar().evaluate(value, &scope) {
            facts.insert(key.to_string(), to_json(&value));
        }
    }
    match text(arguments, "name") {
        Some(name) => {
            let whole: Vars = Vars::from([(Arc::from(name), Lazy::map(vars))]);
            for host in unit.fact_hosts() {
                host.add_included(whole.clone());
            }
        }
        None => {
            for host in unit.fact_hosts() {
                host.add_included(vars.clone());
            }
        }
    }
    Done::ok(json!({"ansible_facts": facts, "ansible_included_var_files": files}))
}

fn include_tasks(unit: &Unit, arguments: &Map<String, Value>) -> Done {
    let name = match free_text(unit, arguments, "file") {
        Ok(Some(name)) => name,
        Ok(None) => return Done::failed("No file specified for ansible.builtin.include_tasks"),
        Err(done) => return done,
    };
    let file = PathBuf::from(&name);
    let found = if file.is_absolute() {
        file.is_file().then_some(file)
    } else {
        unit.find_file(&name, "tasks").ok()
    };
    // One that is not there fails when it is opened, whatever `ignore_errors` says.
    let missing = || {
        let nearest = unit.scope.search_path.first();
        nearest.map_or_else(|| PathBuf::from(&name), |dir| dir.join(&name))
    };
    let file = found.unwrap_or_else(missing);
    let mut done = Done::ok(json!({"include": file.display().to_string()}));
    done.requests.push(request(unit, arguments, file, None));
    done
}

fn include_role(unit: &Unit, arguments: &Map<String, Value>) -> Done {
    let Some(name) = text(arguments, "name").or_else(|| text(arguments, "role")) else {
        return Done::failed("'name' is a required field for include_role.");
    };
    let flag = |name: &str| text(arguments, name).and_then(|text| yes_or_no(&text));
    let wish = RoleWish {
        tasks_from: text(arguments, "tasks_from"),
        vars_from: text(arguments, "vars_from"),
        defaults_from: text(arguments, "defaults_from"),
        handlers_from: text(arguments, "handlers_from"),
        allow_duplicates: Some(flag("allow_duplicates").unwrap_or(true)),
        public: flag("public").unwrap_or(false),
        is_unchecked: flag("rolespec_validate") == Some(false),
        name: name.clone(),
    };
    let mut done = Done::ok(json!({"include_role": name}));
    done.requests.push(request(
        unit,
        arguments,
        PathBuf::from(name),
        Some(Box::new(wish)),
    ));
    done
}

/// What the walk is to take in, with the parameters of the include: its own variables, and the item of its loop.
fn request(
    unit: &Unit,
    arguments: &Map<String, Value>,
    file: PathBuf,
    role: Option<Box<RoleWish>>,
) -> Request {
    let mut parameters = unit.scope.parameters.clone();
    parameters.extend(unit.task.vars.clone());
    parameters.extend(unit.scope.local.iter().cloned());
    let item = unit.scope.local.last().map(|local| {
        let name = unit
            .task
            .looping
            .as_ref()
            .map(|looping| Arc::clone(&looping.loop_var));
        let shown = name.and_then(|name| match local.get(&name) {
            Some(Lazy::Data(value)) => Some(value.to_string()),
            _ => None,
        });
        shown.unwrap_or_default()
    });
    let apply = arguments.get("apply").and_then(Value::as_object).cloned();
    Request::Include {
        file,
        role,
        parameters,
        item,
        apply,
    }
}

async fn meta(unit: &Unit) -> Done {
    let word = match unit.text(unit.task.args.free.as_ref()) {
        Ok(word) => word.unwrap_or_default(),
        Err(problem) => return problem.done(),
    };
    let request = match word.as_str() {
        "flush_handlers" => Some(Request::FlushHandlers),
        "clear_host_errors" => Some(Request::ClearHostErrors),
        "end_play" => Some(Request::EndPlay),
        "end_batch" => Some(Request::EndBatch),
        "end_host" => Some(Request::EndHost),
        "end_role" => Some(Request::EndRole),
        "clear_facts" => {
            unit.scope.host.clear_facts();
            None
        }
        "refresh_inventory" => Some(Request::RefreshInventory),
        "noop" => None,
        "reset_connection" => match unit.wanted() {
            Ok(wanted) => match unit.run.connect.reset(wanted).await {
                Ok(()) => None,
                Err(problem) => return Done::error(problem, None),
            },
            Err(problem) => return problem.done(),
        },
        other => Some(Request::Stop(format!(
            "invalid meta action requested: {other}"
        ))),
    };
    Done {
        requests: request.into_iter().collect(),
        ..Done::default()
    }
}

fn add_host(unit: &Unit, arguments: &Map<String, Value>) -> Done {
    let name = ["name", "hostname", "host"]
        .iter()
        .find_map(|key| text(arguments, key));
    let Some(name) = name else {
        return Done::failed("name, host or hostname needs to be provided");
    };
    let (name, port) = match name.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.parse::<u16>().is_ok() => {
            (host.to_owned(), Some(json!(port)))
        }
        _ => (name, None),
    };
    let groups = names(
        ["groups", "group", "groupname"]
            .iter()
            .find_map(|key| arguments.get(*key)),
    );
    let vars: Vars = arguments
        .iter()
        .filter(|(key, _)| {
            !matches!(
                key.as_str(),
                "name" | "hostname" | "host" | "groups" | "group" | "groupname"
            )
        })
        .map(|(key, value)| (Arc::from(key.as_str()), lazy(value)))
        .chain(
            port.iter()
                .map(|port| (Arc::from("ansible_ssh_port"), lazy(port))),
        )
        .collect();
    let changed = unit.run.world.change_inventory(|inventory| {
        let is_new = !inventory.hosts.contains_key(name.as_str());
        let before = inventory.groups_of(&name).len();
        inventory.add_host(&name);
        for group in &groups {
            inventory.add_member(group, &name);
        }
        inventory.add_host(&name).vars.extend(vars.clone());
        is_new || inventory.groups_of(&name).len() != before
    });
    let shown: Map<String, Value> = vars
        .iter()
        .filter_map(|(key, value)| match value {
            Lazy::Data(value) => Some((key.to_string(), to_json(value))),
            _ => None,
        })
        .collect();
    Done {
        changed,
        ..Done::ok(json!({"add_host": {"host_name": name, "groups": groups, "host_vars": shown}}))
    }
}

fn group_by(unit: &Unit, arguments: &Map<String, Value>) -> Done {
    let Some(key) = text(arguments, "key") else {
        return Done::failed("the 'key' param is required when using group_by");
    };
    // Ansible makes names without spaces of them.
    let group = key.replace(' ', "-");
    let mut parents = names(arguments.get("parents"));
    if parents.is_empty() {
        parents.push("all".to_owned());
    }
    let host = Arc::clone(&unit.scope.host.name);
    let changed = unit.run.world.change_inventory(|inventory| {
        let is_new = !inventory
            .groups
            .get(group.as_str())
            .is_some_and(|known| known.hosts.contains(&host));
        inventory.add_member(&group, &host);
        for parent in &parents {
            // A parent that is already below it stays where it is.
            let _ = inventory.try_add_child(parent, &group);
        }
        is_new
    });
    Done {
        changed,
        ..Done::ok(json!({"add_group": group, "parent_groups": parents}))
    }
}

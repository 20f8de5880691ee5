//! In: what a role says of its arguments, and their values. Out: every mistake, in ansible-core's words and order; and
//! the values that are secrets.
//!
//! Source: ansible-core 2.19, `ArgumentSpecValidator`. Values are converted here as it does it, because later checks
//! look at what became of them; what the role sees stays as it was given.

pub(super) mod action;
mod types;

use indexmap::{IndexMap, IndexSet};
use serde_json::{Map, Value};

use layerplay_modules::core::arguments::python_type;
use types::{convert, dict, equal, names, text};

/// What was found out about some arguments.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) errors: Vec<String>,
    pub(super) warnings: Vec<String>,
    /// Values of options with `no_log`.
    pub(super) secrets: Vec<String>,
}

type Spec = Map<String, Value>;

/// Judges `given` by `spec`, whose entries are mappings.
pub(super) fn validate(spec: &Spec, mut given: Map<String, Value>) -> Verdict {
    let mut check = Check::default();
    check.level(spec, &Spec::new(), &mut given);
    check.below(spec, &mut given);
    check.unsupported();
    check.verdict
}

/// The names that an option group has, for the message about one that it does not have.
struct Supported {
    names: Vec<String>,
    aliases: Vec<String>,
}

#[derive(Default)]
struct Check {
    verdict: Verdict,
    /// The options around, outermost first.
    context: Vec<String>,
    unsupported: IndexMap<String, Supported>,
}

fn list<'v>(of: &'v Spec, name: &str) -> impl Iterator<Item = &'v Value> {
    of.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn is_set(of: &Spec, name: &str) -> bool {
    of.get(name).is_some_and(types::is_true)
}

/// The options inside of an option.
fn options(entry: &Spec) -> Option<&Spec> {
    entry.get("options").and_then(Value::as_object)
}

fn entries(spec: &Spec) -> impl Iterator<Item = (&String, &Spec)> {
    spec.iter()
        .filter_map(|(name, entry)| Some((name, entry.as_object()?)))
}

fn default(entry: &Spec) -> Option<&Value> {
    entry.get("default").filter(|value| !value.is_null())
}

/// How many of these names are there: a list of names, or one.
fn count(wanted: &Value, given: &Map<String, Value>) -> usize {
    let wanted: IndexSet<String> = names(wanted).into_iter().collect();
    wanted
        .iter()
        .filter(|name| given.contains_key(*name))
        .count()
}

/// Adds each alias's value under the option's own name. Out: alias -> option.
fn aliases(
    spec: &Spec,
    given: &mut Map<String, Value>,
    doubled: &mut Vec<(String, String)>,
) -> Result<IndexMap<String, String>, String> {
    let mut known = IndexMap::new();
    for (name, entry) in entries(spec) {
        if default(entry).is_some() && is_set(entry, "required") {
            return Err(format!(
                "internal error: required and default are mutually exclusive for {name}"
            ));
        }
        let others = match entry.get("aliases") {
            None | Some(Value::Null) => continue,
            Some(Value::Array(others)) => others,
            Some(_) => return Err("internal error: aliases must be a list or tuple".to_owned()),
        };
        for other in others.iter().map(text) {
            if let Some(value) = given.get(&other).cloned() {
                if given.contains_key(name) {
                    doubled.push((name.clone(), other.clone()));
                }
                given.insert(name.clone(), value);
            }
            known.insert(other, name.clone());
        }
    }
    Ok(known)
}

fn set_defaults(spec: &Spec, given: &mut Map<String, Value>, also_null: bool) {
    for (name, entry) in entries(spec) {
        if !given.contains_key(name) && (also_null || default(entry).is_some()) {
            let value = default(entry).cloned().unwrap_or_default();
            given.insert(name.clone(), value);
        }
    }
}

/// All texts and numbers below a value.
fn leaves(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Array(items) => items.iter().for_each(|item| leaves(item, found)),
        Value::Object(map) => map.values().for_each(|item| leaves(item, found)),
        leaf => found.push(text(leaf)),
    }
}

/// An option that holds options: one mapping, or a list of them.
fn is_nest(entry: &Spec) -> bool {
    match entry.get("type").and_then(Value::as_str) {
        Some("dict") => true,
        Some("list") => entry.get("elements").and_then(Value::as_str) == Some("dict"),
        _ => false,
    }
}

impl Check {
    fn fail(&mut self, message: impl Into<String>) {
        self.verdict.errors.push(message.into());
    }

    /// Where a nested option stands, behind a message.
    fn found_in(&self, message: String) -> String {
        if self.context.is_empty() {
            message
        } else {
            format!("{message} found in {}", self.context.join(" -> "))
        }
    }

    /// One group of options. `rules` is the option around it, which has `required_if` and its like.
    fn level(&mut self, spec: &Spec, rules: &Spec, given: &mut Map<String, Value>) {
        let mut doubled = Vec::new();
        let known = aliases(spec, given, &mut doubled).unwrap_or_else(|problem| {
            self.fail(problem);
            IndexMap::new()
        });
        if let Err(problem) = secrets(spec, given, &mut self.verdict.secrets) {
            self.fail(problem);
        }
        self.strangers(spec, given, &known);
        self.exclusive(rules, given);
        set_defaults(spec, given, false);
        let mut missing: Vec<&str> = entries(spec)
            .filter(|(name, entry)| is_set(entry, "required") && !given.contains_key(*name))
            .map(|(name, _)| name.as_str())
            .collect();
        if !missing.is_empty() {
            missing.sort_unstable();
            let message = format!("missing required arguments: {}", missing.join(", "));
            self.fail(self.found_in(message));
        }
        self.types(spec, given);
        self.choices(spec, given);
        for problem in [
            required_together(rules, given),
            required_one_of(rules, given),
            required_if(rules, given),
            required_by(rules, given),
        ]
        .into_iter()
        .flatten()
        {
            self.fail(self.found_in(problem));
        }
        set_defaults(spec, given, true);
        if !self.context.is_empty() {
            let inside = self.context.join(".");
            let warnings = doubled.iter().map(|(name, other)| {
                format!("Both option {inside}.{name} and its alias {inside}.{other} are set.")
            });
            self.verdict.warnings.extend(warnings);
        }
    }

    /// Names that the specification does not have.
    fn strangers(
        &mut self,
        spec: &Spec,
        given: &mut Map<String, Value>,
        known: &IndexMap<String, String>,
    ) {
        let strange: Vec<String> = given
            .keys()
            .filter(|name| !spec.contains_key(*name) && !known.contains_key(*name))
            .cloned()
            .collect();
        for name in strange {
            // Asked once more by ansible-core, too: a specification that contradicts itself is told twice.
            if let Err(problem) = aliases(spec, given, &mut Vec::new()) {
                self.fail(problem);
                return;
            }
            let path: Vec<&str> = self.context.iter().map(String::as_str).collect();
            let path = path.into_iter().chain([name.as_str()]);
            let mut aliases: Vec<String> = known.keys().cloned().collect();
            let mut names: Vec<String> = spec
                .keys()
                .filter(|name| !known.contains_key(*name))
                .cloned()
                .collect();
            aliases.sort_unstable();
            names.sort_unstable();
            let path = path.collect::<Vec<_>>().join(".");
            self.unsupported.insert(path, Supported { names, aliases });
        }
    }

    fn exclusive(&mut self, rules: &Spec, given: &Map<String, Value>) {
        let broken: Vec<String> = list(rules, "mutually_exclusive")
            .filter(|group| count(group, given) > 1)
            .map(|group| names(group).join("|"))
            .collect();
        if !broken.is_empty() {
            let message = format!("parameters are mutually exclusive: {}", broken.join(", "));
            self.fail(self.found_in(message));
        }
    }

    fn types(&mut self, spec: &Spec, given: &mut Map<String, Value>) {
        for (name, entry) in entries(spec) {
            let Some(value) = given.get(name) else {
                continue;
            };
            if value.is_null() && !is_set(entry, "required") && default(entry).is_none() {
                continue;
            }
            let wanted = wanted(entry.get("type"));
            let converted = match convert(&wanted, value) {
                Ok(converted) => converted,
                Err(problem) => {
                    let mut message =
                        format!("argument '{name}' is of type {}", python_type(value));
                    if !self.context.is_empty() {
                        let inside = self.context.join(" -> ");
                        message.push_str(&format!(" found in '{inside}'."));
                    }
                    self.fail(format!(
                        "{message} and we were unable to convert to {wanted}: {problem}"
                    ));
                    continue;
                }
            };
            let elements = entry.get("elements").filter(|kind| types::is_true(kind));
            let converted = match elements {
                Some(kind) => self.elements(name, &wanted, &self::wanted(Some(kind)), converted),
                None => converted,
            };
            given.insert(name.clone(), converted);
        }
    }

    fn elements(&mut self, name: &str, wanted: &str, element: &str, value: Value) -> Value {
        let Value::Array(items) = value else {
            let mut message = format!("Invalid type {wanted} for option '{}'", text(&value));
            if !self.context.is_empty() {
                message.push_str(&format!(" found in '{}'.", self.context.join(" -> ")));
            }
            self.fail(message + ", elements value check is supported only with 'list' type");
            return value;
        };
        let mut converted = Vec::new();
        for item in &items {
            match convert(element, item) {
                Ok(item) => converted.push(item),
                Err(problem) => {
                    let mut message = format!("Elements value for option '{name}'");
                    if !self.context.is_empty() {
                        message.push_str(&format!(" found in '{}'", self.context.join(" -> ")));
                    }
                    self.fail(format!(
                        "{message} is of type {} and we were unable to convert to {element}: {problem}",
                        python_type(item)
                    ));
                }
            }
        }
        Value::Array(converted)
    }

    fn choices(&mut self, spec: &Spec, given: &mut Map<String, Value>) {
        for (name, entry) in entries(spec) {
            let choices = match entry.get("choices") {
                None | Some(Value::Null) => continue,
                Some(Value::Array(choices)) => choices,
                Some(other) => {
                    let other = text(other);
                    self.fail(self.found_in(format!(
                        "internal error: choices for argument {name} are not iterable: {other}"
                    )));
                    continue;
                }
            };
            let Some(value) = given.get(name) else {
                continue;
            };
            let has = |value: &Value| choices.iter().any(|choice| equal(choice, value));
            let shown = choices.iter().map(text).collect::<Vec<_>>().join(", ");
            if let Value::Array(items) = value {
                let wrong: Vec<String> = items.iter().filter(|item| !has(item)).map(text).collect();
                if !wrong.is_empty() {
                    let message = format!(
                        "value of {name} must be one or more of: {shown}. Got no match for: {}",
                        wrong.join(", ")
                    );
                    self.fail(self.found_in(message));
                }
            } else if !has(value) {
                // YAML made a boolean of `yes`: where only one choice can have been meant, it was.
                let meant = match value.as_str() {
                    Some("False") => types::only_meant(choices, false),
                    Some("True") => types::only_meant(choices, true),
                    _ => None,
                };
                if let Some(meant) = meant {
                    given.insert(name.clone(), meant);
                } else {
                    let message = format!(
                        "value of {name} must be one of: {shown}, got: {}",
                        text(value)
                    );
                    self.fail(self.found_in(message));
                }
            }
        }
    }

    /// Options inside of options.
    fn below(&mut self, spec: &Spec, given: &mut Map<String, Value>) {
        for (name, entry) in entries(spec) {
            let (true, Some(inner)) = (is_nest(entry), options(entry)) else {
                continue;
            };
            let is_missing = given.get(name).is_none_or(Value::is_null);
            if is_missing && is_set(entry, "apply_defaults") {
                given.insert(name.clone(), Value::Object(Map::new()));
            } else if is_missing {
                continue;
            }
            let Some(value) = given.get_mut(name) else {
                continue;
            };
            self.context.push(name.clone());
            let parts = match value {
                Value::Array(items) => items.iter_mut().collect(),
                one => vec![one],
            };
            for part in parts {
                match part {
                    Value::Object(part) => {
                        self.level(inner, entry, part);
                        self.below(inner, part);
                    }
                    _ => self.fail(format!(
                        "value of '{name}' must be of type dict or list of dicts"
                    )),
                }
            }
            self.context.pop();
        }
    }

    /// One message for all names that the specification does not have.
    fn unsupported(&mut self) {
        self.unsupported.sort_keys();
        let names: Vec<&str> = self.unsupported.keys().map(String::as_str).collect();
        // ansible-core tells the names of one group only: of any, as a set has no order.
        let Some((_, supported)) = self.unsupported.first() else {
            return;
        };
        let mut known = supported.names.join(", ");
        if !supported.aliases.is_empty() {
            known.push_str(&format!(" ({})", supported.aliases.join(", ")));
        }
        let message = format!(
            "{}. Supported parameters include: {known}.",
            names.join(", ")
        );
        self.fail(message);
    }
}

/// The type's name; text where none is said.
fn wanted(kind: Option<&Value>) -> String {
    match kind {
        None | Some(Value::Null) => "str".to_owned(),
        Some(kind) => text(kind),
    }
}

/// Values of options with `no_log`, at any depth.
fn secrets(spec: &Spec, given: &Map<String, Value>, found: &mut Vec<String>) -> Result<(), String> {
    for (name, entry) in entries(spec) {
        let value = given.get(name).filter(|value| !value.is_null());
        if is_set(entry, "no_log")
            && let Some(value) = value
        {
            leaves(value, found);
        }
        let (Some(inner), Some(value), true) = (options(entry), value, is_nest(entry)) else {
            continue;
        };
        let one = std::slice::from_ref(value);
        let parts = value.as_array().map_or(one, Vec::as_slice);
        for part in parts {
            let part = match part {
                Value::String(written) => dict(written)?,
                other => other.clone(),
            };
            let Value::Object(part) = part else {
                let kind = wanted(entry.get("type"));
                return Err(format!(
                    "Value '{}' in the sub parameter field '{name}' must be a {kind}, not '{}'",
                    text(&part),
                    python_type(&part)
                ));
            };
            secrets(inner, &part, found)?;
        }
    }
    Ok(())
}

fn required_together(rules: &Spec, given: &Map<String, Value>) -> Option<String> {
    let broken = list(rules, "required_together").find(|group| {
        let group = names(group);
        let there = group.iter().filter(|name| given.contains_key(*name));
        let there = there.count();
        there > 0 && there < group.len()
    })?;
    let message = "parameters are required together";
    Some(format!("{message}: {}", names(broken).join(", ")))
}

fn required_one_of(rules: &Spec, given: &Map<String, Value>) -> Option<String> {
    let broken = list(rules, "required_one_of").find(|group| count(group, given) == 0)?;
    let message = "one of the following is required";
    Some(format!("{message}: {}", names(broken).join(", ")))
}

/// `[option, value, [options]]`, and a fourth: one of them is enough.
fn required_if(rules: &Spec, given: &Map<String, Value>) -> Option<String> {
    list(rules, "required_if").find_map(|rule| {
        let (option, value, wanted) = (rule.get(0)?, rule.get(1)?, names(rule.get(2)?));
        let any = rule.get(3).is_some_and(types::is_true);
        let option = text(option);
        if !given.get(&option).is_some_and(|own| equal(own, value)) {
            return None;
        }
        let missing: Vec<&str> = wanted
            .iter()
            .map(String::as_str)
            .filter(|name| !given.contains_key(*name))
            .collect();
        let is_broken = !missing.is_empty() && (!any || missing.len() == wanted.len());
        let word = if any { "any" } else { "all" };
        is_broken.then(|| {
            format!(
                "{option} is {} but {word} of the following are missing: {}",
                text(value),
                missing.join(", ")
            )
        })
    })
}

fn required_by(rules: &Spec, given: &Map<String, Value>) -> Option<String> {
    let rules = rules.get("required_by").and_then(Value::as_object);
    let is_there = |name: &str| given.get(name).is_some_and(|value| !value.is_null());
    rules.into_iter().flatten().find_map(|(name, wanted)| {
        let wanted = names(wanted);
        let missing: Vec<&str> = wanted
            .iter()
            .map(String::as_str)
            .filter(|name| !is_there(name))
            .collect();
        (is_there(name) && !missing.is_empty()).then(|| {
            format!(
                "missing parameter(s) required by '{name}': {}",
                missing.join(", ")
            )
        })
    })
}

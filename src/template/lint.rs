//! In: values as written. Out: what is wrong with their templates whatever the variables are, and the names that they
//! use: known before anything is evaluated.

use std::ops::Range;
use std::path::PathBuf;

use minijinja::value::ValueKind;
use minijinja::{ErrorKind, Value};

use super::dialect::environment;
use super::embedded::{Where, inline};
use super::errors::{TemplateError, TemplateErrorKind};
use super::explain::environment_has;
use super::facts::FactNames;
use super::lazy::{Condition, Lazy, TemplateText};
use super::rewrite::{Chain, Plugin, PluginKind, rewrite};
use super::split::split;
use super::templar::{Whole, syntax, unclosed};
use crate::foreign::Sort;
use crate::source::Span;

/// What templates say of themselves.
#[derive(Debug, Default)]
pub struct Lint {
    pub problems: Vec<TemplateError>,
    /// Variables that must be defined, each with its place.
    pub names: Vec<(String, Span)>,
    /// Facts of hosts, wherever a name stands.
    pub facts: FactNames,
    /// Folders where plugins of Ansible's would be.
    pub dirs: Vec<PathBuf>,
    /// Lookups that there are; none when they are not judged.
    pub lookups: &'static [&'static str],
}

impl Lint {
    /// A value with everything in it.
    pub fn value(&mut self, lazy: &Lazy) {
        match lazy {
            Lazy::Data(value) => self.data(value),
            Lazy::Vault(_) => {}
            Lazy::Template(text) => self.template(text),
            Lazy::List(items) => items.iter().for_each(|item| self.value(item)),
            Lazy::Map(entries) => entries.values().for_each(|value| self.value(value)),
        }
    }

    /// Data is no template, but a module may read an expression from it.
    fn data(&mut self, value: &Value) {
        match value.as_str() {
            Some(text) => self.facts.data(text),
            None if matches!(value.kind(), ValueKind::Seq | ValueKind::Map) => {
                self.facts.data(&value.to_string());
            }
            None => {}
        }
    }

    /// `when` and its kin.
    pub fn condition(&mut self, condition: &Condition) {
        match condition {
            Condition::Bool(_) => {}
            Condition::All(all) => all.iter().for_each(|condition| self.condition(condition)),
            Condition::Wrong { what, span } => self.problems.push(TemplateError::new(
                TemplateErrorKind::NotBoolean,
                format!("a condition cannot be {what}"),
                Some(span.clone()),
            )),
            Condition::Expression(text) => {
                let whole = text.text.trim();
                if whole.starts_with("{{") || whole.starts_with("{%") {
                    self.template(text);
                } else {
                    self.expression(text);
                }
            }
        }
    }

    /// One expression without braces: `var:` of debug.
    pub fn expression(&mut self, text: &TemplateText) {
        self.facts.template(&text.text);
        // Names are looked for where they are written.
        let rewritten = rewrite(&text.text);
        let meant = rewrite(&inline(&text.text, Where::Everywhere)).text;
        match environment().compile_expression_owned(meant) {
            Ok(_) => self.take(text, &rewritten.chains, &rewritten.plugins),
            Err(problem) => self
                .problems
                .push(syntax(&problem, text, &(0..text.text.len()))),
        }
    }

    /// Text with templates in it: a value, or a whole file.
    pub fn template(&mut self, text: &TemplateText) {
        self.facts.template(&text.text);
        let pieces = match split(&text.text) {
            Ok(pieces) => pieces,
            Err(problem) => {
                self.problems.push(unclosed(&problem, text));
                return;
            }
        };
        let whole = Whole::new(text, &pieces, true);
        match environment().template_from_str(&whole.source) {
            Ok(_) => self.take(text, &whole.chains, &whole.plugins),
            Err(problem) => self
                .problems
                .push(syntax(&problem, text, &(0..text.text.len()))),
        }
    }

    /// A lookup by its name: an error only where it is one that Ansible would find.
    pub fn lookup(&mut self, name: &str, place: &Span) {
        let own = name.strip_prefix("ansible.builtin.").unwrap_or(name);
        if self.lookups.is_empty() || self.lookups.contains(&own) {
            return;
        }
        let message = format!("The lookup plugin '{own}' was not found.");
        let kind = TemplateErrorKind::UnknownFilter;
        let problem = TemplateError::new(kind, message, Some(place.clone()));
        let problem = problem.or_foreign(Sort::Lookup, own, &self.dirs);
        if problem.kind == TemplateErrorKind::Foreign {
            self.problems.push(problem);
        }
    }

    fn take(&mut self, text: &TemplateText, chains: &[Chain], plugins: &[Plugin]) {
        for chain in chains.iter().filter(|chain| !chain.is_guarded) {
            let end = chain.at.start + chain.root.len();
            self.names
                .push((chain.root.clone(), text.place(chain.at.start, end)));
        }
        for plugin in plugins.iter().filter(|plugin| !is_known(plugin)) {
            let (what, sort) = match plugin.kind {
                PluginKind::Filter => ("filter", Some(Sort::Filter)),
                PluginKind::Test => ("test", Some(Sort::Test)),
                PluginKind::Function => ("function", None),
            };
            let problem = TemplateError::new(
                TemplateErrorKind::UnknownFilter,
                format!("no {what} is called `{}`", plugin.name),
                Some(text.place(plugin.at.start, plugin.at.end)),
            );
            self.problems.push(match sort {
                Some(sort) => problem.or_foreign(sort, &plugin.name, &self.dirs),
                None => problem,
            });
        }
        for plugin in plugins.iter().filter(|plugin| {
            let is_lookup = matches!(plugin.name.as_str(), "lookup" | "query" | "q");
            plugin.kind == PluginKind::Function && is_lookup
        }) {
            if let Some((name, at)) = quoted(&text.text, plugin.at.end) {
                self.lookup(name, &text.place(at.start, at.end));
            }
        }
    }
}

/// The text in quotes that a call begins with, and where it stands. `from` is behind the function's name.
fn quoted(text: &str, from: usize) -> Option<(&str, Range<usize>)> {
    let inner = text.get(from..)?.trim_start().strip_prefix('(')?;
    let inner = inner.trim_start();
    let quote = inner.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let end = inner[1..].find(quote)?;
    let start = text.len() - inner.len() + 1;
    Some((&inner[1..=end], start..start + end))
}

/// The engine tells what it lacks only when it is asked to use it.
fn is_known(plugin: &Plugin) -> bool {
    let name = &plugin.name;
    let (source, lacks) = match plugin.kind {
        PluginKind::Function => return environment_has(name),
        PluginKind::Filter => (format!("0|{name}"), ErrorKind::UnknownFilter),
        PluginKind::Test => (format!("0 is {name}"), ErrorKind::UnknownTest),
    };
    let asked = environment()
        .compile_expression_owned(source)
        .and_then(|expression| expression.eval(minijinja::context!()));
    !asked.is_err_and(|problem| problem.kind() == lacks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(text: &str) -> (Vec<String>, Vec<String>) {
        let mut lint = Lint::default();
        lint.template(&TemplateText::from_text("t", text));
        let problems = lint.problems.into_iter().map(|problem| problem.message);
        (
            problems.collect(),
            lint.names.into_iter().map(|(name, _)| name).collect(),
        )
    }

    #[test]
    fn names_filters_and_syntax_are_seen_before_anything_is_evaluated() {
        let nothing: Vec<String> = Vec::new();
        assert_eq!(
            look("a {{ b.c }}{% for d in e %}{{ d }}{% endfor %}"),
            (nothing.clone(), vec!["b".to_owned(), "e".to_owned()])
        );
        assert_eq!(
            look("{{ a | default(b) }}{{ c is defined }}"),
            (nothing.clone(), vec!["b".to_owned()])
        );
        assert_eq!(
            look("{{ 1 | nofilter }}").0,
            ["no filter is called `nofilter`"]
        );
        assert_eq!(look("{{ 1 is notest }}").0, ["no test is called `notest`"]);
        assert_eq!(
            look("{{ nofunction() }}").0,
            ["no function is called `nofunction`"]
        );
        assert_eq!(
            look("{{ range(3) | map('string') | list }}"),
            (nothing, Vec::new())
        );
        assert_eq!(look("{{ a | }}").0.len(), 1);
        assert_eq!(look("{{ a").0.len(), 1);
    }
}

//! In: the mapping of a play, block or task. Out: the keywords that flow down, merged with those of the parents.

use std::sync::Arc;

use super::Vars;
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::template::{Condition, Lazy};
use crate::yaml::{Node, NodeKind};

/// What a task inherits. Lists are outermost first; of single values the nearest counts.
#[derive(Debug, Clone, Default)]
pub struct Keywords {
    /// Conditions of parents come first.
    pub when: Vec<Condition>,
    /// Variables of blocks and of the task. Those of a play are a level of their own.
    pub vars: Vec<Arc<Vars>>,
    pub environment: Vec<Lazy>,
    pub module_defaults: Vec<Lazy>,
    pub tags: Vec<String>,
    pub notify: Vec<Lazy>,
    /// Collections that names might be of; there are none here.
    pub collections: Vec<String>,
    pub become_: Option<Lazy>,
    pub become_user: Option<Lazy>,
    pub become_method: Option<Lazy>,
    pub become_flags: Option<Lazy>,
    pub connection: Option<Lazy>,
    pub remote_user: Option<Lazy>,
    pub port: Option<Lazy>,
    pub no_log: Option<Lazy>,
    pub ignore_errors: Option<Lazy>,
    pub ignore_unreachable: Option<Lazy>,
    pub check_mode: Option<Lazy>,
    pub diff: Option<Lazy>,
    pub run_once: Option<Lazy>,
    pub throttle: Option<Lazy>,
    pub timeout: Option<Lazy>,
    pub any_errors_fatal: Option<Lazy>,
    pub delegate_to: Option<Lazy>,
    pub delegate_facts: Option<Lazy>,
}

/// The keywords that plays, blocks and tasks share.
pub(super) const INHERITED: &[&str] = &[
    "any_errors_fatal",
    "become",
    "become_exe",
    "become_flags",
    "become_method",
    "become_user",
    "check_mode",
    "collections",
    "connection",
    "debugger",
    "diff",
    "environment",
    "ignore_errors",
    "ignore_unreachable",
    "module_defaults",
    "name",
    "no_log",
    "port",
    "remote_user",
    "run_once",
    "tags",
    "throttle",
    "timeout",
    "vars",
];

/// Those that are yes or no.
const FLAGS: &[&str] = &[
    "any_errors_fatal",
    "become",
    "check_mode",
    "delegate_facts",
    "diff",
    "ignore_errors",
    "ignore_unreachable",
    "no_log",
    "run_once",
];

/// Those that blocks and tasks have besides.
pub(super) const BELOW_PLAYS: &[&str] = &["delegate_facts", "delegate_to", "notify", "when"];

impl Keywords {
    /// Takes one key of a mapping. `false` when it is not one of these.
    pub(super) fn take(&mut self, key: &str, value: &Node, problems: &mut Diagnostics) -> bool {
        let single = match key {
            "become" => &mut self.become_,
            "become_user" => &mut self.become_user,
            "become_method" => &mut self.become_method,
            "become_flags" => &mut self.become_flags,
            "connection" => &mut self.connection,
            "remote_user" => &mut self.remote_user,
            "port" => &mut self.port,
            "no_log" => &mut self.no_log,
            "ignore_errors" => &mut self.ignore_errors,
            "ignore_unreachable" => &mut self.ignore_unreachable,
            "check_mode" => &mut self.check_mode,
            "diff" => &mut self.diff,
            "run_once" => &mut self.run_once,
            "throttle" => &mut self.throttle,
            "timeout" => &mut self.timeout,
            "any_errors_fatal" => &mut self.any_errors_fatal,
            "delegate_to" => &mut self.delegate_to,
            "delegate_facts" => &mut self.delegate_facts,
            // Read and without meaning here: there is no debugger.
            "debugger" | "become_exe" => return true,
            _ => return self.take_list(key, value, problems),
        };
        let lazy = Lazy::from_node(value);
        if FLAGS.contains(&key)
            && let Lazy::Data(plain) = &lazy
            && !plain.is_none()
            && yes_or_no(&plain.to_string()).is_none()
        {
            problems.push(
                Diagnostic::error(
                    Code::WRONG_SHAPE,
                    format!("`{key}` is yes or no, not `{plain}`"),
                )
                .at(&value.span, ""),
            );
        }
        *single = Some(lazy);
        true
    }

    fn take_list(&mut self, key: &str, value: &Node, problems: &mut Diagnostics) -> bool {
        match key {
            // As if it were not there.
            "when" if value.is_null() => {}
            "when" => match Condition::from_node(value) {
                Condition::All(conditions) => self.when.extend(conditions),
                condition => self.when.push(condition),
            },
            "vars" => {
                if let Some(vars) = vars(value, problems) {
                    self.vars.push(Arc::new(vars));
                }
            }
            "environment" => self.environment.extend(each(value).map(Lazy::from_node)),
            "module_defaults" => self
                .module_defaults
                .extend(each(value).map(Lazy::from_node)),
            "collections" => {
                let names = each(value).filter_map(Node::as_str);
                self.collections.extend(names.map(ToOwned::to_owned));
            }
            "notify" => self.notify.extend(each(value).map(Lazy::from_node)),
            "tags" => {
                for tag in each(value) {
                    match tag.as_str() {
                        Some(text) => self
                            .tags
                            .extend(text.split(',').map(|tag| tag.trim().to_owned())),
                        None => problems.push(
                            Diagnostic::error(
                                Code::WRONG_SHAPE,
                                format!("a tag is text, not {}", tag.describe()),
                            )
                            .at(&tag.span, ""),
                        ),
                    }
                }
            }
            _ => return false,
        }
        true
    }

    /// What handlers of a role inherit from its use: neither its conditions nor its tags, which are about tasks.
    #[must_use]
    pub(super) fn of_handlers(&self) -> Self {
        Self {
            when: Vec::new(),
            tags: Vec::new(),
            notify: Vec::new(),
            ..self.clone()
        }
    }

    /// These keywords below those of a parent.
    #[must_use]
    pub fn under(self, parent: &Self) -> Self {
        fn joined<T: Clone>(outer: &[T], inner: Vec<T>) -> Vec<T> {
            outer.iter().cloned().chain(inner).collect()
        }
        let nearer = |own: Option<Lazy>, above: &Option<Lazy>| own.or_else(|| above.clone());
        Self {
            when: joined(&parent.when, self.when),
            vars: joined(&parent.vars, self.vars),
            environment: joined(&parent.environment, self.environment),
            module_defaults: joined(&parent.module_defaults, self.module_defaults),
            tags: joined(&parent.tags, self.tags),
            notify: joined(&parent.notify, self.notify),
            collections: joined(&parent.collections, self.collections),
            become_: nearer(self.become_, &parent.become_),
            become_user: nearer(self.become_user, &parent.become_user),
            become_method: nearer(self.become_method, &parent.become_method),
            become_flags: nearer(self.become_flags, &parent.become_flags),
            connection: nearer(self.connection, &parent.connection),
            remote_user: nearer(self.remote_user, &parent.remote_user),
            port: nearer(self.port, &parent.port),
            no_log: nearer(self.no_log, &parent.no_log),
            ignore_errors: nearer(self.ignore_errors, &parent.ignore_errors),
            ignore_unreachable: nearer(self.ignore_unreachable, &parent.ignore_unreachable),
            check_mode: nearer(self.check_mode, &parent.check_mode),
            diff: nearer(self.diff, &parent.diff),
            run_once: nearer(self.run_once, &parent.run_once),
            throttle: nearer(self.throttle, &parent.throttle),
            timeout: nearer(self.timeout, &parent.timeout),
            any_errors_fatal: nearer(self.any_errors_fatal, &parent.any_errors_fatal),
            delegate_to: nearer(self.delegate_to, &parent.delegate_to),
            delegate_facts: nearer(self.delegate_facts, &parent.delegate_facts),
        }
    }
}

/// A list's items, or the one value itself; nothing for null.
pub(super) fn each(node: &Node) -> impl Iterator<Item = &Node> {
    let (many, one) = match &node.kind {
        NodeKind::Sequence(items) => (items.as_slice(), None),
        _ if node.is_null() => (&[][..], None),
        _ => (&[][..], Some(node)),
    };
    many.iter().chain(one)
}

/// `vars:`; every name must be one that a template can use.
pub(super) fn vars(node: &Node, problems: &mut Diagnostics) -> Option<Vars> {
    if node.is_null() {
        return None;
    }
    let Some(mapping) = node.as_mapping() else {
        problems.push(
            Diagnostic::error(
                Code::WRONG_SHAPE,
                format!("`vars` is a mapping, not {}", node.describe()),
            )
            .at(&node.span, ""),
        );
        return None;
    };
    let mut vars = Vars::new();
    for (name, value) in mapping.iter() {
        let text = name.as_str().unwrap_or_default();
        if !is_name(text) {
            problems.push(
                Diagnostic::error(
                    Code::INVALID_NAME,
                    format!("`{text}` cannot be the name of a variable"),
                )
                .at(&name.span, "")
                .help("use letters, digits and `_`, and no digit first"),
            );
            continue;
        }
        vars.insert(Arc::from(text), Lazy::from_node(value));
    }
    Some(vars)
}

pub use layerplay_modules::core::arguments::boolean as yes_or_no;

/// Letters, digits and `_`, no digit first (Python's identifiers, as far as templates read them).
pub(super) fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_')
}

//! Handlers of a play. In: names that tasks notify. Out: the handlers that run at the next flush, in the order of their
//! definition.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use super::Ended;
use super::play::PlayRun;
use super::walk::{Here, Walked, keep_well};
use crate::diagnostic::{Code, Diagnostic};
use crate::event::EventKind;
use crate::playbook::Task;
use crate::template::{Lazy, Scope};
use crate::vars::TaskScope;

/// Where a handler stands: the same handler is handed on as several values.
type Place = (std::path::PathBuf, usize);

/// Names of handlers that are templates, once they could be expanded.
#[derive(Default)]
pub(super) struct Names {
    known: Mutex<HashMap<Place, String>>,
    warned: Mutex<HashSet<Place>>,
}

/// What a handler's name may use: what the play, the role and the command line say, and nothing of any host.
#[derive(Clone)]
struct Hostless(TaskScope);

impl Scope for Hostless {
    fn lookup(&self, name: &str) -> Option<Lazy> {
        let is_of_host = matches!(
            name,
            "inventory_hostname" | "inventory_hostname_short" | "group_names" | "ansible_facts"
        );
        if is_of_host {
            None
        } else {
            self.0.lookup(name)
        }
    }

    fn names(&self) -> Vec<Arc<str>> {
        self.0.names()
    }

    fn is_written(&self, name: &str) -> bool {
        self.0.is_written(name)
    }
}

impl PlayRun {
    /// Names that were notified become handlers to run, in the order of their definition.
    pub(super) fn notify(&self, host: &Arc<str>, names: &[String]) {
        if names.is_empty() {
            return;
        }
        let handlers = self.known_handlers();
        let search = last_first(&handlers);
        for name in names {
            let chosen = self.answering(&handlers, &search, name);
            if chosen.is_empty() && self.run.world.settings.allows_missing_handlers {
                self.run.bus.emit(EventKind::Warning {
                    message: format!("no handler is called `{name}`"),
                });
                continue;
            }
            if chosen.is_empty() {
                self.stop(
                    Ended::Error,
                    Diagnostic::error(Code::UNKNOWN_HANDLER, format!("The requested handler '{name}' was not found in either the main handlers list nor in the listening handlers list"))
                        .at(&self.play.span, "in this play"),
                );
            }
            if let Ok(mut notified) = self.notified.lock() {
                notified.entry(Arc::clone(host)).or_default().extend(chosen);
            }
        }
    }

    /// The handlers that a notification means: of those with the name the first, and all that listen to it, of several
    /// with one name again the first.
    fn answering(&self, handlers: &[Arc<Task>], search: &[usize], name: &str) -> Vec<usize> {
        let is_called = |at: &&usize| {
            let handler = &handlers[**at];
            let Some(own) = self.handler_name(handler) else {
                return false;
            };
            let of_role = handler.role.as_ref().and_then(|role| {
                let rest = name.strip_prefix(role.name.as_str())?;
                rest.strip_prefix(" : ")
            });
            own == name || of_role == Some(own.as_str())
        };
        let mut chosen: Vec<usize> = search.iter().find(is_called).copied().into_iter().collect();
        let mut seen = HashSet::new();
        for at in search {
            let handler = &handlers[*at];
            if !handler.listen.iter().any(|topic| topic == name) {
                continue;
            }
            let own = self.handler_name(handler).or_else(|| handler.plain_name());
            if own.is_none_or(|own| seen.insert(own)) && !chosen.contains(at) {
                chosen.push(*at);
            }
        }
        chosen
    }

    /// A handler's name. One that is a template is expanded without any host, as soon as that is possible.
    pub(super) fn handler_name(&self, handler: &Task) -> Option<String> {
        let lazy = match handler.name.as_ref()? {
            Lazy::Template(_) => handler.name.as_ref()?,
            _ => return handler.plain_name(),
        };
        let place = (handler.span.path().to_owned(), handler.span.start);
        if let Some(name) = self.handler_names.known.lock().ok()?.get(&place) {
            return Some(name.clone());
        }
        let nobody = Arc::from("");
        let scope = self.scope(&nobody, handler, &Here::default());
        let mut scope = scope.without_inventory();
        // Files of variables whose names are templates may be another host's.
        if self
            .play
            .vars_files
            .iter()
            .all(|name| matches!(name, Lazy::Data(_)))
            && let Some(host) = self.order.first()
        {
            scope.play_vars = self.play_vars(host);
        }
        let shared: Arc<dyn Scope> = Arc::new(Hostless(scope));
        match self.run.world.templar.evaluate(lazy, &shared) {
            Ok(value) => {
                let name = value.to_string();
                if let Ok(mut known) = self.handler_names.known.lock() {
                    known.insert(place, name.clone());
                }
                Some(name)
            }
            Err(problem) => {
                let is_new = self
                    .handler_names
                    .warned
                    .lock()
                    .is_ok_and(|mut warned| warned.insert(place));
                if is_new && handler.listen.is_empty() {
                    let written = handler.plain_name().unwrap_or_default();
                    self.run.bus.emit(EventKind::Warning {
                        message: format!(
                            "Handler '{written}' is unusable because it has no listen topics and the name could not be templated (host-specific variables are not supported in handler names). The error: {}",
                            problem.message
                        ),
                    });
                }
                None
            }
        }
    }

    fn known_handlers(&self) -> Vec<Arc<Task>> {
        let handlers = self.handlers.read();
        handlers
            .map(|handlers| handlers.clone())
            .unwrap_or_default()
    }

    /// Runs notified handlers. `rescuable` inside of a block that catches their failures.
    pub(super) async fn flush_handlers(
        self: &Arc<Self>,
        hosts: Vec<Arc<str>>,
        rescuable: bool,
    ) -> Walked {
        let mut alive = hosts;
        let mut failed = Vec::new();
        let mut extra: Vec<Arc<str>> = Vec::new();
        if self.play.force_handlers {
            extra = self.failed_hosts();
        }
        for (at, handler) in self.known_handlers().iter().enumerate() {
            let take = |host: &Arc<str>| {
                self.notified.lock().is_ok_and(|mut notified| {
                    notified
                        .get_mut(host)
                        .is_some_and(|handlers| handlers.shift_remove(&at))
                })
            };
            let chosen: Vec<Arc<str>> = alive
                .iter()
                .chain(&extra)
                .filter(|host| take(host))
                .cloned()
                .collect();
            if chosen.is_empty() {
                continue;
            }
            let here = Here {
                rescuable,
                ..Here::default()
            };
            let after = self.task(handler, chosen.clone(), &here).await;
            keep_well(&mut alive, &chosen, &after.ok);
            failed.extend(after.failed);
        }
        Walked {
            ok: alive,
            failed,
            ..Walked::default()
        }
    }
}

/// In the order in which names are looked for: those of the play, then those of its roles, the last role first; in the
/// order of their definition within each.
fn last_first(handlers: &[Arc<Task>]) -> Vec<usize> {
    let role = |at: usize| handlers[at].role.as_ref().map(Arc::as_ptr);
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for at in 0..handlers.len() {
        match groups.last_mut() {
            Some(group) if role(group[0]) == role(at) => group.push(at),
            _ => groups.push(vec![at]),
        }
    }
    groups.into_iter().rev().flatten().collect()
}

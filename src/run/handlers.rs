//! Handlers of a play. In: names that tasks notify. Out: the handlers that run at the next flush, in the order of their
//! definition.

use std::sync::Arc;

use super::Ended;
use super::play::PlayRun;
use super::walk::{Here, Walked};
use crate::diagnostic::{Code, Diagnostic};
use crate::event::EventKind;
use crate::playbook::Task;

impl PlayRun {
    /// Names that were notified become handlers to run, in the order of their definition.
    pub(super) fn notify(&self, host: &Arc<str>, names: &[String]) {
        if names.is_empty() {
            return;
        }
        let handlers = self.known_handlers();
        for name in names {
            let found: Vec<usize> = handlers
                .iter()
                .enumerate()
                .filter(|(_, handler)| answers(handler, name))
                .map(|(at, _)| at)
                .collect();
            // Of several handlers with one name that of the play runs, else the first of the role that came last; of a
            // topic all do.
            let named = || {
                found
                    .iter()
                    .copied()
                    .filter(|at| is_called(&handlers[*at], name))
            };
            let by_name = named().find(|at| handlers[*at].role.is_none()).or_else(|| {
                let last = handlers[named().next_back()?].role.clone()?;
                named().find(|at| {
                    let role = handlers[*at].role.as_ref();
                    role.is_some_and(|role| Arc::ptr_eq(role, &last))
                })
            });
            let chosen: Vec<usize> = match by_name {
                Some(at) => found
                    .iter()
                    .copied()
                    .filter(|other| *other == at || handlers[*other].listen.contains(name))
                    .collect(),
                None => found,
            };
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
            alive.retain(|host| !chosen.contains(host) || after.ok.contains(host));
            failed.extend(after.failed);
        }
        Walked {
            ok: alive,
            failed,
            ..Walked::default()
        }
    }
}

/// By its name, or by `role : name`.
fn is_called(handler: &Task, name: &str) -> bool {
    let Some(own) = handler.plain_name() else {
        return false;
    };
    let with_role = handler.role.as_ref().is_some_and(|role| {
        name.strip_prefix(role.name.as_str())
            .and_then(|rest| rest.strip_prefix(" : "))
            .is_some_and(|rest| rest == own)
    });
    own == name || with_role
}

fn answers(handler: &Task, name: &str) -> bool {
    is_called(handler, name) || handler.listen.iter().any(|topic| topic == name)
}

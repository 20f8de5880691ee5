//! Roles of a play. In: the use of a role, and hosts. Out: its tasks run, once for each host; what a role's tasks see.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, RwLock};

use super::play::PlayRun;
use super::walk::{Here, Walked};
use crate::playbook::{Play, Role, RoleUse, Task};
use crate::vars::TaskScope;

type HostAndKey = (Arc<str>, String);

/// What a play knows of roles while it runs.
pub(super) struct Roles {
    /// Those whose variables every task sees.
    public: RwLock<Vec<Arc<Role>>>,
    /// Uses of which a task was not skipped.
    ran: Mutex<HashSet<HostAndKey>>,
    /// Uses that are over, and ran.
    done: Mutex<HashSet<HostAndKey>>,
}

impl Roles {
    pub(super) fn of(play: &Play) -> Self {
        Self {
            public: RwLock::new(play.public_roles.clone()),
            ran: Mutex::default(),
            done: Mutex::default(),
        }
    }
}

impl PlayRun {
    /// A role's tasks, for the hosts that have not been through the same use of it.
    pub(super) async fn role(
        self: &Arc<Self>,
        used: &RoleUse,
        hosts: Vec<Arc<str>>,
        here: Here,
    ) -> Walked {
        let role = &used.role;
        let key = |host: &Arc<str>| (Arc::clone(host), role.key.clone());
        let (again, first): (Vec<_>, Vec<_>) = hosts.iter().cloned().partition(|host| {
            !role.allow_duplicates
                && self
                    .roles
                    .done
                    .lock()
                    .is_ok_and(|done| done.contains(&key(host)))
        });
        let mut walked = self.items(&used.items, first, here).await;
        if let (Ok(mut done), Ok(ran)) = (self.roles.done.lock(), self.roles.ran.lock()) {
            done.extend(
                walked
                    .ok
                    .iter()
                    .map(key)
                    .filter(|use_of| ran.contains(use_of)),
            );
        }
        walked.ok.extend(again);
        walked.ok.append(&mut walked.left);
        walked.ok = self.in_order(walked.ok.iter());
        walked
    }

    /// A task of the role was not skipped on the host.
    pub(super) fn role_ran(&self, role: &Role, host: &Arc<str>) {
        if let Ok(mut ran) = self.roles.ran.lock() {
            ran.insert((Arc::clone(host), role.key.clone()));
        }
    }

    /// What an included role adds to the play.
    pub(super) fn take_in(&self, handlers: Vec<Arc<Task>>, public: Vec<Arc<Role>>) {
        if let Ok(mut known) = self.handlers.write() {
            for handler in handlers {
                // A role that is included in a loop has one set of handlers.
                if !known.iter().any(|other| other.span == handler.span) {
                    known.push(handler);
                }
            }
        }
        if let Ok(mut known) = self.roles.public.write() {
            known.extend(public);
        }
    }

    /// Variables of the play's roles, then of the task's own, and where its files are.
    pub(super) fn with_roles(&self, scope: &mut TaskScope, role: Option<&Arc<Role>>) {
        let own = role.map(|role| role.parents.iter().chain([role]));
        if let Ok(public) = self.roles.public.read() {
            for role in public.iter() {
                scope.defaults.push(Arc::clone(&role.defaults));
                scope.role_vars.extend(role.vars.first().cloned());
            }
            for role in own.into_iter().flatten() {
                scope.defaults.push(Arc::clone(&role.defaults));
                scope.role_vars.extend(role.vars.iter().cloned());
            }
        }
        let Some(role) = role else { return };
        for role in role.parents.iter().chain([role]) {
            scope.parameters.push(Arc::clone(&role.params));
            scope.search_path.insert(0, role.dir.clone());
        }
        scope.role_names = Some(Arc::clone(&role.names));
    }
}

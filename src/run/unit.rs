//! In: one host and one task. Out: its result, after conditions, loops and retries, in Ansible's order: the loop's list,
//! `when`, arguments, the module, `changed_when`, `failed_when`, `until`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::attempt::{Problem, Unit};
use super::result::{Done, to_json};
use crate::event::{EventKind, TaskResult};
use crate::playbook::Loop;
use crate::template::{
    Condition, Lazy, Scope, Templar, TemplateErrorKind, TemplateText, Value as TemplateValue,
    python_type,
};
use crate::vars::Vars;

/// How a host's part of a task ended.
pub(super) struct Ended {
    pub(super) done: Done,
    pub(super) ignored: bool,
    pub(super) no_log: bool,
    /// Names of handlers to notify; empty when nothing changed.
    pub(super) notify: Vec<String>,
    /// The number of items, for loops.
    pub(super) items: Option<usize>,
    pub(super) seconds: f64,
}

/// The largest pause between tries, so that a wrong unit does not sleep for a year.
const LONGEST_DELAY: f64 = 86_400.0;

impl Unit {
    /// Runs the task for the host.
    pub(super) async fn run(&mut self, in_rescue: bool) -> Ended {
        let begun = Instant::now();
        let no_log = self
            .flag(self.task.keywords.no_log.as_ref())
            .unwrap_or(Some(true))
            .unwrap_or(false);
        let mut notify = Vec::new();
        let (done, items) = match self.task.looping.clone() {
            None => {
                let done = self.item(&mut notify).await;
                (done, None)
            }
            Some(looping) => self.looped(&looping, no_log, in_rescue, &mut notify).await,
        };
        let ignored = if done.unreachable {
            self.flag(self.task.keywords.ignore_unreachable.as_ref())
        } else {
            self.flag(self.task.keywords.ignore_errors.as_ref())
        };
        let ignored = (done.failed || done.unreachable) && ignored.unwrap_or(None).unwrap_or(false);
        if !done.changed || done.failed || done.unreachable {
            notify.clear();
        }
        Ended {
            done,
            ignored,
            no_log,
            notify,
            items,
            seconds: begun.elapsed().as_secs_f64(),
        }
    }

    /// The items of a loop, or why there are none.
    fn items(&self, looping: &Loop) -> Result<Vec<TemplateValue>, Problem> {
        let value = self
            .templar()
            .evaluate(&looping.items, &self.scope.share())?;
        let list = |value: &TemplateValue| -> Option<Vec<TemplateValue>> {
            (value.kind() == minijinja::value::ValueKind::Seq)
                .then(|| value.try_iter().map(Iterator::collect).unwrap_or_default())
        };
        match looping.lookup.as_deref() {
            None => list(&value).ok_or_else(|| {
                let kind = if Templar::is_omit(&value) {
                    "omit"
                } else {
                    python_type(&value)
                };
                Problem::Text(format!(
                    "The `loop` value must resolve to a 'list', not '{kind}'."
                ))
            }),
            Some("list") if list(&value).is_none() => {
                Err(Problem::Text("with_list expects a list".to_owned()))
            }
            Some(name) => {
                let terms = list(&value).unwrap_or_else(|| vec![value.clone()]);
                Ok(self
                    .templar()
                    .loop_items(name, terms, &self.scope.share())?)
            }
        }
    }

    async fn looped(
        &mut self,
        looping: &Loop,
        no_log: bool,
        in_rescue: bool,
        notify: &mut Vec<String>,
    ) -> (Done, Option<usize>) {
        let items = match self.items(looping) {
            Ok(items) => items,
            Err(problem) => {
                // A list that cannot be made is no failure of a task that is skipped anyway.
                let is_undefined = matches!(&problem, Problem::Template(inner) if inner.kind == TemplateErrorKind::Undefined);
                if is_undefined && let Ok(Some(condition)) = self.judge_when() {
                    let mut done = Done::skipped("Conditional result was False");
                    done.result.insert("false_condition".to_owned(), condition);
                    return (done, None);
                }
                return (problem.done(), None);
            }
        };
        let mut results = Vec::new();
        let mut whole = Done::default();
        let (mut all_skipped, mut requests) = (true, Vec::new());
        let base = self.scope.clone();
        let count = items.len();
        for (index, item) in items.iter().enumerate() {
            if self.run.cancel.is_cancelled() {
                break;
            }
            let mut local = Vars::new();
            local.insert(Arc::clone(&looping.loop_var), Lazy::Data(item.clone()));
            local.insert(
                Arc::from("ansible_loop_var"),
                Lazy::Data(TemplateValue::from(Arc::clone(&looping.loop_var))),
            );
            if let Some(name) = &looping.index_var {
                local.insert(Arc::clone(name), Lazy::Data(TemplateValue::from(index)));
                local.insert(
                    Arc::from("ansible_index_var"),
                    Lazy::Data(TemplateValue::from(Arc::clone(name))),
                );
            }
            if looping.extended {
                local.insert(
                    Arc::from("ansible_loop"),
                    Lazy::Data(extended(&items, index, looping.all_items)),
                );
            }
            let previous = self.scope.local.last().filter(|_| index > 0).cloned();
            self.scope = base.clone().with_local(local);
            // The registered name holds the item before, for `when` and labels.
            if let (Some(name), Some(last), Some(_)) =
                (&self.task.register, results.last(), previous)
            {
                let value = super::result::from_json(&last);
                self.scope = self
                    .scope
                    .clone()
                    .with_local(Vars::from([(Arc::clone(name), Lazy::Data(value))]));
            }
            let begun = Instant::now();
            let mut done = self.item(notify).await;
            let label = match &looping.label {
                Some(label) => self
                    .keyword(Some(label))
                    .map(|value| value.unwrap_or_else(|| item.clone())),
                None => Ok(item.clone()),
            };
            let label = match label {
                Ok(label) => label.to_string(),
                Err(problem) => {
                    done = match problem {
                        Problem::Template(problem) => {
                            Done::template_in("Failed to template loop_control.label: ", &problem)
                        }
                        other => other.done(),
                    };
                    item.to_string()
                }
            };
            all_skipped &= done.skipped;
            whole.changed |= done.changed;
            whole.failed |= done.failed;
            whole.unreachable |= done.unreachable;
            requests.append(&mut done.requests);
            let mut entry = done.whole();
            entry.insert(looping.loop_var.to_string(), to_json(item));
            entry.insert("ansible_loop_var".to_owned(), json!(&*looping.loop_var));
            if let Some(name) = &looping.index_var {
                entry.insert(name.to_string(), json!(index));
                entry.insert("ansible_index_var".to_owned(), json!(&**name));
            }
            let ignored = self
                .flag(self.task.keywords.ignore_errors.as_ref())
                .unwrap_or(None)
                .unwrap_or(false);
            // Inside of a module in YAML the loop is a step of the task that a person wrote.
            let is_told = done.requests.is_empty() && self.caller.is_none();
            if is_told
                && (done.skipped
                    || !matches!(
                        self.task.kind,
                        crate::playbook::Kind::Builtin(
                            crate::playbook::Builtin::IncludeTasks
                                | crate::playbook::Builtin::IncludeRole
                        )
                    ))
            {
                let label = if no_log {
                    "(censored due to no_log)".to_owned()
                } else {
                    label
                };
                let failed = done.failed || done.unreachable;
                let mut result = self.shown(
                    &done,
                    Some(label),
                    no_log,
                    failed && ignored,
                    failed && in_rescue,
                    begun.elapsed().as_secs_f64(),
                );
                // `debug` shows what was asked for and nothing else.
                let is_debug = matches!(
                    self.task.kind,
                    crate::playbook::Kind::Builtin(crate::playbook::Builtin::Debug)
                );
                if !no_log && !is_debug {
                    result.result.clone_from(&entry);
                }
                self.run.bus.emit(EventKind::ItemDone {
                    task: self.task_ref.clone(),
                    result,
                });
            }
            let stop = looping.break_when.as_ref().map(|condition| {
                let mut scope = self.scope.clone();
                if let Some(name) = &self.task.register {
                    scope = scope
                        .with_local(Vars::from([(Arc::clone(name), Lazy::Data(done.value()))]));
                }
                self.templar().condition(condition, &scope.share())
            });
            results.push(entry);
            match stop {
                Some(Ok(true)) => break,
                Some(Err(problem)) => {
                    whole = Done::condition(&problem);
                    break;
                }
                _ => {}
            }
            if let (Some(pause), true) = (&looping.pause, index + 1 < count) {
                let seconds = self
                    .text(Some(pause))
                    .ok()
                    .flatten()
                    .and_then(|text| text.parse::<f64>().ok());
                self.wait(seconds.unwrap_or(0.0)).await;
            }
        }
        self.scope = base;
        let is_empty = results.is_empty();
        whole.skipped = all_skipped;
        whole.requests = requests;
        let message = if is_empty {
            whole
                .result
                .insert("skipped_reason".to_owned(), json!("No items in the list"));
            None
        } else if whole.failed || whole.unreachable {
            Some("One or more items failed")
        } else if all_skipped {
            Some("All items skipped")
        } else {
            Some("All items completed")
        };
        if let Some(message) = message {
            whole.result.entry("msg").or_insert_with(|| json!(message));
        }
        if !is_empty && !all_skipped {
            whole.result.insert("skipped".to_owned(), json!(false));
        }
        let results: Vec<Value> = results.into_iter().map(Value::Object).collect();
        whole
            .result
            .insert("results".to_owned(), Value::Array(results));
        (whole, Some(count))
    }

    /// `None` when the conditions hold, else the one that did not.
    fn judge_when(&self) -> Result<Option<Value>, Problem> {
        let scope = self.scope.share();
        for condition in &self.task.keywords.when {
            if !self.templar().condition(condition, &scope)? {
                return Ok(Some(match condition {
                    Condition::Expression(text) => json!(&*text.text),
                    _ => json!(false),
                }));
            }
        }
        Ok(None)
    }

    /// One item, or the task itself when there is no loop: condition, tries, verdict, notifications.
    async fn item(&mut self, notify: &mut Vec<String>) -> Done {
        match self.judge_when() {
            Ok(None) => {}
            Ok(Some(condition)) => {
                let mut done = Done::skipped("Conditional result was False");
                done.result.insert("false_condition".to_owned(), condition);
                return done;
            }
            Err(Problem::Template(problem)) => return Done::condition(&problem),
            Err(problem) => return problem.done(),
        }
        let prepared = self.prepare();
        let (until, retries, delay) = match prepared {
            Ok(prepared) => prepared,
            Err(problem) => return problem.done(),
        };
        let attempts = retries.map_or(1, |retries| retries + 1);
        let mut done = Done::default();
        for attempt in 1..=attempts {
            done = self.attempt().await;
            self.judge(&mut done);
            let Some(retries) = retries else { break };
            let met = match &until {
                Some(condition) => {
                    let scope = self.with_result(&done);
                    match self.templar().condition(condition, &scope) {
                        Ok(met) => met,
                        Err(problem) => {
                            done = Done::condition(&problem);
                            break;
                        }
                    }
                }
                None => !done.failed,
            };
            if met || done.unreachable || done.skipped {
                done.result.insert("attempts".to_owned(), json!(attempt));
                break;
            }
            if attempt == attempts || self.run.cancel.is_cancelled() {
                done.failed = true;
                done.result.insert("attempts".to_owned(), json!(retries));
                break;
            }
            self.run.bus.emit(EventKind::Retry {
                task: self.task_ref.clone(),
                host: self.scope.host.name.to_string(),
                retries_left: attempts - attempt,
                delay_seconds: delay,
                result: self.told(&done),
            });
            self.wait(delay).await;
        }
        self.keep_facts(&done);
        for lazy in &self.task.keywords.notify {
            match self.keyword(Some(lazy)) {
                Ok(Some(value)) if value.kind() == minijinja::value::ValueKind::Seq => {
                    notify.extend(
                        value
                            .try_iter()
                            .into_iter()
                            .flatten()
                            .map(|name| name.to_string()),
                    );
                }
                Ok(Some(value)) => notify.push(value.to_string()),
                Ok(None) => {}
                Err(problem) => return problem.done(),
            }
        }
        done
    }

    /// Everything that a task's keywords say before its module runs.
    #[allow(clippy::type_complexity, reason = "read in one place, right after")]
    fn prepare(&mut self) -> Result<(Option<Condition>, Option<u64>, f64), Problem> {
        self.delegated_to = match self.text(self.task.keywords.delegate_to.as_ref())? {
            Some(name) if name.is_empty() => None,
            other => other,
        };
        // How the other host is reached is what the task's templates see.
        if let Some(other) = &self.delegated_to {
            let own = self.delegated_scope(other);
            let reached: Vars = ["ansible_host", "ansible_port", "ansible_user"]
                .into_iter()
                .filter_map(|name| Some((Arc::from(name), own.lookup(name)?)))
                .collect();
            self.scope = self.scope.clone().with_local(reached);
        }
        self.check = self
            .flag(self.task.keywords.check_mode.as_ref())?
            .unwrap_or(self.run.world.settings.check);
        self.diff = self
            .flag(self.task.keywords.diff.as_ref())?
            .unwrap_or(self.run.world.settings.diff);
        let number = |text: Option<String>| text.and_then(|text| text.parse::<f64>().ok());
        let delay = match number(self.text(self.task.delay.as_ref())?) {
            None => 5.0,
            Some(delay) if delay < 0.0 => 1.0,
            Some(delay) => delay.min(LONGEST_DELAY),
        };
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative and small"
        )]
        let retries = number(self.text(self.task.retries.as_ref())?)
            .map(|retries| retries.clamp(0.0, 1e6) as u64);
        let retries = match (&self.task.until, retries) {
            (None, None) => None,
            (_, Some(retries)) => Some(retries),
            (Some(_), None) => Some(3),
        };
        Ok((self.task.until.clone(), retries, delay))
    }

    /// The scope of `changed_when` and its like: the result under its registered name.
    fn with_result(&self, done: &Done) -> Arc<dyn crate::template::Scope> {
        match &self.task.register {
            Some(name) => self
                .scope
                .clone()
                .with_local(Vars::from([(Arc::clone(name), Lazy::Data(done.value()))]))
                .share(),
            None => self.scope.share(),
        }
    }

    /// `changed_when`, then `failed_when`, which sees what the first decided.
    fn judge(&self, done: &mut Done) {
        if done.skipped || done.unreachable {
            return;
        }
        if let Some(condition) = &self.task.changed_when {
            match self.templar().condition(condition, &self.with_result(done)) {
                Ok(changed) => done.changed = changed,
                Err(problem) => return Self::misjudged(done, "changed_when_result", &problem),
            }
        }
        if let Some(condition) = &self.task.failed_when {
            match self.templar().condition(condition, &self.with_result(done)) {
                Ok(failed) => {
                    done.failed = failed;
                    done.result
                        .insert("failed_when_result".to_owned(), json!(failed));
                }
                Err(problem) => Self::misjudged(done, "failed_when_result", &problem),
            }
        }
    }

    fn misjudged(done: &mut Done, key: &str, problem: &crate::template::TemplateError) {
        let told = Done::condition(problem);
        done.failed = true;
        done.diagnostic = told.diagnostic;
        done.help = told.help;
        done.result.insert(key.to_owned(), json!(problem.message));
        // The module's own message stays.
        for (name, value) in told.result {
            done.result.entry(name).or_insert(value);
        }
    }

    /// `ansible_facts` of a result become variables of the host.
    fn keep_facts(&self, done: &Done) {
        let Some(facts) = done.result.get("ansible_facts").and_then(Value::as_object) else {
            return;
        };
        if matches!(self.task.kind, crate::playbook::Kind::Builtin(_)) {
            return; // these set their variables themselves
        }
        for host in self.fact_hosts() {
            let facts = facts.iter().map(|(name, value)| {
                (
                    Arc::from(name.as_str()),
                    Lazy::Data(super::result::from_json(&value)),
                )
            });
            self.run.keep_facts(&host, facts);
        }
    }

    pub(super) async fn wait(&self, seconds: f64) {
        let pause = tokio::time::sleep(Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_DELAY)));
        tokio::select! {
            () = pause => {}
            () = self.run.cancel.cancelled() => {}
        }
    }

    /// A result as it may be shown.
    fn told(&self, done: &Done) -> Map<String, Value> {
        let no_log = self.flag(self.task.keywords.no_log.as_ref());
        if no_log.unwrap_or(Some(true)).unwrap_or(false) {
            censored(done)
        } else {
            done.whole()
        }
    }

    /// A result as reporters get it.
    pub(super) fn shown(
        &self,
        done: &Done,
        item: Option<String>,
        no_log: bool,
        ignored: bool,
        rescued: bool,
        seconds: f64,
    ) -> TaskResult {
        let result = if no_log { censored(done) } else { done.whole() };
        TaskResult {
            host: self.scope.host.name.to_string(),
            delegated_to: self.delegated_to.clone(),
            delegated_address: self.delegated_address(),
            status: done.status(),
            ignored,
            rescued,
            item,
            result,
            changes: if no_log {
                Vec::new()
            } else {
                done.changes.clone()
            },
            diff: if no_log || !self.diff {
                Vec::new()
            } else {
                done.diff.clone()
            },
            warnings: done.warnings.clone(),
            diagnostic: done.diagnostic.clone().filter(|_| !no_log),
            help: done.help.clone().filter(|_| !no_log),
            seconds,
            verbose_always: done.shown && !no_log,
        }
    }
}

/// What `no_log` leaves of a result.
fn censored(done: &Done) -> Map<String, Value> {
    let mut censored = Map::new();
    censored.insert("censored".to_owned(), json!("the output has been hidden due to the fact that 'no_log: true' was specified for this result"));
    censored.insert("changed".to_owned(), json!(done.changed));
    if let Some(attempts) = done.result.get("attempts") {
        censored.insert("attempts".to_owned(), attempts.clone());
    }
    censored
}

/// `ansible_loop`; `previtem` and `nextitem` are absent at the ends.
fn extended(items: &[TemplateValue], index: usize, all_items: bool) -> TemplateValue {
    let length = items.len();
    let mut entries = vec![
        ("index", TemplateValue::from(index + 1)),
        ("index0", TemplateValue::from(index)),
        ("first", TemplateValue::from(index == 0)),
        ("last", TemplateValue::from(index + 1 == length)),
        ("length", TemplateValue::from(length)),
        ("revindex", TemplateValue::from(length - index)),
        ("revindex0", TemplateValue::from(length - index - 1)),
    ];
    if all_items {
        entries.push(("allitems", TemplateValue::from(items.to_vec())));
    }
    if let Some(item) = index.checked_sub(1).and_then(|at| items.get(at)) {
        entries.push(("previtem", item.clone()));
    }
    if let Some(item) = items.get(index + 1) {
        entries.push(("nextitem", item.clone()));
    }
    TemplateValue::from_pairs(entries)
}

/// A condition from text, for `assert`'s `that`.
pub(super) fn condition(text: &str) -> Condition {
    Condition::Expression(Arc::new(TemplateText::from_text("that", text)))
}

//! In: what units say while they run, from many tasks at once. Out: one numbered stream of events, counters, proofs.

use std::sync::Mutex;

use indexmap::IndexMap;

use crate::event::{Event, EventKind, HostStats, Proof, Sink, Status};

struct Inner {
    seq: u64,
    sinks: Vec<Box<dyn Sink>>,
    stats: IndexMap<String, HostStats>,
    proofs: Vec<Proof>,
}

/// The one place through which everything leaves execution.
pub struct Bus(Mutex<Inner>);

impl Bus {
    pub fn new(sinks: Vec<Box<dyn Sink>>) -> Self {
        Self(Mutex::new(Inner {
            seq: 0,
            sinks,
            stats: IndexMap::new(),
            proofs: Vec::new(),
        }))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        match self.0.lock() {
            Ok(mut inner) => work(&mut inner),
            // A reporter that panicked must not silence the rest of the run.
            Err(poisoned) => work(&mut poisoned.into_inner()),
        }
    }

    pub fn emit(&self, kind: EventKind) {
        self.with(|inner| {
            if let EventKind::Proven { proof } = &kind {
                inner.proofs.push(proof.clone());
            }
            inner.seq += 1;
            let event = Event {
                seq: inner.seq,
                time: jiff::Timestamp::now(),
                kind,
            };
            for sink in &mut inner.sinks {
                sink.event(&event);
            }
        });
    }

    /// Counts a task of a host as Ansible's recap does.
    pub fn count(&self, host: &str, status: Status, ignored: bool, rescued: bool) {
        self.with(|inner| {
            let stats = inner.stats.entry(host.to_owned()).or_default();
            match status {
                Status::Ok => stats.ok += 1,
                Status::Changed => {
                    stats.ok += 1;
                    stats.changed += 1;
                }
                Status::Skipped => stats.skipped += 1,
                Status::Failed | Status::Unreachable if ignored => {
                    stats.ok += 1;
                    stats.ignored += 1;
                }
                Status::Failed if rescued => stats.rescued += 1,
                Status::Failed => stats.failed += 1,
                Status::Unreachable => stats.unreachable += 1,
            }
        });
    }

    /// A failed task that changed something and was ignored counts as changed as well.
    pub fn count_changed(&self, host: &str) {
        self.with(|inner| inner.stats.entry(host.to_owned()).or_default().changed += 1);
    }

    pub fn stats(&self) -> Vec<(String, HostStats)> {
        self.with(|inner| {
            inner
                .stats
                .iter()
                .map(|(host, stats)| (host.clone(), *stats))
                .collect()
        })
    }

    pub fn proofs(&self) -> Vec<Proof> {
        self.with(|inner| inner.proofs.clone())
    }
}

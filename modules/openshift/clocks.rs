//! In: where nodes stand, again and again. Out: which of them stand too long where something should happen. A pool in
//! which other nodes go on must not hide one that does not.

use std::collections::HashMap;

use jiff::Timestamp;

use super::observe::{NodeState, Phase};

struct Clock {
    phase: Phase,
    since: Timestamp,
    /// Since when it fails: a daemon that tries again may say for a moment that it works.
    failing: Option<Timestamp>,
    /// That it stands was told.
    told: bool,
}

/// A clock for each node, begun anew with each phase.
#[derive(Default)]
pub(super) struct Clocks(HashMap<String, Clock>);

/// Something is to happen with the node; it does not just wait for its turn, and is not done.
fn is_at_work(state: &NodeState) -> bool {
    match state.phase {
        Phase::Unseen | Phase::Blocked | Phase::Verified => false,
        // Proofs that cannot be read are told by themselves.
        Phase::Booted => !state.reason.is_empty(),
        Phase::Targeted
        | Phase::Draining
        | Phase::Applying
        | Phase::Rebooting
        | Phase::Degraded => true,
    }
}

impl Clocks {
    pub(super) fn take(&mut self, states: &[NodeState], now: Timestamp) {
        for state in states {
            if !is_at_work(state) {
                self.0.remove(&state.name);
                continue;
            }
            let before = self.0.get(&state.name);
            if before.is_some_and(|clock| clock.phase == state.phase) {
                continue;
            }
            let failing = before.and_then(|clock| clock.failing);
            let clock = Clock {
                phase: state.phase,
                since: now,
                failing: match state.phase {
                    Phase::Degraded => failing.or(Some(now)),
                    // It came further than what failed.
                    Phase::Rebooting | Phase::Booted => None,
                    _ => failing,
                },
                told: false,
            };
            self.0.insert(state.name.clone(), clock);
        }
        // Nodes that are gone.
        if self.0.len() > states.len() {
            self.0
                .retain(|name, _| states.iter().any(|state| state.name == *name));
        }
    }

    /// The node that has stood longest in its phase, and for how many seconds.
    pub(super) fn longest(&self, now: Timestamp) -> Option<(&str, i64)> {
        Self::most(self.0.iter().map(|(name, clock)| (name, clock.since)), now)
    }

    /// The node that has failed longest.
    pub(super) fn failing(&self, now: Timestamp) -> Option<(&str, i64)> {
        let failing = self
            .0
            .iter()
            .filter(|(_, clock)| clock.phase == Phase::Degraded);
        Self::most(
            failing.filter_map(|(name, clock)| Some((name, clock.failing?))),
            now,
        )
    }

    fn most<'c>(
        all: impl Iterator<Item = (&'c String, Timestamp)>,
        now: Timestamp,
    ) -> Option<(&'c str, i64)> {
        all.map(|(name, since)| (name.as_str(), now.duration_since(since).as_secs()))
            .max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0)))
    }

    /// Nodes that have stood for so many seconds, each told once.
    pub(super) fn news(&mut self, seconds: i64, now: Timestamp) -> Vec<String> {
        let stand = self.0.iter_mut().filter(|(_, clock)| {
            !clock.told && now.duration_since(clock.since).as_secs() >= seconds
        });
        stand
            .map(|(name, clock)| {
                clock.told = true;
                name.clone()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(name: &str, phase: Phase) -> NodeState {
        NodeState {
            name: name.to_owned(),
            phase,
            doing: "",
            reason: String::new(),
        }
    }

    #[test]
    fn a_node_that_stands_is_seen_while_others_go_on() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let mut clocks = Clocks::default();
        clocks.take(
            &[
                state("a", Phase::Rebooting),
                state("b", Phase::Draining),
                state("c", Phase::Unseen),
            ],
            at(0),
        );
        clocks.take(
            &[
                state("a", Phase::Rebooting),
                state("b", Phase::Applying),
                state("c", Phase::Unseen),
            ],
            at(50),
        );
        assert_eq!(clocks.longest(at(60)), Some(("a", 60)));
        assert_eq!(clocks.failing(at(60)), None);
        assert!(clocks.news(60, at(59)).is_empty());
        assert_eq!(clocks.news(60, at(60)), ["a"]);
        assert!(clocks.news(60, at(61)).is_empty(), "told once");
        clocks.take(
            &[state("a", Phase::Verified), state("b", Phase::Applying)],
            at(62),
        );
        assert_eq!(clocks.longest(at(62)), Some(("b", 12)));
        clocks.take(&[], at(63));
        assert_eq!(clocks.longest(at(500)), None);
    }

    #[test]
    fn who_tries_again_and_fails_again_has_failed_all_the_time() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let mut clocks = Clocks::default();
        for (phase, second) in [
            (Phase::Applying, 0),
            (Phase::Degraded, 10),
            (Phase::Applying, 20),
            (Phase::Degraded, 25),
        ] {
            clocks.take(&[state("a", phase)], at(second));
        }
        assert_eq!(clocks.failing(at(40)), Some(("a", 30)));
        clocks.take(&[state("a", Phase::Rebooting)], at(41));
        clocks.take(&[state("a", Phase::Degraded)], at(50));
        assert_eq!(clocks.failing(at(51)), Some(("a", 1)));
    }
}

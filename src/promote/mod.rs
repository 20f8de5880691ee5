//! In: what was proven on which hosts. Out: whether a stage may start, and why not. Pure.

use crate::event::Proof;

/// What a stage before this one did in the same run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StageRecord {
    pub name: String,
    /// All hosts of its plays.
    pub hosts: Vec<String>,
    /// Those that failed or were unreachable.
    pub failed: Vec<String>,
}

/// The answer at a gate.
#[derive(Debug, Clone, PartialEq)]
pub enum Gate {
    /// Every host of the stage before has proven the digest: these are the proofs.
    Open(Vec<Proof>),
    Held {
        reason: String,
        help: String,
    },
}

fn held(reason: String, help: &str) -> Gate {
    Gate::Held {
        reason,
        help: help.to_owned(),
    }
}

/// What a host has proven in a stage, of each pool the latest, in the order of the run.
fn latest<'p>(host: &str, stage: &str, proofs: &'p [Proof]) -> Vec<&'p Proof> {
    let mut pools: Vec<&Proof> = Vec::new();
    for proof in proofs.iter().rev() {
        let is_own = proof.cluster == host && proof.stage.as_deref() == Some(stage);
        if is_own && !pools.iter().any(|known| known.pool == proof.pool) {
            pools.push(proof);
        }
    }
    pools.reverse();
    pools
}

/// Why a stage may not start whatever it applies: the one before has not run on a host, failed there, or proved nothing.
pub fn unproven(after: &str, before: Option<&StageRecord>, proofs: &[Proof]) -> Option<Gate> {
    let Some(before) = before.filter(|stage| !stage.hosts.is_empty()) else {
        return Some(held(
            format!("stage `{after}` has not run on any host"),
            "run its play in the same run; a `--limit` must not leave its hosts out",
        ));
    };
    if let Some(host) = before.failed.first() {
        return Some(held(
            format!("`{host}` of stage `{after}` failed"),
            "mend what failed there, and run again: what is proven already takes no time",
        ));
    }
    let host = before
        .hosts
        .iter()
        .find(|host| latest(host, after, proofs).is_empty())?;
    Some(held(
        format!("`{host}` of stage `{after}` has proven nothing"),
        "the stage must end with `apply_layer`, `rollout` or `verify_layer` on every host; a `--limit` must not leave one out",
    ))
}

/// Whether `digest` may go on: every host of the stage before must have proven that very digest, on everything that it
/// rolled out.
pub fn judge(after: &str, before: Option<&StageRecord>, digest: &str, proofs: &[Proof]) -> Gate {
    if let Some(held) = unproven(after, before, proofs) {
        return held;
    }
    let mut counted = Vec::new();
    for host in before.into_iter().flat_map(|stage| &stage.hosts) {
        let pools = latest(host, after, proofs);
        if let Some(other) = pools.iter().find(|proof| proof.digest != digest) {
            return held(
                format!(
                    "pool `{}` of `{host}` proved {}, and this stage would apply {digest}",
                    other.pool, other.digest
                ),
                "production takes byte for byte what the stage before proved: give both the same digest",
            );
        }
        counted.extend(pools.into_iter().cloned());
    }
    Gate::Open(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(cluster: &str, pool: &str, digest: &str) -> Proof {
        Proof {
            stage: Some("np".to_owned()),
            cluster: cluster.to_owned(),
            pool: pool.to_owned(),
            image: format!("r/x@{digest}"),
            digest: digest.to_owned(),
            nodes: vec!["n".to_owned()],
            seconds: 0.0,
        }
    }

    fn stage(hosts: &[&str], failed: &[&str]) -> StageRecord {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        StageRecord {
            name: "np".to_owned(),
            hosts: owned(hosts),
            failed: owned(failed),
        }
    }

    #[test]
    fn only_what_every_host_proved_goes_on() {
        let good = [
            proof("a", "canary", "d1"),
            proof("a", "worker", "d1"),
            proof("b", "worker", "d1"),
        ];
        let is_open = |before: Option<&StageRecord>, digest: &str, proofs: &[Proof]| {
            matches!(judge("np", before, digest, proofs), Gate::Open(_))
        };
        let both = stage(&["a", "b"], &[]);
        assert!(is_open(Some(&both), "d1", &good));
        assert!(!is_open(Some(&both), "d2", &good), "another digest");
        assert!(
            !is_open(Some(&both), "d1", &good[..2]),
            "a host without a proof"
        );
        assert!(
            !is_open(Some(&stage(&["a", "b"], &["b"])), "d1", &good),
            "a host that failed"
        );
        assert!(
            !is_open(Some(&stage(&[], &[])), "d1", &good),
            "a stage without hosts"
        );
        assert!(!is_open(None, "d1", &good), "a stage that did not run");
        let mixed = [
            proof("a", "canary", "d0"),
            proof("a", "worker", "d1"),
            proof("b", "worker", "d1"),
        ];
        let Gate::Held { reason, .. } = judge("np", Some(&both), "d1", &mixed) else {
            panic!("a pool with another digest");
        };
        assert_eq!(
            reason,
            "pool `canary` of `a` proved d0, and this stage would apply d1"
        );
        let mended = [mixed.as_slice(), &[proof("a", "canary", "d1")]].concat();
        assert!(
            is_open(Some(&both), "d1", &mended),
            "the latest proof of a pool counts"
        );
    }
}

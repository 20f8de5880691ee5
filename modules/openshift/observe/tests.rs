//! The core by single situations.

use serde_json::{Value, json};

use super::super::objects::PREFIX;
use super::*;

fn node(current: &str, desired: &str, state: &str, ready: &str) -> Value {
    let drained = format!("uncordon-{current}");
    json!({"metadata": {"name": "n1", "annotations": {
        format!("{PREFIX}currentConfig"): current, format!("{PREFIX}desiredConfig"): desired, format!("{PREFIX}state"): state,
        format!("{PREFIX}desiredDrain"): drained, format!("{PREFIX}lastAppliedDrain"): drained,
    }}, "spec": {}, "status": {"conditions": [{"type": "Ready", "status": ready}]}})
}

fn with(node: &Value, annotations: &[(&str, &str)]) -> Value {
    let mut node = node.clone();
    for (key, value) in annotations {
        node["metadata"]["annotations"][format!("{PREFIX}{key}")] = json!(value);
    }
    node
}

/// A pool that goes to `target`, and says that it is there.
fn pool(target: &str) -> Value {
    json!({"metadata": {"name": "worker", "generation": 2}, "spec": {"configuration": {"name": target}}, "status": {
        "observedGeneration": 2, "machineCount": 1, "configuration": {"name": target},
        "conditions": [{"type": "Updated", "status": "True"}]}})
}

fn rendered(name: &str, url: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"osImageURL": url}})
}

fn look(pool: &Value, rendered: &Value, nodes: &[&Value], image: &str) -> Progress {
    observe(
        &Snapshot::new(pool, Some(rendered), nodes.iter().copied()),
        image,
    )
}

#[test]
fn a_pool_that_says_updated_has_noticed_nothing() {
    let (pool, old) = (pool("A"), rendered("A", "base"));
    let node = node("A", "A", "Done", "True");
    let progress = look(&pool, &old, &[&node], "L1");
    assert!(!progress.noticed && !progress.is_settled());
    assert!(look(&pool, &old, &[&node], "base").is_settled());
}

#[test]
fn a_rendered_config_of_another_name_counts_for_nothing() {
    let node = node("B", "B", "Done", "True");
    assert!(!look(&pool("B"), &rendered("A", "L1"), &[&node], "L1").noticed);
}

#[test]
fn nodes_are_where_their_annotations_say() {
    let (pool, wanted) = (pool("B"), rendered("B", "L1"));
    let old = node("A", "B", "Working", "True");
    let done = node("B", "B", "Done", "True");
    let mut cordoned = done.clone();
    cordoned["spec"]["unschedulable"] = json!(true);
    let asks = |node: &Value, drain: &str| with(node, &[("desiredDrain", drain)]);
    let drained = asks(&with(&old, &[("lastAppliedDrain", "drain-B")]), "drain-B");
    let uncordoned = ("desiredDrain", "uncordon-A");
    for (node, phase, reason) in [
        (node("A", "A", "Done", "True"), Phase::Unseen, ""),
        (
            node("A", "A", "Done", "False"),
            Phase::Blocked,
            "it is not ready",
        ),
        (node("A", "B", "Done", "True"), Phase::Targeted, ""),
        (old.clone(), Phase::Targeted, ""),
        (
            with(&old, &[("controlPlaneTopology", "SingleReplica")]),
            Phase::Applying,
            "",
        ),
        (asks(&old, "drain-B"), Phase::Draining, ""),
        (drained, Phase::Applying, ""),
        (
            with(&old, &[("post-config-action", "Rebooting")]),
            Phase::Rebooting,
            "",
        ),
        (node("A", "B", "Working", "Unknown"), Phase::Rebooting, ""),
        (node("B", "B", "Done", "False"), Phase::Rebooting, ""),
        (
            asks(&old, "uncordon-B"),
            Phase::Booted,
            "waits to be uncordoned",
        ),
        (
            with(&done, &[("lastAppliedDrain", "drain-B")]),
            Phase::Booted,
            "waits to be uncordoned",
        ),
        (cordoned, Phase::Booted, "was cordoned by somebody"),
        // A last update that needed no drain leaves the older word.
        (
            with(&done, &[uncordoned, ("lastAppliedDrain", "uncordon-A")]),
            Phase::Booted,
            "",
        ),
        (done, Phase::Booted, ""),
        (node("A", "B", "Degraded", "True"), Phase::Degraded, ""),
        (
            node("A", "B", "Unreconcilable", "True"),
            Phase::Degraded,
            "",
        ),
    ] {
        let progress = look(&pool, &wanted, &[&node], "L1");
        let seen = &progress.nodes[0];
        assert_eq!((seen.phase, seen.reason.as_str()), (phase, reason));
        let is_settled = phase == Phase::Booted && reason.is_empty();
        assert_eq!(progress.is_settled(), is_settled, "{phase:?}");
    }
    assert!(
        !look(&pool, &wanted, &[], "L1").is_settled(),
        "no nodes, nothing proven"
    );
}

#[test]
fn the_pools_own_status_must_agree_and_be_new() {
    let (wanted, done) = (rendered("B", "L1"), node("B", "B", "Done", "True"));
    for (path, value) in [
        ("/status/observedGeneration", json!(1)),
        ("/status/machineCount", json!(2)),
        ("/status/configuration/name", json!("A")),
        ("/status/conditions/0/status", json!("False")),
        (
            "/status/conditions/0",
            json!({"type": "RenderDegraded", "status": "True", "message": "no"}),
        ),
    ] {
        let mut pool = pool("B");
        *pool.pointer_mut(path).unwrap() = value;
        let progress = look(&pool, &wanted, &[&done], "L1");
        assert!(
            !progress.is_settled() && !progress.lacks.is_empty(),
            "{path}"
        );
    }
}

#[test]
fn a_line_says_what_is_new() {
    let (pool, wanted) = (pool("B"), rendered("B", "L1"));
    let at = |node: &Value| look(&pool, &wanted, &[node], "L1");
    let (waits, next) = (
        at(&node("A", "A", "Done", "True")),
        at(&node("A", "B", "Done", "True")),
    );
    assert_eq!(waits.line(None), "pool worker, 0 of 1 nodes: goes to B");
    assert_eq!(
        next.line(Some(&waits)),
        "pool worker, 0 of 1 nodes: n1 is next"
    );
    assert_eq!(next.line(Some(&next)), "pool worker, 0 of 1 nodes");
}

#[test]
fn a_node_is_verified_only_in_the_boot_in_which_it_said_so() {
    let (pool, wanted) = (pool("B"), rendered("B", "L1"));
    let mut done = node("B", "B", "Done", "True");
    done["status"]["nodeInfo"]["bootID"] = json!("second");
    let look = |boot: &str, image: &str| {
        let mut snapshot = Snapshot::new(&pool, Some(&wanted), [&done]);
        snapshot.proven.insert("n1".to_owned(), boot.to_owned());
        observe(&snapshot, image)
    };
    assert_eq!(look("second", "L1").verdict, Verdict::Done);
    assert_eq!(look("first", "L1").verdict, Verdict::Settled);
    assert_eq!(look("second", "L2").verdict, Verdict::Unnoticed);
}

#[test]
fn a_verdict_says_what_the_pool_waits_for() {
    let wanted = rendered("B", "L1");
    let named = |mut node: Value, name: &str| {
        node["metadata"]["name"] = json!(name);
        node
    };
    let waits = named(node("A", "A", "Done", "True"), "n2");
    let mut cordoned = node("A", "A", "Done", "True");
    cordoned["spec"]["unschedulable"] = json!(true);
    let broken = with(
        &node("A", "B", "Degraded", "True"),
        &[("reason", "manifest unknown")],
    );
    let works = node("A", "B", "Working", "True");
    let mut paused = pool("B");
    paused["spec"]["paused"] = json!(true);
    let going = pool("B");
    for (pool, first, verdict, second) in [
        (&going, &works, Verdict::Rolling, ""),
        (
            &going,
            &cordoned,
            Verdict::Blocked,
            "no more than 1 may be away, and that is n1",
        ),
        (
            &going,
            &broken,
            Verdict::Degraded,
            "no more than 1 may be away, and that is n1",
        ),
        (&paused, &waits, Verdict::Paused, "the pool is paused"),
    ] {
        let progress = look(pool, &wanted, &[first, &waits], "L1");
        assert_eq!(progress.verdict, verdict);
        assert_eq!(progress.nodes[1].reason, second);
    }
    assert_eq!(look(&going, &wanted, &[], "L1").verdict, Verdict::Empty);
}

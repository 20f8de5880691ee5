//! In: what a real API server showed while the operator's own controllers ran a rollout (`tests/traces`), recorded with
//! its newest sources. Out: the lab, put into the same situation, goes through the same states in the same order, node by
//! node and pool by pool. `controllers` does the same with controllers that run now.

use serde_json::{Value, json};

use crate::support::stage::{BASE, MISSING, Stage};
use crate::support::story::{Look, Rendered, Story, compare};

/// The traces' layer, and where its workers stand.
const LAYER: &str = "quay.io/my-registry/custom-image@sha256:aaaa";
const NAME: &str = "99-os-layer-custom";
const ZONES: &[&str] = &["a", "b", "c", "a", "b"];

/// A trace up to (and without) the first moment at which `ends` holds.
fn recorded(file: &str, ends: impl Fn(&Value) -> bool) -> Story {
    let path = format!("{}/tests/traces/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let word = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    let mut rendered = Rendered::default();
    for event in events
        .iter()
        .filter(|event| event["kind"] == "MachineConfig")
    {
        rendered.learn(
            &word(event, "name"),
            &word(event, "osImageURL"),
            &word(event, "kernelType"),
        );
    }
    let mut story = Story::new(rendered);
    for event in events.into_iter().take_while(|event| !ends(event)) {
        if event["kind"] != "MachineConfig" {
            story.take(&Look {
                kind: word(&event, "kind"),
                name: word(&event, "name"),
                fields: event,
            });
        }
    }
    story
}

const NEVER: fn(&Value) -> bool = |_| false;

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_is_applied_and_removed_as_by_the_real_controllers() {
    let stage = Stage::lab(ZONES).await;
    stage.layer(NAME, "worker", LAYER).await;
    stage.settled(LAYER).await;
    compare(
        "applied",
        &recorded("s01_apply_worker", NEVER),
        &stage.story(),
    );
    stage.remove(NAME).await;
    stage.settled(BASE).await;
    compare(
        "removed",
        &recorded("s02_remove_worker", NEVER),
        &stage.story(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_at_a_time_go_as_by_the_real_controllers() {
    let stage = Stage::lab(ZONES).await;
    stage.pool("worker", json!({"maxUnavailable": 2})).await;
    stage.layer(NAME, "worker", LAYER).await;
    stage.settled(LAYER).await;
    let removed = |event: &Value| event["type"] == "DELETED";
    compare(
        "two at a time",
        &recorded("s07_max_unavailable_2", removed),
        &stage.story(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_image_traps_its_nodes_until_they_are_freed_as_by_the_real_controllers() {
    let stage = Stage::lab(ZONES).await;
    stage.layer(NAME, "worker", MISSING).await;
    stage
        .until("both pools to be degraded", |now| {
            now.is("worker", "Degraded") && now.is("canary", "Degraded")
        })
        .await;
    stage.remove(NAME).await;
    stage
        .until("both pools to go back", |now| {
            ["worker", "canary"]
                .iter()
                .all(|pool| now.goes_to(pool, BASE) && now.knows(pool))
        })
        .await;
    // Up to here nothing frees the nodes: this is the trap. In the trace it is opened after 14 s.
    let opened = |event: &Value| event["t"].as_f64().unwrap() > 35.0;
    compare(
        "trapped",
        &recorded("s04_bad_image_degrades_then_rollback", opened),
        &stage.story(),
    );
    for node in ["worker", "canary"].map(|pool| stage.node_in(pool, "Degraded")) {
        stage.free(&node).await;
    }
    stage.settled(BASE).await;
}

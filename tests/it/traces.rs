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
            event["annotations"]["os-image-url-overridden"] == "true",
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

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_pool_waits_as_by_the_real_controllers() {
    let stage = Stage::lab(ZONES).await;
    stage.pause(true, &["worker"]).await;
    stage.layer(NAME, "worker", LAYER).await;
    stage
        .until("the paused pool to know", |now| {
            now.rests_at("canary", LAYER) && now.goes_to("worker", LAYER) && now.knows("worker")
        })
        .await;
    stage.pause(false, &["worker"]).await;
    stage.settled(LAYER).await;
    stage.remove(NAME).await;
    stage.settled(BASE).await;
    compare(
        "paused",
        &recorded("s05_paused_pool", NEVER),
        &stage.story(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_stuck_is_paused_as_by_the_real_controllers() {
    let stage = Stage::lab(ZONES).await;
    stage.layer(NAME, "worker", MISSING).await;
    let both = ["worker", "canary"];
    stage
        .until("both pools to be degraded", |now| {
            both.iter().all(|pool| now.is(pool, "Degraded"))
        })
        .await;
    stage.pause(true, &both).await;
    stage
        .until("both pools to say so", |now| {
            both.iter().all(|pool| !now.is(pool, "Updating"))
        })
        .await;
    stage.remove(NAME).await;
    stage
        .until("both pools to go back", |now| {
            both.iter()
                .all(|pool| now.goes_to(pool, BASE) && now.knows(pool))
        })
        .await;
    // Then the nodes are freed, and daemons say in which order what they are.
    let freed = |event: &Value| event["t"].as_f64().unwrap() > 15.0;
    compare(
        "stuck and paused",
        &recorded("s12_rollback_on_a_paused_pool", freed),
        &stage.story(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_name_wins_as_by_the_real_controllers() {
    let stage = Stage::lab(ZONES).await;
    let image = |digit: &str| format!("quay.io/my-registry/custom-image@sha256:{digit}");
    stage
        .layer("50-os-layer-low", "worker", &image("1111"))
        .await;
    stage
        .layer("99-os-layer-high", "worker", &image("2222"))
        .await;
    stage.settled(&image("2222")).await;
    stage.remove("50-os-layer-low").await;
    stage.remove("99-os-layer-high").await;
    stage.settled(BASE).await;
    compare(
        "two of them",
        &recorded("s06_two_osimageurls", NEVER),
        &stage.story(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_goes_first_as_by_the_real_controllers() {
    let stage = Stage::lab(ZONES).await;
    let image = "quay.io/my-registry/custom-image@sha256:dddd";
    stage.layer("99-os-layer-canary", "canary", image).await;
    stage
        .until("the canary to be through", |now| {
            now.rests_at("canary", image)
        })
        .await;
    stage.layer(NAME, "worker", image).await;
    stage.settled(image).await;
    stage.remove("99-os-layer-canary").await;
    stage.remove(NAME).await;
    stage.settled(BASE).await;
    compare(
        "the canary first",
        &recorded("s03_canary_then_worker", NEVER),
        &stage.story(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_goes_as_by_the_real_controllers() {
    let stage = Stage::lab(ZONES).await;
    let image = "quay.io/my-registry/custom-image:latest";
    stage.layer(NAME, "worker", image).await;
    stage.settled(image).await;
    stage.remove(NAME).await;
    stage.settled(BASE).await;
    compare(
        "a tag",
        &recorded("s10_tag_not_digest", NEVER),
        &stage.story(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kernel_that_is_taken_back_at_once_as_by_the_real_controllers() {
    let stage = Stage::lab(ZONES).await;
    let before = ["worker", "canary"].map(|pool| stage.target(pool));
    // In the trace the canary is done and the first worker on its way when the MachineConfig goes.
    stage.hold("worker-0", true).await;
    let spec = json!({"kernelType": "realtime", "extensions": ["usbguard"], "osImageURL": LAYER});
    stage.config("99-ext", "worker", spec).await;
    stage
        .until("the canary to be done", |now| {
            now.target("canary") != before[1] && now.rests_at("canary", LAYER)
        })
        .await;
    stage.remove("99-ext").await;
    stage
        .until("the pools to go back", |now| {
            now.target("worker") == before[0] && now.target("canary") == before[1]
        })
        .await;
    stage.hold("worker-0", false).await;
    stage.settled(BASE).await;
    compare(
        "taken back",
        &recorded("s11_extensions_conflict", NEVER),
        &stage.story(),
    );
}

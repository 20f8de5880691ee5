//! In: what somebody does to a cluster. Out: the lab goes the way that the machine-config operator's own controllers go on
//! a real API server with the same nodes, pool by pool and node by node.

use serde_json::json;

use crate::support::stage::{BASE, MISSING, Stage};
use crate::support::story::{Story, compare};

const FIRST: &str = "quay.io/my-registry/custom-image@sha256:1111";
const SECOND: &str = "quay.io/my-registry/custom-image@sha256:2222";
const THIRD: &str = "quay.io/my-registry/custom-image@sha256:3333";

const LAYER: &str = "99-os-layer";

/// A scenario's parts, each by its name.
type Told = Vec<(&'static str, Story)>;

/// Plays a scenario in both places and compares part by part.
async fn both(zones: &[&str], scenario: impl AsyncFn(&Stage) -> Told) {
    let (lab, real) = tokio::join!(Stage::lab(zones), Stage::real(zones));
    let (lab, real) = tokio::join!(scenario(&lab), scenario(&real));
    for ((what, lab), (_, real)) in lab.iter().zip(&real) {
        assert!(!real.is_empty(), "{what}: nothing happened");
        compare(what, real, lab);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_comes_changes_and_goes() {
    both(&["a", "b", "c", "a", "b"], async |stage: &Stage| {
        let mut told = Told::new();
        stage.layer(LAYER, "worker", FIRST).await;
        stage.settled(FIRST).await;
        told.push(("a layer comes", stage.story()));
        stage.edit(LAYER, SECOND).await;
        stage.settled(SECOND).await;
        told.push(("it is edited in place", stage.story()));
        stage.remove(LAYER).await;
        stage.settled(BASE).await;
        told.push(("it goes", stage.story()));
        told
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_at_once_while_paused_and_by_the_order_of_names() {
    both(&["a", "b", "c", "a", "b"], async |stage: &Stage| {
        let mut told = Told::new();
        stage.pool("worker", json!({"maxUnavailable": 2})).await;
        stage.layer(LAYER, "worker", FIRST).await;
        stage.settled(FIRST).await;
        told.push(("two nodes at a time", stage.story()));

        stage.pause(true, &["worker"]).await;
        stage.edit(LAYER, SECOND).await;
        stage
            .until("the paused pool to know", |now| {
                now.goes_to("worker", SECOND)
                    && now.knows("worker")
                    && now.rests_at("canary", SECOND)
            })
            .await;
        told.push(("a pool is paused", stage.story()));
        stage.pause(false, &["worker"]).await;
        stage.settled(SECOND).await;
        told.push(("and goes on", stage.story()));

        // The first by name is written last, and loses.
        stage.layer("zz-os-layer", "worker", THIRD).await;
        stage.layer("50-os-layer", "worker", FIRST).await;
        stage.settled(THIRD).await;
        told.push(("the last name wins", stage.story()));
        told
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_image_traps_its_nodes_until_they_are_freed() {
    both(&["a", "b", "c"], async |stage: &Stage| {
        let mut told = Told::new();
        for is_paused in [false, true] {
            stage.layer(LAYER, "worker", MISSING).await;
            stage
                .until("both pools to be degraded", |now| {
                    ["worker", "canary"].iter().all(|pool| {
                        now.is(pool, "Degraded")
                            && now.count(pool, "degraded") == 1
                            && now.count(pool, "unavailable") == 1
                    }) && (now.tainted("worker"), now.tainted("canary")) == (2, 0)
                })
                .await;
            told.push(("an image that is not there", stage.story()));
            if is_paused {
                stage.pause(true, &["worker", "canary"]).await;
                stage
                    .until("both pools to say that they are paused", |now| {
                        !now.is("worker", "Updating") && !now.is("canary", "Updating")
                    })
                    .await;
            }
            stage.remove(LAYER).await;
            stage
                .until("both pools to want the base again", |now| {
                    // A pool that is paused keeps the taints that it had: two were waiting.
                    let tainted = if is_paused { (2, 0) } else { (1, 1) };
                    (now.tainted("worker"), now.tainted("canary")) == tainted
                        && ["worker", "canary"]
                            .iter()
                            .all(|pool| now.goes_to(pool, BASE) && now.knows(pool))
                })
                .await;
            let stuck = ["worker", "canary"].map(|pool| stage.node_in(pool, "Degraded"));
            told.push(("its MachineConfig goes, the trap stays", stage.story()));
            for node in &stuck {
                stage.free(node).await;
            }
            stage
                .until("both pools to be at the base", |now| {
                    now.is_at("worker", BASE) && now.is_at("canary", BASE)
                })
                .await;
            if is_paused {
                told.push(("the nodes are freed, paused", stage.story()));
                stage.pause(false, &["worker", "canary"]).await;
            }
            stage.settled(BASE).await;
            told.push(("the nodes are freed", stage.story()));
        }
        told
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_somebody_cordoned_holds_its_pool_up() {
    both(&["a", "b", "c"], async |stage: &Stage| {
        let mut told = Told::new();
        stage.cordon("worker-1", true).await;
        stage
            .until("the pool to see the cordon", |now| {
                now.count("worker", "unavailable") == 1 && !now.is("worker", "Updated")
            })
            .await;
        told.push(("a node is cordoned", stage.story()));
        stage.layer(LAYER, "worker", FIRST).await;
        stage
            .until("the other pool to be through", |now| {
                now.rests_at("canary", FIRST)
                    && now.goes_to("worker", FIRST)
                    && now.knows("worker")
                    && now.tainted("worker") == 3
            })
            .await;
        told.push(("a layer comes, the pool waits", stage.story()));
        stage.cordon("worker-1", false).await;
        stage.settled(FIRST).await;
        told.push(("the node is free again", stage.story()));
        told
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_pools_what_was_never_rendered_and_swaps() {
    both(&["a", "b", "c"], async |stage: &Stage| {
        let mut told = Told::new();
        // Gone before it was rendered: nobody ever hears of it.
        stage.layer("98-mistake", "worker", MISSING).await;
        stage.remove("98-mistake").await;
        stage.layer(LAYER, "worker", FIRST).await;
        stage.settled(FIRST).await;
        told.push(("one that comes and goes, and one that stays", stage.story()));

        // By name it would lose, but it is the pool's own.
        stage.layer("10-os-layer-canary", "canary", SECOND).await;
        stage
            .until("the custom pool to follow its own", |now| {
                now.rests_at("canary", SECOND) && now.rests_at("worker", FIRST)
            })
            .await;
        told.push(("a custom pool has its own", stage.story()));

        stage.layer("98-swapped", "worker", THIRD).await;
        stage.remove(LAYER).await;
        stage
            .until("the workers to follow the new one", |now| {
                now.rests_at("canary", SECOND) && now.rests_at("worker", THIRD)
            })
            .await;
        told.push(("one is swapped for another", stage.story()));

        stage.remove("10-os-layer-canary").await;
        stage.settled(THIRD).await;
        told.push(("the custom pool inherits again", stage.story()));
        told
    })
    .await;
}

/// Waits until both pools say that they cannot be rendered, or that they can.
async fn render_degraded(stage: &Stage, are: bool) {
    let what = if are { "degraded" } else { "well again" };
    stage
        .until(&format!("both pools to be {what}"), |now| {
            ["worker", "canary"].iter().all(|pool| {
                ["RenderDegraded", "Degraded"]
                    .iter()
                    .all(|condition| now.is(pool, condition) == are)
            })
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_rendered() {
    both(&["a"], async |stage: &Stage| {
        let mut told = Told::new();
        let unreadable = json!({"config": {"ignition": {"version": "9.9.0"}}});
        let devel = json!({"kernelType": "realtime", "extensions": ["kernel-devel"]});
        for (what, spec) in [
            ("an unknown version of Ignition", unreadable),
            ("kernel-devel for another kernel", devel),
        ] {
            stage.config("98-wrong", "worker", spec).await;
            render_degraded(stage, true).await;
            told.push((what, stage.story()));
            stage.remove("98-wrong").await;
            render_degraded(stage, false).await;
            told.push(("it goes", stage.story()));
        }
        // In an upgrade the next release's templates are there before its render controller is.
        stage.generated_by("v9.9.9-next").await;
        stage.layer(LAYER, "worker", FIRST).await;
        render_degraded(stage, true).await;
        told.push(("templates of another release", stage.story()));
        stage.generated_by("v0.0.0-was-not-built-properly").await;
        stage.remove(LAYER).await;
        render_degraded(stage, false).await;
        told.push(("they go", stage.story()));
        stage.found("infra").await;
        stage
            .until("the new pool to be degraded", |now| {
                now.is("infra", "RenderDegraded")
            })
            .await;
        told.push(("a pool that nothing feeds", stage.story()));
        told
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_join_meanwhile() {
    both(&["a", "b"], async |stage: &Stage| {
        let mut told = Told::new();
        stage.layer(LAYER, "worker", FIRST).await;
        stage
            .until("the workers to begin", |now| {
                now.goes_to("worker", FIRST)
                    && now.knows("worker")
                    && now.count("worker", "updated") == 0
            })
            .await;
        stage.join("worker-early").await;
        stage
            .until("the first worker to be done", |now| {
                now.count("worker", "updated") > 0
            })
            .await;
        stage.join("worker-late").await;
        stage.settled(FIRST).await;
        told.push(("one joins before a node is done, one after", stage.story()));
        told
    })
    .await;
}

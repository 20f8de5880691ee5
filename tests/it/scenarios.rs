//! In: scenario files (`tests/scenarios`), each a lab where something goes wrong. Out: what a run says of it, and what
//! it does: the failure by its name, the way out, or the refusal before the first write.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};

use crate::support::played::{Played, SOON};

#[tokio::test(flavor = "multi_thread")]
async fn vector_18_a_missing_image_stops_at_the_first_node() {
    let played = Played::start("image_never").await;
    // The registry has it, and a node that is asked beforehand does not find it.
    played
        .refuses("check `node_pull`: node `worker-0` does not find")
        .await;
    played
        .fails_with(
            "image_missing",
            &[
                "tried.diagnosis.node == 'worker-0'",
                "tried.diagnosis.command is match('skopeo')",
            ],
        )
        .await;
    assert_eq!(played.node("worker-0")["spec"]["unschedulable"], true);
    assert!(played.node("worker-1")["spec"]["unschedulable"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_19_and_20_the_trap_is_opened_by_the_rollback() {
    let played = Played::start("image_never").await;
    let boot = |played: &Played| played.node("worker-0")["status"]["nodeInfo"]["bootID"].clone();
    let before = boot(&played);
    played
        .holds(&format!(
            "    - apply_layer: {{pool: worker, image: \"{{{{ built.image }}}}\", force: [node_pull], on_failure: rollback, {SOON}}}
      ignore_errors: true
      register: tried
    - assert: {{that: [tried is failed, \"tried.diagnosis.failure == 'image_missing'\"]}}
    - verify_layer: {{pool: worker, base: true}}
"
        ))
        .await;
    assert_eq!(boot(&played), before, "nothing was rebooted");
    assert!(played.node("worker-0")["spec"]["unschedulable"].is_null());
    assert!(!played.has_layer());
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_21_an_image_that_comes_later_heals_its_node() {
    let played = Played::start("image_missing").await;
    let said = played
        .holds("    - apply_layer: {pool: worker, image: \"{{ built.image }}\", force: [node_pull], stall: 1, degraded: 60}\n")
        .await;
    assert!(said.text.contains("manifest unknown"), "{}", said.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_23_an_image_that_is_no_system_is_told() {
    Played::start("not_bootable")
        .await
        .fails_with("not_bootable", &[])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_24_and_25_a_budget_that_blocks_the_drain_is_named_and_its_end_goes_on() {
    let played = Played::start("drain_blocked").await;
    let said = played
        .fails_with(
            "budget_blocks_drain",
            &[
                "\"'shop/checkout-worker-0' in tried.diagnosis.cause\"",
                "tried.diagnosis.node == 'worker-0'",
            ],
        )
        .await;
    // The plan says so before anything is written.
    assert!(
        said.text
            .contains("would not let their nodes be drained now: "),
        "{}",
        said.text
    );
    played
        .holds(
            "    - k8s: {kind: PodDisruptionBudget, api_version: policy/v1, namespace: shop, name: checkout-worker-0, state: absent}
    - apply_layer: {pool: worker, image: \"{{ built.image }}\"}
",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_26_a_cordoned_node_is_refused_before_and_named_after() {
    let played = Played::start("cordoned").await;
    played.refuses("check `cordoned`").await;
    played
        .holds(&format!(
            "    - apply_layer: {{pool: worker, image: \"{{{{ built.image }}}}\", force: [cordoned], {SOON}}}
      ignore_errors: true
      register: tried
    - assert: {{that: [tried is failed, \"tried.diagnosis.failure == 'no_capacity'\", \"'worker-1' in tried.diagnosis.cause\"]}}
"
        ))
        .await;
    assert!(
        played.node("worker-0")["spec"]["unschedulable"].is_null(),
        "nobody was cordoned or freed"
    );
    assert_eq!(played.node("worker-1")["spec"]["unschedulable"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_13_and_14_a_paused_pool_waits_and_goes_on() {
    let played = Played::start("pool_paused").await;
    played.refuses("check `paused`").await;
    played
        .holds(&format!(
            "    - apply_layer: {{pool: worker, image: \"{{{{ built.image }}}}\", force: [paused], {SOON}}}
      ignore_errors: true
      register: tried
    - assert: {{that: [tried is failed, \"tried.diagnosis.failure == 'paused'\"]}}
    - machine_config_pool: {{name: worker, paused: false, force_conflicts: true}}
    - apply_layer: {{pool: worker, image: \"{{{{ built.image }}}}\"}}
"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_15_a_pool_without_nodes_proves_nothing() {
    let played = Played::start("empty_pool").await;
    let said = played
        .run("    - apply_layer: {pool: canary, image: \"{{ built.image }}\"}\n")
        .await;
    assert_eq!(said.code, Some(2), "{}", said.text);
    assert!(said.text.contains("has no nodes"), "{}", said.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_32_a_busy_controller_is_no_success() {
    let played = Played::start("controller_not_ready").await;
    played.fails_with("controller_busy", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_33_an_upgrade_under_way_refuses() {
    let played = Played::start("upgrade_under_way").await;
    played.refuses("4.18.10").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_44_a_node_that_never_returns_is_told_though_nothing_is_degraded() {
    let played = Played::start("never_returns").await;
    played
        .fails_with(
            "node_away",
            &[
                "tried.diagnosis.node == 'worker-0'",
                "tried.diagnosis.since is string",
            ],
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stands_is_not_hidden_by_others_that_go_on() {
    let played = Played::start("one_of_many_never_returns").await;
    let said = played
        .holds(
            "    - machine_config_pool: {name: worker, max_unavailable: 2, allow_raise: true}
    - apply_layer: {pool: worker, image: \"{{ built.image }}\", stall: 1, timeout: 4}
      ignore_errors: true
      register: tried
    - assert:
        that:
          - tried is failed
          - tried.diagnosis.failure == 'node_away'
          - tried.diagnosis.node == 'worker-0'
          - \"'node `worker-0` has not moved for' in tried.msg\"
          - tried.nodes_proven | length < 11
",
        )
        .await;
    let stalls = said.text.lines();
    let stalls = stalls.filter(|line| line.contains("\"event\":\"stall\""));
    let of_it = stalls.filter(|line| line.contains("\"node\":\"worker-0\""));
    assert_eq!(of_it.count(), 1, "told, and told once: {}", said.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_46_a_node_under_pressure_is_no_candidate() {
    let played = Played::start("disk_pressure").await;
    let said = played
        .holds(&format!(
            "    - apply_layer: {{pool: worker, image: \"{{{{ built.image }}}}\", force: [cordoned], {SOON}}}
      ignore_errors: true
      register: tried
    - assert:
        that:
          - tried is failed
          - \"tried.diagnoses | map(attribute='failure') | list | intersect(['disk_full', 'no_capacity']) | length > 0\"
"
        ))
        .await;
    assert!(said.text.contains("worker-1"), "{}", said.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_56_a_pull_secret_without_the_registry_is_told() {
    let played = Played::start("pull_denied").await;
    played
        .refuses("add the registry to the cluster's global pull secret")
        .await;
    played.fails_with("unauthorized", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_61_a_cluster_of_one_node() {
    let played = Played::start("single_node").await;
    let mut config = played.lab.clusters[0].api.config().unwrap();
    config.default_retry = false;
    let nodes: Api<Node> = Api::all(kube::Client::try_from(config).unwrap());
    let run = played.holds("    - apply_layer: {pool: master, image: \"{{ built.image }}\"}\n    - remove_layer: {pool: master}\n");
    // Its API reboots with it.
    let away = async {
        while nodes.list(&ListParams::default()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::join!(run, away);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_without_registry_or_space_are_told() {
    let unreachable = Played::start("registry_unreachable").await;
    unreachable.fails_with("registry_away", &[]).await;
    let full = Played::start("disk_full").await;
    full.fails_with("disk_full", &["tried.diagnosis.node == 'worker-0'"])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_system_than_the_staged_one_is_never_taken_for_it() {
    let noticed = Played::start("wrong_deployment").await;
    noticed.fails_with("wrong_deployment", &[]).await;
    // Here the operator's own status says that all is well.
    let unnoticed = Played::start("unnoticed_deployment").await;
    let said = unnoticed
        .run(&format!(
            "    - apply_layer: {{pool: worker, image: \"{{{{ built.image }}}}\", {SOON}}}\n"
        ))
        .await;
    assert_eq!(said.code, Some(2), "{}", said.text);
    assert!(said.text.contains("worker-1"), "{}", said.text);
    unnoticed
        .holds(
            "    - machine_config_pool_info: {name: worker}
      register: seen
      until: seen.pools[0].verdict == 'updated'
      retries: 100
      delay: 0.1
",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_rendered_is_told() {
    let played = Played::start("render_failure").await;
    let said = played
        .run("    - apply_layer: {pool: worker, image: \"{{ built.image }}\"}\n")
        .await;
    assert_eq!(said.code, Some(2), "{}", said.text);
    assert!(said.text.contains("unknown version"), "{}", said.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_on_a_bad_day_costs_only_time() {
    let played = Played::start("api_weather").await;
    played
        .holds("    - apply_layer: {pool: worker, image: \"{{ built.image }}\"}\n    - verify_layer: {pool: worker, image: \"{{ built.image }}\"}\n")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_registry_nothing_is_written() {
    let played = Played::start("registry_down").await;
    let said = played
        .play("- hosts: staging\n  tasks:\n    - apply_layer: {pool: worker, image: \"{{ registry }}/motd@sha256:0000000000000000000000000000000000000000000000000000000000000000\"}\n")
        .await;
    assert_eq!(said.code, Some(2), "{}", said.text);
    assert!(!played.has_layer());
}

//! In: situations of a rollout by their numbers (`docs/testing.md` lists them all). Out: what layerplay makes of them, on a
//! healthy lab. Those where something goes wrong are in `scenarios`, those of the controllers in `controllers`.

use std::time::{Duration, Instant};

use layerplay::lab::cluster::NodeSpec;

use crate::support::played::{MCO, Played, Said};

/// Two layers: `built` and `other`.
const OTHER: &str = "    - layered_image:
        name: \"{{ registry }}/other\"
        tag: \"1\"
        content: |
          FROM {{ release.os_image }}
          LABEL org.opencontainers.image.title=other
        base: \"{{ release.os_image }}\"
      register: other
";

fn boots(played: &Played, nodes: usize) -> Vec<String> {
    let boot = |at: usize| {
        let node = played.node(&format!("worker-{at}"));
        node["status"]["nodeInfo"]["bootID"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    (0..nodes).map(boot).collect()
}

fn count(said: &Said, word: &str) -> usize {
    said.text.matches(word).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_1_to_4_applied_and_taken_back_each_only_once() {
    let played = Played::start("pools").await;
    let apply = "    - apply_layer: {pool: worker, image: \"{{ built.image }}\"}\n";
    let remove =
        "    - remove_layer: {pool: worker}\n    - verify_layer: {pool: worker, base: true}\n";
    let before = boots(&played, 3);
    played.holds(apply).await;
    let applied = boots(&played, 3);
    assert!(
        before
            .iter()
            .zip(&applied)
            .all(|(before, after)| before != after)
    );
    let version = played.lab.clusters[0].api.store().version();
    let again = played.holds(apply).await;
    assert_eq!(count(&again, "\"status\":\"changed\""), 0, "{}", again.text);
    assert_eq!(
        played.lab.clusters[0].api.store().version(),
        version,
        "nothing was written"
    );
    played.holds(remove).await;
    assert!(!played.has_layer());
    let version = played.lab.clusters[0].api.store().version();
    played.holds(remove).await;
    assert_eq!(
        played.lab.clusters[0].api.store().version(),
        version,
        "nothing was written"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_6_and_7_a_change_of_mind_before_and_in_the_middle() {
    let played = Played::start("slow").await;
    let before = boots(&played, 3);
    // Never rendered: what is gone cannot be waited for, and what was there all the time is proven.
    played
        .holds(
            "    - machine_config: {name: 99-quick, pool: worker, os_image: \"{{ built.image }}\"}
    - machine_config: {name: 99-quick, state: absent}
    - rollout: {pool: worker, image: \"{{ built.image }}\", stall: 1, timeout: 3}
      ignore_errors: true
      register: tried
    - assert: {that: [tried is failed, \"tried.diagnosis.failure == 'not_selected'\"]}
    - rollout: {pool: worker, base: true}
",
        )
        .await;
    assert_eq!(boots(&played, 3), before);
    // Deleted while the first node is on its way: that one goes there and comes back, the others stay where they are.
    played
        .holds(
            "    - machine_config: {name: 99-quick, pool: worker, os_image: \"{{ built.image }}\"}
    - k8s_info: {kind: Node, api_version: v1, name: worker-0}
      register: seen
      until: seen.resources[0].spec.unschedulable | default(false)
      retries: 200
      delay: 0.05
    - machine_config: {name: 99-quick, state: absent}
    - rollout: {pool: worker, base: true}
",
        )
        .await;
    let after = boots(&played, 3);
    assert_ne!(after[0], before[0]);
    assert_eq!(after[1..], before[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_8_to_10_edited_in_place_named_twice_and_overridden() {
    let played = Played::start("pools").await;
    played
        .holds(&format!(
            "{OTHER}    - apply_layer: {{pool: worker, image: \"{{{{ other.image }}}}\"}}
    - apply_layer: {{pool: worker, image: \"{{{{ built.image }}}}\"}}
"
        ))
        .await;
    let before = boots(&played, 3);
    played
        .holds(
            "    - machine_config: {name: zz-same, pool: worker, os_image: \"{{ built.image }}\"}
    - rollout: {pool: worker, image: \"{{ built.image }}\"}
    - machine_config: {name: zz-same, state: absent}
    - rollout: {pool: worker, image: \"{{ built.image }}\"}
",
        )
        .await;
    assert_eq!(boots(&played, 3), before, "the same content reboots nobody");
    let said = played
        .holds(&format!(
            "{OTHER}    - machine_config: {{name: zz-fix, pool: worker, os_image: \"{{{{ other.image }}}}\"}}
    - machine_config_pool_info: {{name: worker}}
      register: seen
      until: seen.pools[0].os_image == other.image
      retries: 100
      delay: 0.1
    - rollout: {{pool: worker, image: \"{{{{ built.image }}}}\", stall: 1, timeout: 4}}
      ignore_errors: true
      register: tried
    - assert: {{that: [tried is failed, \"'zz-fix' in (tried.diagnoses | map(attribute='cause') | join)\"]}}
    - apply_layer: {{pool: worker, image: \"{{{{ built.image }}}}\"}}
      ignore_errors: true
      register: refused
    - assert: {{that: [refused is failed, \"'zz-fix' in refused.msg\"]}}
"
        ))
        .await;
    assert!(said.text.contains("overridden"), "{}", said.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_11_12_and_17_a_custom_pool_follows_worker_until_it_has_its_own() {
    let played = Played::start("pools").await;
    let said = played
        .holds("    - apply_layer: {pool: worker, image: \"{{ built.image }}\"}\n    - verify_layer: {pool: canary, image: \"{{ built.image }}\"}\n")
        .await;
    assert!(
        said.text.contains("pool canary follows, too (1 node)"),
        "{}",
        said.text
    );
    played
        .holds(&format!(
            "{OTHER}    - apply_layer: {{pool: canary, name: 00-canary, image: \"{{{{ other.image }}}}\"}}
    - verify_layer: {{pool: worker, image: \"{{{{ built.image }}}}\"}}
    - verify_layer: {{pool: canary, image: \"{{{{ other.image }}}}\"}}
    - machine_config: {{name: 00-canary, pool: worker, os_image: \"{{{{ other.image }}}}\"}}
      ignore_errors: true
      register: moved
    - assert: {{that: [moved is failed, \"'is for another pool' in moved.msg\"]}}
"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_16_and_37_a_pool_that_is_none_and_a_tag_are_refused() {
    let played = Played::start("pools").await;
    for (task, words) in [
        (
            "apply_layer: {pool: wroker, image: \"{{ built.image }}\"}",
            "no pool `wroker`",
        ),
        (
            "machine_config: {name: 99-x, pool: wroker, os_image: \"{{ built.image }}\"}",
            "wroker",
        ),
        (
            "apply_layer: {pool: worker, image: \"{{ registry }}/motd:1\"}",
            "digest",
        ),
    ] {
        let before = played.configs();
        let said = played.run(&format!("    - {task}\n")).await;
        assert_eq!(said.code, Some(2), "{}", said.text);
        assert!(said.text.contains(words), "{}", said.text);
        assert_eq!(played.configs(), before, "nothing was written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_27_and_31_a_node_that_is_cordoned_or_in_two_pools_is_told() {
    let played = Played::start("pools").await;
    played
        .holds(
            "    - apply_layer: {pool: worker, image: \"{{ built.image }}\"}
    - k8s_drain: {name: worker-2, state: cordon}
    - verify_layer: {pool: worker, image: \"{{ built.image }}\"}
      ignore_errors: true
    - diagnose_pool: {pool: worker, image: \"{{ built.image }}\"}
      register: seen
    - assert:
        that:
          - seen.nodes[2].phase == 'booted'
          - seen.nodes[2].reason == 'was cordoned by somebody'
          - seen.nodes[0].phase == 'booted' and seen.nodes[0].reason == ''
    - k8s_drain: {name: worker-2, state: uncordon}
",
        )
        .await;
    played
        .holds(
            "    - machine_config_pool: {name: infra, nodes: []}
    - k8s:
        definition:
          apiVersion: v1
          kind: Node
          metadata: {name: canary-0, labels: {node-role.kubernetes.io/infra: \"\"}}
    - diagnose_pool: {pool: canary, image: \"{{ built.image }}\"}
      register: seen
      until: \"'several_pools' in seen.failures\"
      retries: 100
      delay: 0.1
",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_39_the_same_digest_elsewhere_reboots_and_is_said_before() {
    let played = Played::start("pools").await;
    let said = played
        .holds(
            "    - apply_layer: {pool: worker, image: \"{{ built.image }}\"}
    - layered_image:
        name: \"{{ registry }}/moved\"
        tag: \"1\"
        content: |
          FROM {{ release.os_image }}
          LABEL org.opencontainers.image.title=motd
        base: \"{{ release.os_image }}\"
      register: moved
    - assert: {that: moved.digest == built.digest}
    - apply_layer: {pool: worker, image: \"{{ moved.image }}\"}
",
        )
        .await;
    assert!(
        said.text.contains("the same digest under another name"),
        "{}",
        said.text
    );
}

/// Waits until the cluster is so far.
async fn until(is: impl Fn() -> bool) {
    let limit = Instant::now() + Duration::from_mins(1);
    while !is() {
        assert!(Instant::now() < limit, "the cluster never got so far");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_54_nodes_that_join_meanwhile_are_waited_for_and_proven() {
    let played = Played::start("slow").await;
    let cluster = &played.lab.clusters[0];
    let new = |name: &str| NodeSpec {
        name: name.to_owned(),
        pool: "worker".to_owned(),
        zone: "zone-z".to_owned(),
    };
    let pool = || played.object(MCO, "machineconfigpools", "", "worker");
    let goes_on =
        || pool()["spec"]["configuration"]["name"] != pool()["status"]["configuration"]["name"];
    let updated = || pool()["status"]["updatedMachineCount"].as_u64();
    until(|| !goes_on() && updated() == Some(3)).await;
    let run = played.holds("    - apply_layer: {pool: worker, image: \"{{ built.image }}\"}\n");
    let scale_up = async {
        // Before a node is done new ones start with what the pool had, and afterwards with what it goes to.
        until(|| goes_on() && updated() == Some(0)).await;
        played
            .lab
            .join(cluster, &new("worker-early"))
            .await
            .unwrap();
        until(|| updated() > Some(0)).await;
        assert!(goes_on(), "the rollout ended before the second node joined");
        played.lab.join(cluster, &new("worker-late")).await.unwrap();
    };
    let (said, ()) = tokio::join!(run, scale_up);
    assert_eq!(cluster.machines.boots("worker-early"), 2);
    assert_eq!(cluster.machines.boots("worker-late"), 1);
    let proven = said
        .text
        .lines()
        .find(|line| line.contains("\"event\":\"proven\""));
    let proven: serde_json::Value = serde_json::from_str(proven.unwrap()).unwrap();
    let nodes = proven["proof"]["nodes"].as_array().unwrap();
    for node in [
        "worker-0",
        "worker-1",
        "worker-2",
        "worker-early",
        "worker-late",
    ] {
        assert!(nodes.iter().any(|proven| proven == node), "{nodes:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_62_control_plane_nodes_reboot_under_the_api() {
    let played = Played::start("pools").await;
    let said = played
        .holds("    - apply_layer: {pool: master, image: \"{{ built.image }}\"}\n    - remove_layer: {pool: master}\n")
        .await;
    assert_eq!(count(&said, "\"event\":\"proven\""), 2, "{}", said.text);
    for node in ["master-0", "master-1", "master-2"] {
        assert_eq!(played.lab.clusters[0].machines.boots(node), 3, "{node}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_64_parts_of_two_releases_are_waited_for_and_named() {
    let played = Played::start("pools").await;
    let generated = |version: &str| {
        format!(
            "    - k8s:
        definition:
          apiVersion: machineconfiguration.openshift.io/v1
          kind: ControllerConfig
          metadata:
            name: machine-config-controller
            annotations: {{machineconfiguration.openshift.io/generated-by-version: {version}}}
"
        )
    };
    // A degraded node would end the wait after a second; this goes away by itself and does not.
    played
        .holds(&format!(
            "{}    - apply_layer: {{pool: worker, image: \"{{{{ built.image }}}}\", stall: 1, degraded: 1, timeout: 3}}
      ignore_errors: true
      register: tried
    - assert:
        that:
          - tried is failed
          - tried.diagnosis.failure == 'render_skew'
          - tried.diagnosis.is_transient
          - \"'no change for 3 s' in tried.msg\"
",
            generated("v0.0.0-next")
        ))
        .await;
    played
        .holds(&format!(
            "{}    - apply_layer: {{pool: worker, image: \"{{{{ built.image }}}}\"}}\n",
            generated("v0.0.0-was-not-built-properly")
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_60_a_debug_pod_leaves_nothing_behind() {
    let played = Played::start("pools").await;
    played
        .holds("    - verify_layer: {pool: worker, base: true, proof: debug}\n")
        .await;
    let left = played.names("", "pods").into_iter();
    assert_eq!(left.filter(|name| name.ends_with("-debug")).count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_63_a_swap_by_delete_and_create_is_one_rollout() {
    let played = Played::start("slow").await;
    played
        .holds(&format!(
            "{OTHER}    - apply_layer: {{pool: worker, name: 99-first, image: \"{{{{ other.image }}}}\"}}
    - k8s_info: {{kind: Node, api_version: v1}}
      register: before
    - machine_config: {{name: 99-first, state: absent}}
    - machine_config: {{name: 99-second, pool: worker, os_image: \"{{{{ built.image }}}}\"}}
    - rollout: {{pool: worker, image: \"{{{{ built.image }}}}\"}}
"
        ))
        .await;
    // One boot of each node for the first layer, one for the second, none for the base between them.
    assert_eq!(played.lab.clusters[0].machines.boots("worker-0"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_by_percentage_takes_nodes_once_and_gives_them_back() {
    let played = Played::start("pools").await;
    played
        .holds(
            "    - machine_config_pool: {name: canary, percentage: 50}
      register: first
    - assert: {that: [first is changed, \"first.members == ['canary-0', 'worker-1']\"]}
    - machine_config_pool: {name: canary, percentage: 50}
      register: second
    - assert: {that: second is not changed}
    - apply_layer: {pool: canary, image: \"{{ built.image }}\"}
      register: rolled
    - machine_config: {name: 99-layer-canary, state: absent}
    - rollout: {pool: canary, base: true}
    - machine_config_pool: {name: canary, state: absent}
    - machine_config_pool_info: {name: worker}
      register: seen
    - assert: {that: \"seen.pools[0].members | length == 4\"}
",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_pools_go_at_once() {
    let played = Played::start("pools").await;
    let said = played
        .holds(
            "    - layer_preflight: {pool: \"{{ item }}\", name: \"99-layer-{{ item }}\", image: \"{{ built.image }}\"}
      loop: [worker, canary]
    - machine_config: {name: \"99-layer-{{ item }}\", pool: \"{{ item }}\", os_image: \"{{ built.image }}\"}
      loop: [worker, canary]
    - rollout: {pool: \"{{ item }}\", image: \"{{ built.image }}\"}
      loop: [worker, canary]
",
        )
        .await;
    let machines = &played.lab.clusters[0].machines;
    for node in ["worker-0", "worker-1", "worker-2", "canary-0"] {
        assert_eq!(machines.boots(node), 2, "{node}");
    }
    // While the three workers went one by one the canary was done: its own wait saw it at work no more.
    assert_eq!(count(&said, "canary-0 reboots"), 0, "{}", said.text);
}

//! Every row of the failures that a cluster shows by its API: objects in, the failure that is named out.

use serde_json::json;

use super::super::observe::observe;
use super::*;

fn p(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn image(letter: char) -> String {
    format!(
        "registry.example.com/os@sha256:{}",
        letter.to_string().repeat(64)
    )
}

/// A node that has run A and goes to B.
fn node(annotations: &[(&str, &str)]) -> Value {
    let mut node = json!({
        "metadata": {"name": "n1", "labels": {"node-role.kubernetes.io/worker": ""}, "annotations": {
            p("currentConfig"): "A", p("desiredConfig"): "B", p("state"): "Working",
            p("desiredDrain"): "drain-B", p("lastAppliedDrain"): "drain-B",
        }},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    });
    for (key, value) in annotations {
        node["metadata"]["annotations"][p(key)] = json!(value);
    }
    node
}

fn degraded(reason: &str) -> Value {
    node(&[("state", "Degraded"), ("reason", reason)])
}

fn pool() -> Value {
    json!({"metadata": {"name": "worker", "generation": 2}, "spec": {
        "configuration": {"name": "B"},
        "nodeSelector": {"matchLabels": {"node-role.kubernetes.io/worker": ""}},
        "machineConfigSelector": {"matchLabels": {p("role"): "worker"}},
    }, "status": {"observedGeneration": 2, "machineCount": 1}})
}

fn config(name: &str, role: &str, image: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {p("role"): role}}, "spec": {"osImageURL": image}})
}

fn found(pool: &Value, nodes: &[Value], around: &Around) -> Vec<Diagnosis> {
    let rendered = config("B", "worker", &image('1'));
    let snapshot = Snapshot::new(pool, Some(&rendered), nodes);
    let wanted = image('1');
    diagnose(&snapshot, &observe(&snapshot, &wanted), around, &wanted)
}

fn first(pool: &Value, nodes: &[Value], around: &Around) -> Diagnosis {
    found(pool, nodes, around).remove(0)
}

#[test]
fn the_daemons_words_are_understood() {
    let os = "failed to update OS to registry.example.com/os@sha256:11 after retries: error running rpm-ostree rebase --experimental ostree-unverified-registry:x: ";
    for (reason, failure) in [
        (format!("{os}reading manifest sha256:11 in registry.example.com/os: manifest unknown"), Failure::ImageMissing),
        (format!("{os}initializing source docker://x: reading manifest: unauthorized: authentication required"), Failure::Unauthorized),
        (format!("{os}requested access to the resource is denied"), Failure::Unauthorized),
        (format!("{os}pinging container registry r: dial tcp: lookup r: no such host"), Failure::RegistryAway),
        (format!("{os}x509: certificate signed by unknown authority"), Failure::RegistryAway),
        ("failed to run command nice (6 tries): podman pull -q --authfile /var/lib/kubelet/config.json: i/o timeout".to_owned(), Failure::RegistryAway),
        (format!("{os}timed out waiting for the condition"), Failure::ImageNotPulled),
        (format!("{os}Target image does not have ostree.bootable label"), Failure::NotBootable),
        (format!("{os}no image found in image index for architecture \"arm64\""), Failure::WrongArchitecture),
        ("error: Could not depsolve transaction; usbguard-1 conflicts with usbguard-2".to_owned(), Failure::PackageConflict),
        ("extension packages are missing from the staged deployment".to_owned(), Failure::PackageConflict),
        ("error: No installed package matches 'x'".to_owned(), Failure::PackageLeftovers),
        (format!("{os}Source image rejected: A signature was required, but no signature exists"), Failure::SignatureRejected),
        (format!("{os}write /var/tmp/x: No space left on device"), Failure::DiskFull),
        ("failed to drain node: n1 after 1 hour. Please see machine-config-controller logs".to_owned(), Failure::DrainFailed),
        ("failed to uncordon node: n1 after 10 minutes".to_owned(), Failure::UncordonFailed),
        ("reboot command failed, something is seriously wrong".to_owned(), Failure::RebootFailed),
        ("unexpected on-disk state validating against B: expected target osImageURL \"x\", have \"y\"".to_owned(), Failure::WrongDeployment),
        ("unexpected on-disk state validating against B: content mismatch for file \"/etc/x\"".to_owned(), Failure::ConfigDrift),
        ("can't reconcile config A with B: ignition disks section contains changes".to_owned(), Failure::Unreconcilable),
        ("machineconfig.machineconfiguration.openshift.io \"rendered-worker-1\" not found".to_owned(), Failure::ConfigGone),
        ("something else".to_owned(), Failure::Degraded),
    ] {
        let told = first(&pool(), &[degraded(&reason)], &Around::default());
        assert_eq!(told.failure, failure, "{reason}");
        assert_eq!(told.node.as_deref(), Some("n1"));
        assert!(told.cause.contains(&reason) && !told.command.is_empty() && !told.remedy.is_empty());
    }
}

#[test]
fn quoted_and_cut_reasons_are_understood() {
    let cut = format!(
        "{}: machineconfig.machineconfiguration.openshift.io \\\"rendered-x",
        "a".repeat(1900)
    );
    let told = first(&pool(), &[degraded(&cut)], &Around::default());
    assert_eq!(told.failure, Failure::ConfigGone);
    let mut finalized = degraded("unexpected on-disk state validating against B");
    finalized["metadata"]["annotations"][p("ostree-finalize-staged-failure")] =
        json!("/boot is full");
    let told = first(&pool(), &[finalized], &Around::default());
    assert!(told.failure == Failure::WrongDeployment && told.cause.contains("/boot is full"));
}

#[test]
fn a_node_whose_pool_has_left_is_stuck() {
    let mut left = pool();
    left["spec"]["configuration"]["name"] = json!("A");
    let told = first(&left, &[degraded("manifest unknown")], &Around::default());
    assert_eq!(told.failure, Failure::Stuck);
    assert_eq!(told.command, "layerplay repair worker");
    // Where its pool still goes there, uncordoning it would reboot it without a drain: this is said, never advised.
    let mut uncordoned = degraded("manifest unknown");
    uncordoned["spec"]["unschedulable"] = json!(false);
    let told = first(&pool(), &[uncordoned], &Around::default());
    assert!(
        told.cause.contains("without another drain"),
        "{}",
        told.cause
    );
    assert!(!told.command.contains("uncordon"));
}

#[test]
fn render_failures_are_told_by_their_tails() {
    for (message, failure) in [
        (
            "Failed to render configuration for pool worker: ignoring controller config generated from 1 (my version: 2)",
            Failure::RenderSkew,
        ),
        (
            "... no MachineConfigs found matching selector",
            Failure::NothingSelected,
        ),
        (
            "... cannot override MachineConfig osImageURL and set MachineConfigPool spec.osImageStream.name simultaneously",
            Failure::StreamAndImage,
        ),
        ("... size validation failed", Failure::ConfigTooLarge),
        (
            "... failed to inspect OS image for stream class",
            Failure::ImageNotInspected,
        ),
        ("... render reconciliation error", Failure::Unreconcilable),
        ("... anything", Failure::RenderFailed),
    ] {
        let mut pool = pool();
        pool["status"]["conditions"] =
            json!([{"type": "RenderDegraded", "status": "True", "message": message}]);
        let told = first(&pool, &[node(&[])], &Around::default());
        assert_eq!(told.failure, failure, "{message}");
    }
}

#[test]
fn the_winner_of_a_merge_is_named() {
    let mut other = pool();
    other["spec"]["configuration"]["name"] = json!("C");
    let around = |configs: Vec<Value>| Around {
        machine_configs: configs,
        ..Around::default()
    };
    let both = around(vec![
        config("99-layer", "worker", &image('1')),
        config("zz-fix", "worker", &image('2')),
    ]);
    let told = first(&other, &[node(&[])], &both);
    assert_eq!(told.failure, Failure::Overridden);
    assert!(
        told.cause.contains("`zz-fix` comes after it"),
        "{}",
        told.cause
    );
    // A custom pool's own role beats worker's, whatever the names.
    other["spec"]["machineConfigSelector"] = json!({"matchExpressions": [{"key": p("role"), "operator": "In", "values": ["worker", "infra"]}]});
    let roles = around(vec![
        config("zz-layer", "worker", &image('1')),
        config("00-infra", "infra", &image('2')),
    ]);
    assert!(
        first(&other, &[node(&[])], &roles)
            .cause
            .contains("`00-infra` comes after it")
    );
    let typo = around(vec![config("99-layer", "wroker", &image('1'))]);
    let told = first(&other, &[node(&[])], &typo);
    assert!(
        told.failure == Failure::NotSelected && told.cause.contains("wroker"),
        "{told:?}"
    );
    let none = around(vec![config("99-other", "worker", "")]);
    assert_eq!(
        first(&other, &[node(&[])], &none).failure,
        Failure::NotSelected
    );
}

#[test]
fn a_budget_and_the_pods_that_it_holds_are_named() {
    let draining = node(&[("lastAppliedDrain", "uncordon-A")]);
    let pod = |name: &str, app: &str| {
        json!({
        "metadata": {"name": name, "namespace": "web", "uid": name, "labels": {"app": app}, "ownerReferences": [{"controller": true, "kind": "ReplicaSet"}]},
        "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}})
    };
    let budget = |allowed: i64| {
        json!({
        "metadata": {"name": "keep", "namespace": "web"}, "spec": {"selector": {"matchLabels": {"app": "a"}}},
        "status": {"disruptionsAllowed": allowed, "expectedPods": 2, "currentHealthy": 2, "desiredHealthy": 2}})
    };
    let mut around = Around {
        pods: vec![pod("a-1", "a"), pod("b-1", "b")],
        budgets: vec![budget(0)],
        ..Around::default()
    };
    let told = first(&pool(), std::slice::from_ref(&draining), &around);
    assert_eq!(told.failure, Failure::BudgetBlocksDrain);
    assert!(
        told.cause.contains("web/keep")
            && told.cause.contains("a-1")
            && !told.cause.contains("b-1"),
        "{}",
        told.cause
    );
    // Another reason: the operator's own words, where it writes them.
    around.budgets = vec![budget(1)];
    around.machine_config_nodes = vec![
        json!({"metadata": {"name": "n1"}, "status": {"conditions": [
        {"type": "Drained", "status": "Unknown", "lastTransitionTime": "2026-01-01T00:00:00Z",
         "message": "Error: Node Drain has not succeeded. Error is: global timeout reached: 1m30s"}]}}),
    ];
    let told = first(&pool(), &[draining], &around);
    assert_eq!(told.failure, Failure::PodBlocksDrain);
    assert!(
        told.cause.contains("global timeout") && told.cause.contains("web/a-1"),
        "{}",
        told.cause
    );
    assert_eq!(told.since.as_deref(), Some("2026-01-01T00:00:00Z"));
}

#[test]
fn nodes_that_are_away_are_named_though_nothing_is_degraded() {
    let mut away = node(&[("post-config-action", "Rebooting")]);
    away["status"]["conditions"] = json!([{"type": "Ready", "status": "Unknown", "lastTransitionTime": "2026-01-01T00:00:00Z", "message": "Kubelet stopped posting node status."}]);
    let told = first(&pool(), &[away], &Around::default());
    assert!(
        told.failure == Failure::NodeAway && told.since.is_some() && told.cause.contains("reboot")
    );
    let mut full = node(&[]);
    full["status"]["conditions"] =
        json!([{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "True"}]);
    assert_eq!(
        first(&pool(), &[full], &Around::default()).failure,
        Failure::DiskFull
    );
}

#[test]
fn a_node_that_somebody_cordoned_uses_up_what_may_be_away() {
    let waits = [
        ("desiredConfig", "A"),
        ("state", "Done"),
        ("desiredDrain", "uncordon-A"),
        ("lastAppliedDrain", "uncordon-A"),
    ];
    let mut other = node(&waits);
    other["metadata"]["name"] = json!("n2");
    other["spec"] = json!({});
    let told = first(&pool(), &[node(&waits), other], &Around::default());
    assert_eq!(told.failure, Failure::NoCapacity);
    assert_eq!(told.command, "oc adm uncordon n1");
}

#[test]
fn what_stands_around_the_pool_is_told() {
    let quiet = node(&[]);
    let role = |name: &str| format!("node-role.kubernetes.io/{name}");
    let custom = |name: &str| json!({"metadata": {"name": name}, "spec": {"nodeSelector": {"matchLabels": {role(name): ""}}}});
    let both = json!({"metadata": {"name": "n9", "labels": {role("worker"): "", role("infra"): "", role("canary"): ""}}});
    let mut infra = pool();
    infra["metadata"]["name"] = json!("infra");
    let around = Around {
        pools: vec![custom("infra"), custom("canary")],
        nodes: vec![both],
        ..Around::default()
    };
    let told = first(&infra, std::slice::from_ref(&quiet), &around);
    assert!(told.failure == Failure::SeveralPools && told.node.as_deref() == Some("n9"));

    let upgrade = Around {
        version: Some(
            json!({"status": {"desired": {"version": "4.18.10"}, "history": [{"state": "Partial"}]}}),
        ),
        ..Around::default()
    };
    let told = first(&pool(), std::slice::from_ref(&quiet), &upgrade);
    assert!(told.failure == Failure::Upgrade && told.cause.contains("4.18.10"));

    let builds = Around {
        builds: vec![
            json!({"metadata": {"name": "worker"}, "spec": {"machineConfigPool": {"name": "worker"}}}),
        ],
        ..Around::default()
    };
    assert_eq!(
        first(&pool(), std::slice::from_ref(&quiet), &builds).failure,
        Failure::OnClusterLayering
    );

    let mut unnoticed = pool();
    unnoticed["spec"]["configuration"]["name"] = json!("C");
    let busy = Around {
        controller: Some(
            json!({"status": {"conditions": [{"type": "TemplateControllerRunning", "status": "True"}]}}),
        ),
        ..Around::default()
    };
    let told = first(&unnoticed, std::slice::from_ref(&quiet), &busy);
    assert!(told.failure == Failure::ControllerBusy && told.is_transient);

    let mut paused = pool();
    paused["spec"]["paused"] = json!(true);
    paused["status"]["certExpirys"] = json!([{"expiry": "2027-01-01T00:00:00Z"}]);
    let all: Vec<Failure> = found(&paused, std::slice::from_ref(&quiet), &Around::default())
        .iter()
        .map(|told| told.failure)
        .collect();
    assert_eq!(all, [Failure::Paused, Failure::CertificatesExpire]);

    let mut newer = quiet.clone();
    newer["status"]["nodeInfo"] = json!({"kubeletVersion": "v1.32.1"});
    let mut master = json!({"metadata": {"name": "m", "labels": {role("master"): ""}}});
    master["status"]["nodeInfo"] = json!({"kubeletVersion": "v1.31.4"});
    let around = Around {
        nodes: vec![master],
        ..Around::default()
    };
    assert_eq!(
        first(&pool(), &[newer], &around).failure,
        Failure::KubeletSkew
    );

    assert_eq!(
        first(&pool(), &[quiet], &Around::default()).failure,
        Failure::Unknown
    );
}

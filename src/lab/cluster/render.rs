//! The render controller. In: pools and MachineConfigs. Out: rendered MachineConfigs, and pools that name them.

use kube::Error;
use layerplay_modules::openshift::objects::{condition, is_true};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Pace;
use super::access::{Access, CONFIGS, CONTROLLER, P, POOLS, VERSION, name};
use super::merge::render;
use super::seen::{Seen, on_change};
use super::update::{conditions, flag};

pub(super) fn start(access: Access, pace: Pace, stop: CancellationToken) {
    tokio::spawn(async move {
        // The pause is the operator's own delay: changes within it are rendered once.
        let work = async |access: &Access, _: &Seen| sync(access).await;
        on_change(
            &access,
            &[CONFIGS, POOLS, CONTROLLER],
            pace.render,
            &stop,
            work,
        )
        .await;
    });
}

/// Renders every pool whose sources have changed.
pub(super) async fn sync(access: &Access) -> Result<(), Error> {
    let Some(controller) = access.get(CONTROLLER, "machine-config-controller").await? else {
        return Ok(());
    };
    // Nothing is rendered from templates that are half written (MCO: apihelpers IsControllerConfigCompleted).
    let is_busy = |kind: &str| is_true(&controller, kind);
    if is_busy("TemplateControllerRunning") || is_busy("TemplateControllerFailing") {
        return Ok(());
    }
    let base = controller["spec"]["baseOSContainerImage"]
        .as_str()
        .unwrap_or_default();
    let version = controller["metadata"]["annotations"]["machineconfiguration.openshift.io/release-image-version"].as_str().unwrap_or_default();
    // In an upgrade the next operator's templates are there before its render controller is.
    let generated = &controller["metadata"]["annotations"][format!("{P}generated-by-version")];
    let generated = generated.as_str().unwrap_or(VERSION);
    let configs = access.list(CONFIGS, None).await?;
    for pool in access.list(POOLS, None).await? {
        if generated != VERSION {
            let problem = format!(
                "could not generate rendered MachineConfig: Ignoring controller config generated from {generated} (my version: {VERSION})"
            );
            failing(access, &pool, Some(&problem)).await?;
            continue;
        }
        let (rendered, sources) = match render(&pool, &configs, base, version) {
            Ok(made) if made.1.is_empty() => {
                let selector = words(&pool["spec"]["machineConfigSelector"]);
                let problem = format!("no MachineConfigs found matching selector {selector}");
                failing(access, &pool, Some(&problem)).await?;
                continue;
            }
            Ok(made) => {
                failing(access, &pool, None).await?;
                made
            }
            Err(problem) => {
                let problem = format!("could not generate rendered MachineConfig: {problem}");
                failing(access, &pool, Some(&problem)).await?;
                continue;
            }
        };
        let target = name(&rendered).to_owned();
        let sources: Vec<Value> = sources.iter().map(|source| json!({"apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig", "name": source})).collect();
        let wanted = json!({"name": target, "source": sources});
        let known = &pool["spec"]["configuration"];
        if known["name"] == wanted["name"] && known["source"] == wanted["source"] {
            continue;
        }
        let mut object = rendered;
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfigPool", "name": name(&pool),
            "uid": pool["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
        }]);
        access.create(CONFIGS, &object).await?;
        access
            .merge(
                POOLS,
                None,
                name(&pool),
                &json!({"spec": {"configuration": wanted}}),
            )
            .await?;
    }
    Ok(())
}

/// A label selector as the API's libraries write it.
fn words(selector: &Value) -> String {
    let by_labels = selector["matchLabels"].as_object().into_iter().flatten();
    let by_labels =
        by_labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    let by_expressions = selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten();
    let by_expressions = by_expressions.map(|expression| {
        let key = expression["key"].as_str().unwrap_or_default();
        let values = expression["values"].as_array().into_iter().flatten();
        let mut values: Vec<&str> = values.filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        }
    });
    let mut all: Vec<String> = by_labels.chain(by_expressions).collect();
    all.sort();
    all.join(",")
}

/// Writes the pool's `RenderDegraded`, the one condition that is this controller's.
async fn failing(access: &Access, pool: &Value, problem: Option<&str>) -> Result<(), Error> {
    let message = problem.map_or_else(String::new, |problem| {
        format!(
            "Failed to render configuration for pool {}: {problem}",
            name(pool)
        )
    });
    let is_said = condition(pool, "RenderDegraded").is_some_and(|before| {
        before["status"] == flag(problem.is_some()) && before["message"] == message.as_str()
    });
    if is_said {
        return Ok(());
    }
    let own = ("RenderDegraded", problem.is_some(), String::new(), message);
    let patch = json!({"status": {"conditions": conditions(pool, &[own])}});
    access.merge_status(POOLS, None, name(pool), &patch).await
}

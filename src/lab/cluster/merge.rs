//! In: MachineConfigs. Out: the one that they make together, and its name, or why there is none. Pure (MCO:
//! pkg/controller/common/helpers.go, pkg/controller/render/hash.go).

use layerplay_modules::openshift::pools::{role_label, selects};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::access::{COMMIT, P, name};

/// Versions of Ignition that the operator reads.
const IGNITION: &[&str] = &[
    "2.2.0", "3.0.0", "3.1.0", "3.2.0", "3.3.0", "3.4.0", "3.5.0",
];

/// A rendered MachineConfig of a pool, and the names of its sources; the operator's words when it cannot be rendered.
pub(super) fn render(
    pool: &Value,
    configs: &[Value],
    base: &str,
    version: &str,
) -> Result<(Value, Vec<String>), String> {
    let selector = &pool["spec"]["machineConfigSelector"];
    let own_role = role_label(pool);
    let mut sources: Vec<&Value> = configs
        .iter()
        .filter(|config| {
            !name(config).starts_with("rendered-")
                && selects(selector, &config["metadata"]["labels"])
        })
        .collect();
    // By name; what is for the pool's own role comes after what it takes over from worker.
    sources.sort_by_key(|config| {
        let is_own = own_role
            .as_ref()
            .is_some_and(|(key, role)| config["metadata"]["labels"][key] == role.as_str());
        (is_own, name(config).to_owned())
    });
    let mut spec = json!({
        "baseOSExtensionsContainerImage": "", "config": {"ignition": {"version": "3.5.0"}}, "extensions": [], "fips": false,
        "kernelArguments": [], "kernelType": "default", "osImageURL": base,
    });
    for source in &sources {
        let own = &source["spec"];
        let ignition = own["config"]["ignition"]["version"].as_str();
        if ignition.is_some_and(|version| !IGNITION.contains(&version)) {
            return Err(
                "parsing Ignition config failed: unknown version. Supported spec versions: 2.2,3.0,3.1,3.2,3.3,3.4,3.5"
                    .to_owned(),
            );
        }
        // The last one by name wins; those of the installation set none of their own.
        if let Some(url) = own["osImageURL"].as_str().filter(|url| !url.is_empty()) {
            spec["osImageURL"] = json!(url);
        }
        if let Some(url) = own["baseOSExtensionsContainerImage"]
            .as_str()
            .filter(|url| !url.is_empty())
        {
            spec["baseOSExtensionsContainerImage"] = json!(url);
        }
        if let Some(kernel) = own["kernelType"]
            .as_str()
            .filter(|kernel| !kernel.is_empty())
        {
            spec["kernelType"] = json!(kernel);
        }
        if own["fips"] == true {
            spec["fips"] = json!(true);
        }
        for list in ["kernelArguments", "extensions"] {
            if let (Some(all), Some(more)) = (spec[list].as_array_mut(), own[list].as_array()) {
                all.extend(more.iter().cloned());
            }
        }
        merge(&mut spec["config"], &own["config"]);
    }
    let extensions = spec["extensions"].as_array();
    let is_devel = extensions
        .into_iter()
        .flatten()
        .any(|extension| extension == "kernel-devel");
    if spec["kernelType"] != "default" && is_devel {
        return Err(format!(
            "installing kernel-devel extension is not supported with kernelType: {}",
            spec["kernelType"].as_str().unwrap_or_default()
        ));
    }
    if spec["osImageURL"] != base && pool["spec"]["osImageStream"]["name"].is_string() {
        return Err(
            "cannot override MachineConfig osImageURL and set MachineConfigPool spec.osImageStream.name"
                .to_owned(),
        );
    }
    let hash = hex::encode(Sha256::digest(
        serde_json::to_vec(&spec).unwrap_or_default(),
    ));
    let hash = hash.get(..32).unwrap_or_default();
    let mut annotations = json!({
        format!("{P}generated-by-controller-version"): COMMIT,
        format!("{P}release-image-version"): version,
    });
    if spec["osImageURL"] != base {
        annotations[format!("{P}os-image-url-overridden")] = json!("true");
    }
    let rendered = json!({
        "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig",
        "metadata": {"name": format!("rendered-{}-{hash}", name(pool)), "annotations": annotations},
        "spec": spec,
    });
    let names = sources
        .iter()
        .map(|source| name(source).to_owned())
        .collect();
    Ok((rendered, names))
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from.iter().cloned()),
        (_, Value::Null) => {}
        (into, from) => *into = from.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, role: &str, url: &str) -> Value {
        json!({"metadata": {"name": name, "labels": {format!("{P}role"): role}}, "spec": {"osImageURL": url}})
    }

    #[test]
    fn the_last_name_wins_and_a_custom_role_beats_worker() {
        let pool = json!({"metadata": {"name": "canary"}, "spec": {"machineConfigSelector": {"matchExpressions": [
            {"key": format!("{P}role"), "operator": "In", "values": ["worker", "canary"]}]}}});
        let url = |configs: &[Value]| {
            render(&pool, configs, "base", "4.18.9").unwrap().0["spec"]["osImageURL"].clone()
        };
        assert_eq!(url(&[]), "base");
        assert_eq!(
            url(&[config("10-a", "worker", "a"), config("20-b", "worker", "b")]),
            "b"
        );
        assert_eq!(
            url(&[config("00-c", "canary", "c"), config("99-w", "worker", "w")]),
            "c"
        );
        let name_of = |configs: &[Value]| {
            name(&render(&pool, configs, "base", "4.18.9").unwrap().0).to_owned()
        };
        assert_eq!(
            name_of(&[]),
            name_of(&[config("10-a", "worker", "base")]),
            "the same content has the same name"
        );
        assert_ne!(name_of(&[]), name_of(&[config("10-a", "worker", "a")]));
    }

    #[test]
    fn what_cannot_be_rendered_says_why() {
        let mut pool = json!({"metadata": {"name": "worker"}, "spec": {"machineConfigSelector": {"matchLabels": {format!("{P}role"): "worker"}}}});
        let mut unknown = config("10-a", "worker", "");
        unknown["spec"]["config"]["ignition"]["version"] = json!("9.9.0");
        let told = render(&pool, &[unknown], "base", "4.18.9").unwrap_err();
        assert!(told.contains("unknown version"), "{told}");
        pool["spec"]["osImageStream"]["name"] = json!("rhel-10");
        assert!(render(&pool, &[], "base", "4.18.9").is_ok());
        let told = render(&pool, &[config("10-a", "worker", "a")], "base", "4.18.9").unwrap_err();
        assert!(told.contains("osImageStream"), "{told}");
    }
}

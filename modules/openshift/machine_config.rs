//! `machine_config`: a MachineConfig that sets a pool's OS image, present or absent. Written by server-side apply with a
//! field manager of its own, deleted only as it was seen.

use std::path::PathBuf;

use async_trait::async_trait;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::connection::Cluster;
use super::objects::{self, PREFIX, api, machine_config, name};
use super::{look::PoolView, pools};
use crate::contract::{Change, FieldChange, Module, Outcome, Supports, TextDiff, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;
use crate::registry::ImageRef;

/// The name under which the API server keeps which fields are layerplay's.
pub const FIELD_MANAGER: &str = "layerplay";

pub struct MachineConfig;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Name of the MachineConfig.
    name: String,
    #[serde(default)]
    state: State,
    /// The pool that it is for: it gets the role label that the pool selects by.
    pool: Option<String>,
    /// The OS image, by digest; a tag is an error, since nodes would boot whatever it means at that moment.
    os_image: Option<String>,
    /// The image that extensions and kernels come from, by digest. Without it they come from the release that the cluster has
    /// at the time, also when the OS image is of an earlier one; `release_info: {component: rhel-coreos-extensions}` finds it.
    extensions_image: Option<String>,
    /// Ignition configuration.
    config: Option<Value>,
    /// Arguments for the kernel.
    kernel_arguments: Option<Vec<String>>,
    /// Extensions of RHCOS, such as `usbguard`.
    extensions: Option<Vec<String>>,
    /// `default`, `realtime` or `64k-pages`.
    kernel_type: Option<String>,
    /// Take over fields that another field manager owns.
    #[serde(default)]
    force_conflicts: bool,
    /// Kubeconfig of the cluster; the host's by default.
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; the host's by default.
    context: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Present,
    Absent,
}

pub enum Work {
    Apply {
        object: Value,
        before: Option<Value>,
    },
    Delete {
        before: Value,
    },
}

/// What is compared and shown: labels and specification, nothing that the server adds.
fn shown(object: &Value) -> Value {
    json!({"metadata": {"name": object["metadata"]["name"], "labels": object["metadata"]["labels"]}, "spec": object["spec"]})
}

fn diff(name: &str, before: Option<&Value>, after: Option<&Value>) -> TextDiff {
    let text = |object: Option<&Value>| {
        object
            .and_then(|object| serde_saphyr::to_string(&shown(object)).ok())
            .unwrap_or_default()
    };
    TextDiff {
        before_header: name.to_owned(),
        after_header: name.to_owned(),
        before: text(before),
        after: text(after),
    }
}

/// Leaves of `wanted` that `has` lacks or has otherwise.
fn differences(path: &str, has: &Value, wanted: &Value, found: &mut Vec<FieldChange>) {
    match wanted {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                differences(&path, &has[key], value, found);
            }
        }
        _ if has == wanted => {}
        _ => found.push(FieldChange {
            field: path.to_owned(),
            before: has.clone(),
            after: wanted.clone(),
        }),
    }
}

impl Args {
    async fn cluster(&self, platform: &Platform) -> Result<Cluster, ModuleError> {
        platform
            .open_cluster(self.kubeconfig.as_ref(), self.context.as_ref())
            .await
    }

    async fn object(&self, cluster: &Cluster) -> Result<Value, ModuleError> {
        let mut spec = Map::new();
        for (argument, field, image) in [
            ("os_image", "osImageURL", &self.os_image),
            (
                "extensions_image",
                "baseOSExtensionsContainerImage",
                &self.extensions_image,
            ),
        ] {
            if let Some(image) = image {
                ImageRef::pinned(argument, image)?;
                spec.insert(field.to_owned(), json!(image));
            }
        }
        for (field, value) in [
            ("config", self.config.clone()),
            (
                "kernelArguments",
                self.kernel_arguments.as_ref().map(|list| json!(list)),
            ),
            (
                "extensions",
                self.extensions.as_ref().map(|list| json!(list)),
            ),
            (
                "kernelType",
                self.kernel_type.as_ref().map(|text| json!(text)),
            ),
        ] {
            if let Some(value) = value {
                spec.insert(field.to_owned(), value);
            }
        }
        if spec.is_empty() {
            return Err(ModuleError::argument(
                "os_image",
                format!("MachineConfig `{}` would set nothing", self.name),
            )
            .hint("give `os_image`, `config`, `kernel_arguments`, `extensions` or `kernel_type`"));
        }
        let pool = self
            .pool
            .as_deref()
            .ok_or_else(|| ModuleError::argument("pool", "missing required arguments: pool"))?;
        let view = PoolView::read(cluster, pool).await?;
        let (key, value) = pools::role_label(&view.pool).ok_or_else(|| {
            ModuleError::failed(format!("pool `{pool}` selects no MachineConfigs"))
                .hint("its `spec.machineConfigSelector` is empty")
        })?;
        Ok(json!({
            "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig",
            "metadata": {"name": self.name, "labels": {key: value}}, "spec": spec,
        }))
    }
}

#[async_trait]
impl Module for MachineConfig {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "machine_config";
    const SUMMARY: &'static str =
        "Creates, changes or deletes a MachineConfig, by default one that sets a pool's OS image";
    const EXAMPLES: &'static str = "- machine_config:\n    name: 99-layer-worker\n    pool: worker\n    os_image: registry.example.com/os-layers/hello@sha256:...\n- machine_config: {name: 99-layer-worker, state: absent}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = Touches::REBOOTS;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        let cluster = args.cluster(platform).await?;
        let before = objects::find(&cluster, &machine_config(), &args.name).await?;
        if args.state == State::Absent {
            let Some(before) = before else {
                return Ok(Change::None(Outcome::unchanged(
                    json!({"before": null, "after": null}),
                )));
            };
            if name(&before).starts_with("rendered-") {
                return Err(ModuleError::argument(
                    "name",
                    format!(
                        "`{}` is a rendered MachineConfig: nodes may still name it",
                        args.name
                    ),
                )
                .hint("delete the MachineConfig that it was rendered from"));
            }
            return Ok(Change::Some {
                fields: vec![FieldChange {
                    field: format!("MachineConfig {}", args.name),
                    before: shown(&before),
                    after: Value::Null,
                }],
                diff: vec![diff(&args.name, Some(&before), None)],
                preview: Outcome::changed(json!({"before": shown(&before), "after": null})),
                work: Work::Delete { before },
            });
        }
        let object = args.object(&cluster).await?;
        let mut fields = Vec::new();
        let has = before.clone().unwrap_or_default();
        differences(
            "metadata.labels",
            &has["metadata"]["labels"],
            &object["metadata"]["labels"],
            &mut fields,
        );
        differences("spec", &has["spec"], &object["spec"], &mut fields);
        if let Some(before) = &before {
            if fields.is_empty() {
                return Ok(Change::None(Outcome::unchanged(
                    json!({"before": shown(before), "after": shown(before)}),
                )));
            }
            if fields.iter().any(|field| field.field.contains(PREFIX)) {
                // A new label alone is not noticed by the operator (MCO: render_controller.go updateMachineConfig).
                return Err(ModuleError::new(ErrorKind::Conflict, format!("MachineConfig `{}` is for another pool", args.name))
                    .hint("delete it first (`state: absent`), or give this one another name: the operator does not notice a change of labels"));
            }
        }
        let after = json!({"metadata": object["metadata"], "spec": object["spec"]});
        Ok(Change::Some {
            diff: vec![diff(&args.name, before.as_ref(), Some(&object))],
            preview: Outcome::changed(
                json!({"before": before.as_ref().map(shown), "after": after}),
            ),
            fields,
            work: Work::Apply { object, before },
        })
    }

    async fn apply(
        &self,
        args: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let cluster = args.cluster(platform).await?;
        let configs = api(&cluster, &machine_config());
        match work {
            Work::Apply { object, before } => {
                let mut object = object;
                // Refused by the server when somebody changed it meanwhile.
                if let Some(before) = &before {
                    object["metadata"]["resourceVersion"] =
                        before["metadata"]["resourceVersion"].clone();
                }
                let mut parameters = PatchParams::apply(FIELD_MANAGER);
                parameters.force = args.force_conflicts;
                let patch: DynamicObject = serde_json::from_value(object)
                    .map_err(|problem| ModuleError::failed(problem.to_string()))?;
                let what = format!("write MachineConfig `{}`", args.name);
                let written = configs.patch(&args.name, &parameters, &Patch::Apply(&patch)).await.map_err(|problem| {
                    let error = cluster.told(&what, &problem);
                    if error.kind == ErrorKind::Conflict {
                        return error.hint("another manager owns a field: settle it there, or set `force_conflicts: true`");
                    }
                    error
                })?;
                let after = objects::json(&written)?;
                Ok(Outcome::changed(
                    json!({"before": before.as_ref().map(shown), "after": shown(&after)}),
                ))
            }
            Work::Delete { before } => {
                let text = |field: &str| before["metadata"][field].as_str().map(ToOwned::to_owned);
                let parameters = DeleteParams {
                    preconditions: Some(Preconditions {
                        resource_version: text("resourceVersion"),
                        uid: text("uid"),
                    }),
                    ..DeleteParams::default()
                };
                match configs.delete(&args.name, &parameters).await {
                    Ok(_) => {}
                    // Gone meanwhile: what was wanted.
                    Err(kube::Error::Api(status)) if status.code == 404 => {}
                    Err(problem) => {
                        return Err(cluster
                            .told(&format!("delete MachineConfig `{}`", args.name), &problem));
                    }
                }
                Ok(Outcome::changed(
                    json!({"before": shown(&before), "after": null}),
                ))
            }
        }
    }
}

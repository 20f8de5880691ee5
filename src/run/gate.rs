//! The gate of a stage with `after`. In: the proofs so far, and the images of a play's tasks; later the arguments of each
//! task that is about to change a cluster. Out: the gate opened or held; and a refusal where a task would apply an image
//! that the gate was never asked about: one that came by an include, a variable, or a whole object.

use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};
use layerplay_modules::ModuleError;
use layerplay_modules::contract::ModuleInfo;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::attempt::Unit;
use super::play::{PlayRun, Stop};
use crate::event::EventKind;
use crate::promote::{Gate, StageRecord, judge, unproven};
use crate::template::Templar;
use crate::vars::TaskScope;

impl PlayRun {
    /// The gate of `stage.after`: judged before the first task of each batch, and told once a digest.
    pub(super) fn gate(
        &self,
        stages: &IndexMap<String, StageRecord>,
        opened: &mut IndexSet<String>,
    ) -> Result<(), Stop> {
        let Some(stage) = &self.play.stage else {
            return Ok(());
        };
        let Some(after) = &stage.after else {
            return Ok(());
        };
        if self.run.world.settings.check {
            if !opened.insert(String::new()) {
                return Ok(());
            }
            self.run.bus.emit(EventKind::Warning {
                message: format!(
                    "the gate of stage `{}` is not judged in check mode: nothing was proven",
                    stage.name
                ),
            });
            return Ok(());
        }
        let held = |reason: String, help: String| {
            self.run.bus.emit(EventKind::GateHeld {
                stage: stage.name.clone(),
                after: after.clone(),
                reason,
                help: Some(help),
            });
            Err(Stop::Held)
        };
        let proofs = self.run.bus.proofs();
        let images = match self.images() {
            Ok(images) => images,
            // Mostly not known because the stage that builds or proves it was left out: that is the reason then.
            Err(reason) => match unproven(after, stages.get(after), &proofs) {
                Some(Gate::Held { reason, help }) => return held(reason, help),
                _ => return held(reason, "the image of a stage with `after` must be known before its first task: set it from what an earlier play registered".to_owned()),
            }
        };
        if images.is_empty() {
            return held("it applies no image that could have been proven".to_owned(), "a stage with `after` applies an image with `apply_layer`, `machine_config` or `rollout`".to_owned());
        }
        let mut allowed = Vec::new();
        for image in images {
            let digest = digest(&image).to_owned();
            match judge(after, stages.get(after), &digest, &proofs) {
                Gate::Open(proofs) => {
                    if opened.insert(digest.clone()) {
                        self.run.bus.emit(EventKind::GateOpened {
                            stage: stage.name.clone(),
                            after: after.clone(),
                            digest: digest.clone(),
                            proofs,
                        });
                    }
                }
                Gate::Held { reason, help } => return held(reason, help),
            }
            allowed.push(digest);
        }
        // Set once: every batch has a context of its own.
        let _ = self.context.allowed.set(allowed);
        Ok(())
    }

    /// Every image that the play's tasks apply, on any of its hosts.
    fn images(&self) -> Result<IndexSet<String>, String> {
        let mut images = IndexSet::new();
        for task in self.play.tasks().into_iter().filter(|task| {
            task.kind
                .info()
                .is_some_and(|info| info.touches.cluster || info.touches.nodes)
        }) {
            for lazy in ["image", "os_image"]
                .iter()
                .filter_map(|name| task.args.named.get(*name))
            {
                for host in &self.order {
                    let mut scope = TaskScope::new(
                        &self.run.world,
                        Some(Arc::clone(&self.context)),
                        &self.run.world.host(host),
                    );
                    scope.play_vars = self.play_vars(host);
                    scope.task_vars.clone_from(&task.keywords.vars);
                    let value = self
                        .run
                        .world
                        .templar
                        .evaluate(lazy, &scope.share())
                        .map_err(|problem| {
                            format!(
                                "the image of task `{}` is not known: {}",
                                task.plain_name().unwrap_or_else(|| task.action.clone()),
                                problem.message
                            )
                        })?;
                    if !Templar::is_omit(&value) && !value.is_none() {
                        images.insert(value.to_string());
                    }
                }
            }
        }
        Ok(images)
    }
}

/// `sha256:...` of `name@sha256:...`.
pub(super) fn digest(image: &str) -> &str {
    image.split_once('@').map_or(image, |(_, digest)| digest)
}

/// Refuses images that the stage's gate has not let through.
pub(super) fn check(
    unit: &Unit,
    info: &ModuleInfo,
    arguments: &Map<String, Value>,
) -> Result<(), ModuleError> {
    let context = unit.scope.play.as_ref();
    let Some(allowed) = context.and_then(|play| play.allowed.get()) else {
        return Ok(());
    };
    if !info.touches.cluster && !info.touches.nodes {
        return Ok(());
    }
    let mut images = Vec::new();
    for (name, value) in arguments {
        match (name.as_str(), value) {
            ("image" | "os_image", Value::String(image)) => images.push(image.clone()),
            _ => set_by(value, &mut images),
        }
    }
    let other = images
        .iter()
        .find(|image| !allowed.iter().any(|known| known == digest(image)));
    match other {
        None => Ok(()),
        Some(image) => Err(ModuleError::failed(format!(
            "`{image}` did not pass the gate of this stage; nothing was changed"
        ))
        .hint("a stage with `after` applies only what its gate was asked about: name the image at the play's own tasks")),
    }
}

/// Every `osImageURL` in an object, or in the text of several.
fn set_by(value: &Value, images: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(image) if key == "osImageURL" => images.push(image.clone()),
                    _ => set_by(value, images),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| set_by(item, images)),
        Value::String(text) if text.contains("osImageURL") => {
            for document in serde_yaml::Deserializer::from_str(text) {
                if let Ok(value @ (Value::Object(_) | Value::Array(_))) =
                    Value::deserialize(document)
                {
                    set_by(&value, images);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_are_found_in_objects_and_in_their_text() {
        let mut images = Vec::new();
        set_by(
            &json!([{"spec": {"osImageURL": "r/a@sha256:1"}}, "kind: List\nitems:\n- spec: {osImageURL: r/b@sha256:2}\n---\nspec: {osImageURL: r/c}\n"]),
            &mut images,
        );
        assert_eq!(images, ["r/a@sha256:1", "r/b@sha256:2", "r/c"]);
        assert_eq!((digest("r/a@sha256:1"), digest("r/c")), ("sha256:1", "r/c"));
    }
}

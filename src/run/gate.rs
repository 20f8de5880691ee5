//! In: the arguments of a task that is about to change a cluster. Out: a refusal when it would apply an image that the
//! gate of its stage was never asked about: one that came by an include, a variable, or a whole object.

use layerplay_modules::ModuleError;
use layerplay_modules::contract::ModuleInfo;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::attempt::Unit;

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

//! `image_info`: what a registry says about an image. In: a reference; out: digest, labels, layers.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::ModuleError;
use crate::platform::Platform;
use crate::registry::ImageRef;

pub struct Info;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The image: `registry/repository:tag` or `@sha256:...`.
    image: String,
}

#[async_trait]
impl Module for Info {
    type Args = Args;
    type Work = ();
    const NAME: &'static str = "image_info";
    const SUMMARY: &'static str = "Asks a registry for an image's digest, labels and layers";
    const EXAMPLES: &'static str = "- image_info:\n    image: registry.example.com/os-layers/hello:4.18.9-1\n  register: layer\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: false,
    };
    const TOUCHES: Touches = Touches::NOTHING;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<()>, ModuleError> {
        let image: ImageRef = args
            .image
            .parse()
            .map_err(|problem: ModuleError| ModuleError {
                argument: Some("image".to_owned()),
                ..problem
            })?;
        let info = platform.registries.inspect(&image).await?;
        let layers: Vec<_> = info
            .layers
            .iter()
            .map(|layer| json!({"digest": layer.digest.as_str(), "size": layer.size}))
            .collect();
        Ok(Change::None(Outcome::unchanged(json!({
            "image": info.image.to_string(), "digest": info.digest.as_str(), "labels": info.labels, "layers": layers,
            "platforms": info.platforms, "size": info.size, "created": info.created, "media_type": info.media_type,
        }))))
    }

    async fn apply(&self, _: &Args, (): (), _: &Platform) -> Result<Outcome, ModuleError> {
        Ok(Outcome::default())
    }
}

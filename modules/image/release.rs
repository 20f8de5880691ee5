//! In: a release image. Out: what it ships: version and component images, as `oc adm release info` reads them from
//! `release-manifests/` in the payload's layers.

use std::io::Read;

use indexmap::IndexMap;
use serde_json::Value;

use crate::error::{ErrorKind, ModuleError};
use crate::registry::{ImageRef, Registries};

/// A release payload.
#[derive(Debug, Clone)]
pub struct Release {
    pub version: String,
    /// The release image, by digest.
    pub image: ImageRef,
    pub architecture: String,
    /// Component images by tag name.
    pub components: IndexMap<String, String>,
    /// The version of the OS image, where the payload says it.
    pub os_version: Option<String>,
}

/// 4.13 and later call it `rhel-coreos`; 4.12 called it `rhel-coreos-8` (openshift/machine-config-operator, install/image-references).
const OS_IMAGE: &[&str] = &["rhel-coreos", "rhel-coreos-8"];
/// Layers of a payload are small; more than this from one is not a payload.
const MOST: u64 = 64 << 20;

/// Reads the payload of one architecture (`amd64`), whatever this machine is.
pub async fn resolve(
    registries: &Registries,
    image: &ImageRef,
    architecture: &str,
) -> Result<Release, ModuleError> {
    let manifest = registries.image_manifest(image, Some(architecture)).await?;
    let config = registries.config(image, &manifest).await?;
    let pinned = image.at(manifest.digest.clone());
    let (mut references, mut metadata) = (None, None);
    // The manifests stand in one of the last layers.
    for layer in manifest.layers().iter().rev() {
        let bytes = registries.blob(image, &layer.digest).await?;
        let found = read_layer(&bytes).map_err(|problem| {
            ModuleError::failed(format!(
                "a layer of release image `{image}` cannot be read: {problem}"
            ))
        })?;
        for (name, text) in found {
            let slot = if name.ends_with("image-references") {
                &mut references
            } else {
                &mut metadata
            };
            slot.get_or_insert(text);
        }
        if references.is_some() && metadata.is_some() {
            break;
        }
    }
    let Some(references) = references else {
        return Err(ModuleError::failed(format!("`{image}` is no release image: it has no `release-manifests/image-references`"))
            .hint("give the release's pull specification, as `oc get clusterversion version -o jsonpath={.status.desired.image}` shows it"));
    };
    let stream: Value = serde_json::from_slice(&references).map_err(|problem| {
        ModuleError::failed(format!(
            "`image-references` of `{image}` is no JSON: {problem}"
        ))
    })?;
    let metadata: Value = metadata
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();
    let version = [
        &stream["metadata"]["name"],
        &metadata["version"],
        &config["config"]["Labels"]["io.openshift.release"],
    ]
    .iter()
    .find_map(|value| value.as_str())
    .unwrap_or_default()
    .to_owned();
    let mut components = IndexMap::new();
    let mut os_version = None;
    for tag in stream["spec"]["tags"].as_array().into_iter().flatten() {
        let (Some(name), Some(from)) = (tag["name"].as_str(), tag["from"]["name"].as_str()) else {
            continue;
        };
        if OS_IMAGE.contains(&name) {
            // `machine-os=418.94.202501221327-0`
            let versions = tag["annotations"]["io.openshift.build.versions"]
                .as_str()
                .unwrap_or_default();
            os_version = versions
                .split(',')
                .find_map(|part| part.trim().strip_prefix("machine-os="))
                .map(ToOwned::to_owned);
        }
        components.insert(name.to_owned(), from.to_owned());
    }
    Ok(Release {
        version,
        image: pinned,
        architecture: architecture.to_owned(),
        components,
        os_version,
    })
}

impl Release {
    /// A component's image; the OS image under its older name, too.
    pub fn component(&self, name: &str) -> Result<ImageRef, ModuleError> {
        let names: Vec<&str> = if OS_IMAGE.contains(&name) {
            OS_IMAGE.to_vec()
        } else {
            vec![name]
        };
        let found = names.iter().find_map(|name| self.components.get(*name));
        let Some(text) = found else {
            let known: Vec<&str> = self.components.keys().map(String::as_str).collect();
            return Err(ModuleError::new(
                ErrorKind::NotFound,
                format!("release {} has no component `{name}`", self.version),
            )
            .hint(format!("it has: {}", known.join(", "))));
        };
        text.parse()
    }
}

/// The two files of a layer, by name.
fn read_layer(bytes: &[u8]) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let plain: Box<dyn Read> = if bytes.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::read::GzDecoder::new(bytes))
    } else {
        Box::new(bytes)
    };
    let mut found = Vec::new();
    for entry in tar::Archive::new(plain.take(MOST)).entries()? {
        let mut entry = entry?;
        let path = entry
            .path()?
            .to_string_lossy()
            .trim_start_matches("./")
            .to_owned();
        if matches!(
            path.as_str(),
            "release-manifests/image-references" | "release-manifests/release-metadata"
        ) {
            let mut text = Vec::new();
            entry.read_to_end(&mut text)?;
            found.push((path, text));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_os_image_is_found_under_its_older_name_and_a_miss_lists_what_there_is() {
        let digest = format!("sha256:{}", "1".repeat(64));
        let image = format!("registry.example.com/ocp/os@{digest}");
        let release = Release {
            version: "4.12.70".to_owned(),
            image: image.parse().unwrap(),
            architecture: "amd64".to_owned(),
            components: [("rhel-coreos-8".to_owned(), image.clone())].into(),
            os_version: None,
        };
        let found = release.component("rhel-coreos").unwrap();
        assert_eq!(found.to_string(), image);
        let problem = release.component("etcd").unwrap_err();
        assert_eq!(problem.hint.as_deref(), Some("it has: rhel-coreos-8"));
    }
}

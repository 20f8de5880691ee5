//! In: an image and a pool. Out: whether its registry has it, for the pool's nodes, as an operating system, and on the
//! base image that the cluster has.

use super::super::look::{base_image, pull_secret};
use super::super::objects::name;
use super::sources::as_the_cluster;
use super::{Look, Refusal, refusal};
use crate::error::{ErrorKind, ModuleError};
use crate::image::BASE_DIGEST;
use crate::registry::{Digest, ImageInfo, ImageRef};

impl Look<'_> {
    /// The image as the registry has it; nothing when a dry run has not pushed it.
    pub(super) async fn registry(
        &self,
        refusals: &mut Vec<Refusal>,
    ) -> Result<Option<ImageInfo>, ModuleError> {
        let (platform, image) = (self.platform, self.image);
        let info = match platform.registries.inspect(image).await {
            Ok(info) => info,
            // A dry run of the whole playbook: the build before this task pushed nothing.
            Err(problem) if problem.kind == ErrorKind::NotFound && platform.check => {
                platform.note(format!(
                    "`{image}` is not in the registry yet; a real run pushes it first"
                ));
                return Ok(None);
            }
            Err(problem) if problem.kind == ErrorKind::NotFound => {
                return Err(ModuleError {
                    message: format!(
                        "the image cannot be rolled out: {}; nothing was changed",
                        problem.message
                    ),
                    argument: Some("image".to_owned()),
                    ..problem
                });
            }
            Err(problem) => return Err(problem),
        };
        for node in &self.view.nodes {
            let Some(architecture) = node["status"]["nodeInfo"]["architecture"].as_str() else {
                continue;
            };
            let wanted = format!("linux/{architecture}");
            if !info.platforms.contains(&wanted) {
                return Err(ModuleError::new(
                    ErrorKind::Preflight,
                    format!(
                        "`{image}` is for {}, and node `{}` is {wanted}; nothing was changed",
                        info.platforms.join(", "),
                        name(node)
                    ),
                )
                .hint("build the layer on the base image of the nodes' architecture"));
            }
        }
        let is_bootable = ["ostree.bootable", "containers.bootc"]
            .iter()
            .any(|label| info.labels.contains_key(*label));
        if !is_bootable {
            refusals.push(refusal("bootable", format!("`{image}` is no bootable OS image: it has neither the label `ostree.bootable` nor `containers.bootc`"), "build it `FROM` the cluster's OS image (`release_info`)"));
        }
        Ok(Some(info))
    }

    /// An image on another base than the cluster's puts the kubelet and kernel of another release on its nodes. One that
    /// is rolled out already is only said to be behind: that is what an upgrade does to it.
    pub(super) async fn base(
        &self,
        info: &ImageInfo,
        refusals: &mut Vec<Refusal>,
        warnings: &mut Vec<String>,
    ) -> Result<(), ModuleError> {
        let base = match base_image(self.cluster).await {
            Ok(base) => base,
            Err(problem) if problem.kind == ErrorKind::Unreachable => return Err(problem),
            Err(problem) => {
                warnings.push(format!(
                    "whether `{}` is built on the cluster's OS image cannot be told: {problem}",
                    self.image
                ));
                return Ok(());
            }
        };
        let Ok(base) = base.parse::<ImageRef>() else {
            return Ok(());
        };
        let (built_on, own) = (info.labels.get(BASE_DIGEST), base.digest.as_ref());
        let is_same = |digest: &String| own.is_some_and(|own| own.as_str() == digest);
        if built_on.is_some_and(is_same) || own == Some(&info.digest) {
            return Ok(());
        }
        // Without the label, or when one of the two is a list of manifests: by their layers.
        let secret = pull_secret(self.cluster).await;
        let registries = as_the_cluster(self.platform, secret.as_deref());
        let is_on_it = match registries.inspect(&base).await {
            Ok(base) if !base.layers.is_empty() => {
                let digests = |info: &ImageInfo| -> Vec<Digest> {
                    info.layers
                        .iter()
                        .map(|layer| layer.digest.clone())
                        .collect()
                };
                Some(digests(info).starts_with(&digests(&base)))
            }
            _ => None,
        };
        let image = self.image;
        let what = match (is_on_it, built_on) {
            (Some(true), _) => return Ok(()),
            (None, None) => {
                warnings.push(format!(
                    "whether `{image}` is built on the cluster's OS image cannot be told: it has no label `{BASE_DIGEST}`, and `{base}` cannot be read"
                ));
                return Ok(());
            }
            (_, Some(digest)) => format!("`{image}` is built on {digest}"),
            (Some(false), None) => format!("`{image}` is built on something else"),
        };
        if self.is_there {
            warnings.push(format!(
                "{what}, and the cluster's OS image is now `{base}`: rebuild the layer on it"
            ));
        } else {
            refusals.push(refusal(
                "base",
                format!("{what}, and the cluster's OS image is `{base}`"),
                "build it FROM the image that `release_info` finds on this cluster; `force: [base]` where another base is meant",
            ));
        }
        Ok(())
    }
}

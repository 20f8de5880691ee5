//! In: a version. Out: a release payload and the base OS image that it names, in a registry: small, and true in form.

use std::io::Write;

use serde_json::{Value, json};

use super::Handle;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What to publish.
#[derive(Debug, Clone)]
pub struct ReleaseSpec {
    pub version: String,
    pub architecture: String,
}

/// Pull specifications of what was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub release_image: String,
    pub os_image: String,
}

/// A file of a layer.
type File<'f> = (&'f str, Vec<u8>);

/// Publishes a base OS image and a release payload.
pub fn publish(registry: &Handle, spec: &ReleaseSpec) -> std::io::Result<Published> {
    // `4.18.9` ships `418.94.<date>-0` on RHEL 9.4.
    let short: String = spec.version.split('.').take(2).collect();
    let os_version = format!("{short}.94.202611240000-0");
    let os_release = format!(
        "NAME=\"Red Hat Enterprise Linux CoreOS\"\nID=\"rhcos\"\nOPENSHIFT_VERSION=\"{}\"\nOSTREE_VERSION='{os_version}'\n",
        spec.version
    );
    let os_labels = json!({
        "ostree.bootable": "true", "containers.bootc": "1", "version": os_version,
        "io.openshift.build.version-display-names": "machine-os=Red Hat Enterprise Linux CoreOS",
        "io.openshift.build.versions": format!("machine-os={os_version}"),
    });
    let os = image(
        registry,
        "ocp/rhel-coreos",
        &os_version,
        &spec.architecture,
        &os_labels,
        &[("usr/lib/os-release", os_release.into_bytes())],
    )?;
    let os_image = format!("{}/ocp/rhel-coreos@{os}", registry.address());
    let references = json!({
        "kind": "ImageStream", "apiVersion": "image.openshift.io/v1", "metadata": {"name": spec.version},
        "spec": {"lookupPolicy": {"local": false}, "tags": [{
            "name": "rhel-coreos", "from": {"kind": "DockerImage", "name": os_image},
            "annotations": {"io.openshift.build.versions": format!("machine-os={os_version}")},
        }]},
    });
    let metadata = json!({"kind": "cincinnati-metadata-v0", "version": spec.version, "previous": [], "metadata": {}});
    let text = |value: &Value| serde_json::to_vec_pretty(value).unwrap_or_default();
    let files = [
        ("release-manifests/image-references", text(&references)),
        ("release-manifests/release-metadata", text(&metadata)),
    ];
    let labels = json!({"io.openshift.release": spec.version});
    let release = image(
        registry,
        "ocp/release",
        &spec.version,
        &spec.architecture,
        &labels,
        &files,
    )?;
    Ok(Published {
        release_image: format!("{}/ocp/release@{release}", registry.address()),
        os_image,
    })
}

/// An image of one layer; its digest.
fn image(
    registry: &Handle,
    repository: &str,
    tag: &str,
    architecture: &str,
    labels: &Value,
    files: &[File<'_>],
) -> std::io::Result<String> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, path, bytes.as_slice())?;
    }
    let tar = builder.into_inner()?;
    let diff_id = super::digest(&tar);
    let mut encoder = flate2::GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&tar)?;
    let layer = encoder.finish()?;
    let size = layer.len();
    let layer = registry.put_blob(repository, layer);
    let config = json!({
        "architecture": architecture, "os": "linux", "created": "2026-11-24T00:00:00Z",
        "config": {"Labels": labels}, "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": "2026-11-24T00:00:00Z", "created_by": "lab"}],
    });
    let config = serde_json::to_vec(&config)?;
    let config_size = config.len();
    let config = registry.put_blob(repository, config);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer, "size": size}],
    });
    Ok(registry.put_manifest(repository, tag, MANIFEST, serde_json::to_vec(&manifest)?))
}

//! Registries: in, an image reference; out, manifests, blobs and digests, with credentials by containers-auth.json(5).

/// Registry access of a run.
#[derive(Default)]
pub struct Registries {}

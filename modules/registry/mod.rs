//! Registries: in, an image reference; out, manifests, blobs and digests, with credentials by containers-auth.json(5).

mod credentials;
mod reference;

pub use credentials::{Credentials, Login};
pub use reference::{Digest, ImageRef};

/// Registry access of a run.
#[derive(Default)]
pub struct Registries {}

//! Registries: in, an image reference; out, manifests, blobs and digests, with credentials by containers-auth.json(5).
//! Everything that comes in is checked against its digest: a registry that lies is an error.

mod client;
mod credentials;
mod reference;

pub use client::{ImageInfo, LayerInfo, Manifest, Registries, RegistryOptions};
pub use credentials::{Credentials, Login};
pub use reference::{Digest, ImageRef};

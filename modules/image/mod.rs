//! Images: in, a Containerfile and its context; out, a pushed image and the digest that the registry reports.

mod containerfile;
mod engine;
mod image_info;
mod layered_image;
mod native;
pub mod release;

use std::sync::Arc;

use crate::contract::{DynModule, erase};

pub use layered_image::{BASE_DIGEST, INPUTS};

/// Every module of this folder.
pub fn modules() -> Vec<Arc<dyn DynModule>> {
    vec![erase(layered_image::LayeredImage), erase(image_info::Info)]
}

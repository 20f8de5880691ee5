//! What several subjects need: the real parts, started for a test and ended with it.

pub(crate) mod command;
pub(crate) mod control_plane;
pub(crate) mod go;
pub(crate) mod operator;
pub(crate) mod played;
pub(crate) mod real_cluster;
pub(crate) mod stage;
pub(crate) mod story;
pub(crate) mod web;

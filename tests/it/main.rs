//! The integration tests: one binary, one module a subject.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod architecture;
mod command_line;
mod control_plane;
mod files;
mod main_job;
mod registry;
mod rollouts;
mod support;

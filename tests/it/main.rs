//! The integration tests: one binary, one module a subject.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod architecture;
mod archives;
mod bad_input;
mod command_line;
mod control_plane;
mod edits;
mod facts;
mod files;
mod lab_kubectl;
mod language;
mod main_job;
mod object_faults;
mod objects;
mod own_modules;
mod privilege;
mod registry;
mod registry_auth;
mod repositories;
mod rollouts;
mod services;
mod ssh;
mod support;
mod traces;
mod vault;
mod web;

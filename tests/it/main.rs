//! The integration tests: one binary, one module a subject.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod accounts;
mod architecture;
mod archives;
mod bad_input;
mod command_line;
mod control_plane;
mod controllers;
mod edits;
mod facts;
mod files;
mod foreign;
mod lab_kubectl;
mod language;
mod main_job;
mod nodes;
mod object_faults;
mod objects;
mod own_modules;
mod packages;
mod preflight;
mod privilege;
mod registry;
mod registry_auth;
mod reports;
mod repositories;
mod rollouts;
mod scenarios;
mod services;
mod settings;
mod ssh;
mod ssh_keys;
mod support;
mod system;
mod traces;
mod vault;
mod vectors;
mod web;

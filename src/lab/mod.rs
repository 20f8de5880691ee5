//! The simulated OpenShift: API servers, controllers, nodes and a registry on loopback. Nothing in the engine knows it.

pub mod api;
pub mod registry;

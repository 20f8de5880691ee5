//! In: how a host is reached. Out: the real adapters behind the ports of [`layerplay_modules::platform`]: shells on
//! this machine and by SSH, clusters, registries, the clock.

mod connect;
mod local;
mod privilege;
mod ssh;
mod ssh_master;

pub use connect::Adapters;

//! In: a Kubernetes API with OpenShift's kinds. Out: a cluster that behaves: the machine-config operator's controllers
//! and the daemons of its nodes, as plain clients of that API, so that they play against any API server.
//!
//! ```text
//! seed      the objects of a fresh cluster           merge    MachineConfigs -> rendered MachineConfig (pure)
//! render    pools get rendered MachineConfigs        update   nodes get their turn; pool status; drains
//! daemon    one a node: drain, pull, reboot, done    machine  what a node has booted; what commands on it print
//! access    the API by kind and JSON                 seen     what a controller's watches have brought
//! ```

pub(super) mod access;
mod daemon;
mod machine;
mod merge;
mod render;
mod seed;
mod seen;
mod update;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use access::Access;
pub use machine::{Machines, Planned, Pulls, Trouble};
pub use seed::{NodeSpec, Plan, install, is_rendered, join, seed};
pub(super) use update::{now, with_conditions};

/// How long things take. The order is always the true one.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between a change of a MachineConfig and its rendering (5 s in the operator).
    pub render: Duration,
    /// Between a change of a pool or node and the next look at it.
    pub sync: Duration,
    /// Evicting the pods of a node.
    pub drain: Duration,
    /// Pulling the image and writing the deployment.
    pub pull: Duration,
    pub reboot: Duration,
}

impl Pace {
    /// A node in about half a second.
    pub fn fast() -> Self {
        let ms = Duration::from_millis;
        Self {
            render: ms(120),
            sync: ms(40),
            drain: ms(80),
            pull: ms(180),
            reboot: ms(200),
        }
    }
}

/// Starts the operator's controllers; they run until `stop`.
pub fn start_controllers(access: &Access, pace: Pace, stop: &CancellationToken) {
    render::start(access.clone(), pace, stop.clone());
    update::start(access.clone(), pace, stop.clone());
}

/// Starts the daemons of these nodes; they run until `stop`.
pub fn start_nodes(
    access: &Access,
    machines: &Arc<Machines>,
    pace: Pace,
    stop: &CancellationToken,
) {
    daemon::start(access, machines, machines.names(), pace, stop);
    daemon::start_kubelet(access.clone(), stop.clone());
}

/// A node joins a cluster that runs: its machine is installed, and its daemon started.
pub async fn scale_up(
    access: &Access,
    machines: &Arc<Machines>,
    spec: &NodeSpec,
    pace: Pace,
    stop: &CancellationToken,
) -> Result<(), kube::Error> {
    seed::join_later(access, spec, machines).await?;
    daemon::start(access, machines, vec![spec.name.clone()], pace, stop);
    Ok(())
}

//! A whole cluster on a real API server: the lab's or the operator's own controllers and the lab's nodes play against it,
//! its images come from a registry of the lab's. Commands in pods reach the machine of their node.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use layerplay::lab::FromRegistry;
use layerplay::lab::cluster::{Access, Machines, Pace, Plan, seed, start_controllers, start_nodes};
use layerplay::lab::registry::{self, Handle, release};
use layerplay::lab::scenario::Scenario;
use serde_json::json;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::control_plane::{ControlPlane, ExecAnswer, ExecRequest};
use super::operator::Operator;

/// Who decides the rollouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decides {
    Lab,
    Operator,
}

pub(crate) struct RealCluster {
    pub(crate) registry: Arc<Handle>,
    _operator: Option<Operator>,
    pub(crate) control_plane: ControlPlane,
    _ends: DropGuard,
}

impl RealCluster {
    /// One control-plane node and three workers, seeded and running; layerplay has the documented rights.
    pub(crate) async fn start(decides: Decides) -> Self {
        let registry = Arc::new(registry::start(registry::Options::default()).await.unwrap());
        let spec = release::ReleaseSpec {
            version: "4.18.9".to_owned(),
            architecture: "amd64".to_owned(),
        };
        let published = release::publish(&registry, &spec).unwrap();
        let plan = Plan {
            name: "real".to_owned(),
            version: spec.version.clone(),
            release_image: published.release_image.clone(),
            os_image: published.os_image.clone(),
            pools: Vec::new(),
            nodes: Scenario::default().clusters[0].nodes(),
        };
        let names = plan.node_names();
        let pulls = Box::new(FromRegistry(Arc::clone(&registry)));
        let machines = Arc::new(Machines::new("real", &names, &plan.os_image, pulls));
        let asked = Arc::clone(&machines);
        let known = names.clone();
        let control_plane =
            ControlPlane::start(move |request| answer(&asked, &known, &request)).await;
        control_plane.grant().await;
        let admin = control_plane.admin().await;
        let access = Access::new(admin.clone());
        let operator = if decides == Decides::Operator {
            Some(Operator::populate(&control_plane, &access, &plan, &machines).await)
        } else {
            seed(&access, &plan, &machines).await.unwrap();
            None
        };
        // Exec goes through the API server's proxy to the kubelet that a node names.
        let port = json!({"status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": control_plane.kubelet_port()}}}});
        let nodes: Api<Node> = Api::all(admin);
        for name in &names {
            nodes
                .patch_status(name, &PatchParams::default(), &Patch::Merge(&port))
                .await
                .unwrap();
        }
        let stop = CancellationToken::new();
        if decides == Decides::Lab {
            start_controllers(&access, Pace::fast(), &stop);
        }
        start_nodes(&access, &machines, Pace::fast(), &stop);
        Self {
            registry,
            _operator: operator,
            control_plane,
            _ends: stop.drop_guard(),
        }
    }
}

/// What a container on a node says: daemon pods and debug pods are named after their node.
fn answer(machines: &Machines, nodes: &[String], request: &ExecRequest) -> ExecAnswer {
    let pod = request
        .pod
        .strip_prefix("machine-config-daemon-")
        .or(request.pod.strip_suffix("-debug"))
        .unwrap_or(&request.pod);
    let node = nodes.iter().find(|node| *node == pod);
    match node.map(|node| machines.run(node, &request.command)) {
        Some(Ok((stdout, stderr, code))) => ExecAnswer {
            stdout,
            stderr,
            code,
        },
        Some(Err(problem)) => ExecAnswer {
            stdout: String::new(),
            stderr: problem,
            code: 1,
        },
        None => ExecAnswer {
            stdout: String::new(),
            stderr: format!("no node of pod {}", request.pod),
            code: 1,
        },
    }
}

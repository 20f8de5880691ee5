//! Which cluster, and how to talk to it. In: `kubeconfig` and `context` of a host or a task; out: one `kube::Client`
//! for each cluster and run.

use std::path::PathBuf;

/// The names by which a host or a task says which cluster it means. Both empty: `KUBECONFIG`, the default file,
/// then in-cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ClusterRef {
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
}

/// The clients of a run.
#[derive(Default)]
pub struct Clusters {}

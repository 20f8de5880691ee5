//! In: nothing. Out: the ways in which a rollout fails or waits, each with what to do about it.

use serde::Serialize;

/// What is wrong, by a name that playbooks can branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The registry does not have the image.
    ImageMissing,
    /// The registry wants a login that the cluster's global pull secret does not have.
    Unauthorized,
    /// The registry cannot be reached from the node.
    RegistryAway,
    /// The image could not be pulled; the daemon does not say why.
    ImageNotPulled,
    /// The image is no operating system.
    NotBootable,
    /// The image has no manifest for the node's architecture.
    WrongArchitecture,
    /// A package is in the image and wanted as an extension, too.
    PackageConflict,
    /// Packages that were layered on the host by hand stand against the image.
    PackageLeftovers,
    /// The signature policy of the node refuses the image.
    SignatureRejected,
    /// A file system of the node is full.
    DiskFull,
    /// Another MachineConfig sets the pool's image.
    Overridden,
    /// No MachineConfig of the pool sets the image.
    NotSelected,
    /// The image is named by a tag, which nodes look up only once.
    ImageByTag,
    /// The pool's configuration cannot be rendered.
    RenderFailed,
    /// Parts of two releases meet, as in every upgrade for a while.
    RenderSkew,
    /// The pool selects no MachineConfigs at all.
    NothingSelected,
    /// The rendered configuration is larger than the operator allows.
    ConfigTooLarge,
    /// The controller cannot look at the image.
    ImageNotInspected,
    /// The pool follows an image stream and a MachineConfig sets an image.
    StreamAndImage,
    /// The machine-config controller is not ready to render.
    ControllerBusy,
    /// A `PodDisruptionBudget` does not let a pod go.
    BudgetBlocksDrain,
    /// A pod does not go for another reason.
    PodBlocksDrain,
    /// The daemon has given up waiting for the drain; the drain goes on.
    DrainFailed,
    /// The node is not made schedulable again.
    UncordonFailed,
    /// The node does not come back.
    NodeAway,
    /// The node could not be told to reboot.
    RebootFailed,
    /// The node has booted something else than what was staged.
    WrongDeployment,
    /// Somebody changed on the node what the operator keeps.
    ConfigDrift,
    /// A change that the daemon cannot make on a running node.
    Unreconcilable,
    /// A rendered MachineConfig that the node needs was deleted.
    ConfigGone,
    /// The node still goes to a configuration that its pool has left, and nothing frees it.
    Stuck,
    /// The node is degraded for a reason that is not known here.
    Degraded,
    /// The pool is paused.
    Paused,
    /// Nodes that are away use up what may be away at once.
    NoCapacity,
    /// A node carries the roles of several custom pools, and belongs to none.
    SeveralPools,
    /// The kubelet of the image does not fit the cluster.
    KubeletSkew,
    /// The cluster is being upgraded.
    Upgrade,
    /// Images of the pool are built on the cluster.
    OnClusterLayering,
    /// Certificates run out while the pool is paused.
    CertificatesExpire,
    /// A node cannot be asked what it booted.
    Unasked,
    /// The pool's status does not follow.
    StatusBehind,
    /// Nothing that can be seen explains it.
    Unknown,
}

impl Failure {
    /// Goes away by itself often enough, so that it is shown and not yet a failure.
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::RegistryAway
                | Self::RenderSkew
                | Self::ControllerBusy
                | Self::Unasked
                | Self::StatusBehind
        )
    }

    /// What to do, in one line.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::ImageMissing => {
                "push the missing digest (the node tries again by itself), or take the layer back"
            }
            Self::Unauthorized => {
                "add the registry to the cluster's global pull secret, which reboots nothing; the node tries again by itself"
            }
            Self::RegistryAway => {
                "look at the way from the node to the registry: DNS, proxy, trusted CA; the node tries again by itself"
            }
            Self::ImageNotPulled => "ask the registry for the digest, and read the daemon's log",
            Self::NotBootable => "build FROM the cluster's own OS image, and take this layer back",
            Self::WrongArchitecture => "build the layer for the architecture of the node",
            Self::PackageConflict => {
                "take the package out of the image, or the extension out of the MachineConfig"
            }
            Self::PackageLeftovers => {
                "run `rpm-ostree reset` on the node, which takes its own packages away"
            }
            Self::SignatureRejected => "sign the image as the cluster's image policy wants it",
            Self::DiskFull => "free space on the node",
            Self::Overridden => "delete that MachineConfig, or give this one a name behind it",
            Self::NotSelected => "give the MachineConfig the label that the pool selects by",
            Self::ImageByTag => "name the image by its digest",
            Self::RenderFailed => "mend or delete the MachineConfig that it names",
            Self::RenderSkew => "wait: upgrades pass through this",
            Self::NothingSelected => "mend the pool's machineConfigSelector",
            Self::ConfigTooLarge => "make the MachineConfigs of the pool smaller",
            Self::ImageNotInspected => "look at the registry: the controller reads the image, too",
            Self::StreamAndImage => {
                "unset `spec.osImageStream` of the pool, or take the layer back"
            }
            Self::ControllerBusy => {
                "wait: the controller renders when it has finished its own templates"
            }
            Self::BudgetBlocksDrain => {
                "let the workload run somewhere else, or mend the budget; the drain goes on by itself"
            }
            Self::PodBlocksDrain | Self::DrainFailed => {
                "look at the pods that are left on the node; the drain goes on by itself"
            }
            Self::UncordonFailed => "look at the machine-config controller's log",
            Self::NodeAway => {
                "look at the machine's console: kernel, initramfs or network of the image may not work"
            }
            Self::RebootFailed => {
                "look for what holds the reboot back (`systemd-inhibit --list`), then reboot the node"
            }
            Self::WrongDeployment => {
                "read why the deployment was not finished (often a full /boot), then let the daemon try again"
            }
            Self::ConfigDrift => "put the file back as the MachineConfig has it",
            Self::Unreconcilable => {
                "take back the MachineConfig that it names: it is not the layer"
            }
            Self::ConfigGone => {
                "create the MachineConfigs again from which it was rendered; never prune those in use"
            }
            Self::Stuck => "free the node with `layerplay repair`, which reboots nothing",
            Self::Degraded => {
                "read the daemon's log; when the image is the reason, take the layer back"
            }
            Self::Paused => "unpause the pool when its nodes may reboot",
            Self::NoCapacity => "bring the node back, or uncordon it",
            Self::SeveralPools => "take all but one of these labels from the node",
            Self::KubeletSkew => "rebuild the layer on the base image that the cluster has now",
            Self::Upgrade => "wait until the upgrade is done",
            Self::OnClusterLayering => "delete the MachineOSConfig, or build this layer there",
            Self::CertificatesExpire => "unpause the pool before they run out",
            Self::Unasked => "try another way of asking: `proof: debug` or `proof: ssh`",
            Self::StatusBehind => {
                "the machine-config controller may be busy, or a node may belong to several pools"
            }
            Self::Unknown => "read the machine-config controller's log",
        }
    }
}

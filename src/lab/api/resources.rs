//! A path's group, version and plural in, what the API server knows about that resource out: kind, scope, columns, list keys.

/// One printed column of a table, as a CRD's `additionalPrinterColumns` describes it.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub name: &'static str,
    /// `string`, `number`, `integer` or `date`.
    pub kind: &'static str,
    /// A JSON path in the subset that CRDs use: `.a.b`, `\.` for a dot in a key, `[?(@.k=="v")]`.
    pub path: &'static str,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: i32,
}

/// Everything fixed about one resource.
#[derive(Debug)]
pub struct Resource {
    pub group: &'static str,
    pub version: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub kind: &'static str,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub namespaced: bool,
    pub status_subresource: bool,
    /// Whether `metadata.generation` is kept: custom resources, pods and budgets have it, nodes and config maps do not.
    pub generation: bool,
    /// Served by a CRD: unknown fields are kept, strategic merge is refused.
    pub custom: bool,
    pub columns: &'static [Column],
}

impl Resource {
    /// `v1` or `group/version`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `nodes` or `machineconfigs.machineconfiguration.openshift.io`, as error texts name it.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// The verbs that discovery lists.
    pub const VERBS: &'static [&'static str] = &[
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ];
}

const fn column(name: &'static str, kind: &'static str, path: &'static str) -> Column {
    Column {
        name,
        kind,
        path,
        priority: 0,
    }
}

const fn wide(name: &'static str, path: &'static str) -> Column {
    Column {
        name,
        kind: "string",
        path,
        priority: 1,
    }
}

const AGE: Column = column("Age", "date", ".metadata.creationTimestamp");
const ONLY_AGE: &[Column] = &[AGE];

/// Columns of resources printed by code (nodes, pods, namespaces ...) live in `table`; these are the CRDs' own.
const MACHINE_CONFIG: &[Column] = &[
    column(
        "GeneratedByController",
        "string",
        r".metadata.annotations.machineconfiguration\.openshift\.io/generated-by-controller-version",
    ),
    column("IgnitionVersion", "string", ".spec.config.ignition.version"),
    AGE,
];

const POOL: &[Column] = &[
    column("Config", "string", ".status.configuration.name"),
    column(
        "Updated",
        "string",
        r#".status.conditions[?(@.type=="Updated")].status"#,
    ),
    column(
        "Updating",
        "string",
        r#".status.conditions[?(@.type=="Updating")].status"#,
    ),
    column(
        "Degraded",
        "string",
        r#".status.conditions[?(@.type=="Degraded")].status"#,
    ),
    column("MachineCount", "number", ".status.machineCount"),
    column("ReadyMachineCount", "number", ".status.readyMachineCount"),
    column(
        "UpdatedMachineCount",
        "number",
        ".status.updatedMachineCount",
    ),
    column(
        "DegradedMachineCount",
        "number",
        ".status.degradedMachineCount",
    ),
    AGE,
];

const CONFIG_NODE: &[Column] = &[
    column("PoolName", "string", ".spec.pool.name"),
    column("DesiredConfig", "string", ".spec.configVersion.desired"),
    column("CurrentConfig", "string", ".status.configVersion.current"),
    column(
        "Updated",
        "string",
        r#".status.conditions[?(@.type=="Updated")].status"#,
    ),
    AGE,
    wide(
        "UpdatePrepared",
        r#".status.conditions[?(@.type=="UpdatePrepared")].status"#,
    ),
    wide(
        "UpdateExecuted",
        r#".status.conditions[?(@.type=="UpdateExecuted")].status"#,
    ),
    wide(
        "UpdatePostActionComplete",
        r#".status.conditions[?(@.type=="UpdatePostActionComplete")].status"#,
    ),
    wide(
        "UpdateComplete",
        r#".status.conditions[?(@.type=="UpdateComplete")].status"#,
    ),
    wide(
        "Resumed",
        r#".status.conditions[?(@.type=="Resumed")].status"#,
    ),
    wide(
        "UpdatedFilesAndOS",
        r#".status.conditions[?(@.type=="AppliedFilesAndOS")].status"#,
    ),
    wide(
        "CordonedNode",
        r#".status.conditions[?(@.type=="Cordoned")].status"#,
    ),
    wide(
        "DrainedNode",
        r#".status.conditions[?(@.type=="Drained")].status"#,
    ),
    wide(
        "RebootedNode",
        r#".status.conditions[?(@.type=="RebootedNode")].status"#,
    ),
    wide(
        "UncordonedNode",
        r#".status.conditions[?(@.type=="Uncordoned")].status"#,
    ),
];

const OS_BUILD: &[Column] = &[
    column(
        "Prepared",
        "string",
        r#".status.conditions[?(@.type=="Prepared")].status"#,
    ),
    column(
        "Building",
        "string",
        r#".status.conditions[?(@.type=="Building")].status"#,
    ),
    column(
        "Succeeded",
        "string",
        r#".status.conditions[?(@.type=="Succeeded")].status"#,
    ),
    column(
        "Interrupted",
        "string",
        r#".status.conditions[?(@.type=="Interrupted")].status"#,
    ),
    column(
        "Failed",
        "string",
        r#".status.conditions[?(@.type=="Failed")].status"#,
    ),
    AGE,
];

const CLUSTER_OPERATOR: &[Column] = &[
    column(
        "Version",
        "string",
        r#".status.versions[?(@.name=="operator")].version"#,
    ),
    column(
        "Available",
        "string",
        r#".status.conditions[?(@.type=="Available")].status"#,
    ),
    column(
        "Progressing",
        "string",
        r#".status.conditions[?(@.type=="Progressing")].status"#,
    ),
    column(
        "Degraded",
        "string",
        r#".status.conditions[?(@.type=="Degraded")].status"#,
    ),
    column(
        "Since",
        "date",
        r#".status.conditions[?(@.type=="Available")].lastTransitionTime"#,
    ),
];

const CLUSTER_VERSION: &[Column] = &[
    column(
        "Version",
        "string",
        r#".status.history[?(@.state=="Completed")].version"#,
    ),
    column(
        "Available",
        "string",
        r#".status.conditions[?(@.type=="Available")].status"#,
    ),
    column(
        "Progressing",
        "string",
        r#".status.conditions[?(@.type=="Progressing")].status"#,
    ),
    column(
        "Since",
        "date",
        r#".status.conditions[?(@.type=="Progressing")].lastTransitionTime"#,
    ),
    column(
        "Status",
        "string",
        r#".status.conditions[?(@.type=="Progressing")].message"#,
    ),
];

const fn core(
    plural: &'static str,
    singular: &'static str,
    kind: &'static str,
    short_names: &'static [&'static str],
    namespaced: bool,
    status_subresource: bool,
) -> Resource {
    Resource {
        group: "",
        version: "v1",
        plural,
        singular,
        kind,
        short_names,
        categories: &[],
        namespaced,
        status_subresource,
        generation: false,
        custom: false,
        columns: ONLY_AGE,
    }
}

/// A cluster-scoped custom resource; all those of the machine-config operator and of `config.openshift.io` are.
const fn custom(
    group: &'static str,
    plural: &'static str,
    singular: &'static str,
    kind: &'static str,
    short_names: &'static [&'static str],
    status_subresource: bool,
    columns: &'static [Column],
) -> Resource {
    Resource {
        group,
        version: "v1",
        plural,
        singular,
        kind,
        short_names,
        categories: &[],
        namespaced: false,
        status_subresource,
        generation: true,
        custom: true,
        columns,
    }
}

const MCO: &str = "machineconfiguration.openshift.io";
const CONFIG: &str = "config.openshift.io";

/// Every stored resource; the order is that of discovery.
pub static RESOURCES: &[Resource] = &[
    core("configmaps", "configmap", "ConfigMap", &["cm"], true, false),
    core("events", "event", "Event", &["ev"], true, false),
    core("namespaces", "namespace", "Namespace", &["ns"], false, true),
    core("nodes", "node", "Node", &["no"], false, true),
    core("pods", "pod", "Pod", &["po"], true, true),
    core("secrets", "secret", "Secret", &[], true, false),
    core(
        "serviceaccounts",
        "serviceaccount",
        "ServiceAccount",
        &["sa"],
        true,
        false,
    ),
    Resource {
        group: "policy",
        version: "v1",
        plural: "poddisruptionbudgets",
        singular: "poddisruptionbudget",
        kind: "PodDisruptionBudget",
        short_names: &["pdb"],
        categories: &[],
        namespaced: true,
        status_subresource: true,
        generation: true,
        custom: false,
        columns: ONLY_AGE,
    },
    custom(
        MCO,
        "controllerconfigs",
        "controllerconfig",
        "ControllerConfig",
        &[],
        true,
        ONLY_AGE,
    ),
    custom(
        MCO,
        "machineconfignodes",
        "machineconfignode",
        "MachineConfigNode",
        &[],
        true,
        CONFIG_NODE,
    ),
    custom(
        MCO,
        "machineconfigpools",
        "machineconfigpool",
        "MachineConfigPool",
        &["mcp"],
        true,
        POOL,
    ),
    custom(
        MCO,
        "machineconfigs",
        "machineconfig",
        "MachineConfig",
        &["mc"],
        false,
        MACHINE_CONFIG,
    ),
    custom(
        MCO,
        "machineosbuilds",
        "machineosbuild",
        "MachineOSBuild",
        &[],
        true,
        OS_BUILD,
    ),
    custom(
        MCO,
        "machineosconfigs",
        "machineosconfig",
        "MachineOSConfig",
        &[],
        true,
        ONLY_AGE,
    ),
    custom(
        MCO,
        "pinnedimagesets",
        "pinnedimageset",
        "PinnedImageSet",
        &[],
        false,
        ONLY_AGE,
    ),
    custom(
        CONFIG,
        "clusteroperators",
        "clusteroperator",
        "ClusterOperator",
        &["co"],
        true,
        CLUSTER_OPERATOR,
    ),
    custom(
        CONFIG,
        "clusterversions",
        "clusterversion",
        "ClusterVersion",
        &[],
        true,
        CLUSTER_VERSION,
    ),
    custom(
        CONFIG,
        "imagedigestmirrorsets",
        "imagedigestmirrorset",
        "ImageDigestMirrorSet",
        &["idms"],
        true,
        ONLY_AGE,
    ),
    custom(
        CONFIG,
        "imagedigestmirrorsets",
        "imagedigestmirrorset",
        "ImageDigestMirrorSet",
        &["idms"],
        true,
        ONLY_AGE,
    ),
    custom(
        CONFIG,
        "infrastructures",
        "infrastructure",
        "Infrastructure",
        &[],
        true,
        ONLY_AGE,
    ),
    custom(
        "operator.openshift.io",
        "machineconfigurations",
        "machineconfiguration",
        "MachineConfiguration",
        &[],
        true,
        ONLY_AGE,
    ),
];

/// The resource that a path names.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    RESOURCES
        .iter()
        .find(|r| r.group == group && r.version == version && r.plural == plural)
}

/// The resource of an object's `apiVersion` and `kind`.
pub fn find_kind(api_version: &str, kind: &str) -> Option<&'static Resource> {
    RESOURCES
        .iter()
        .find(|r| r.kind == kind && r.api_version() == api_version)
}

/// Group and version pairs in discovery's order, the core group (empty name) first.
pub fn groups() -> Vec<(&'static str, &'static str)> {
    let mut seen: Vec<(&'static str, &'static str)> = Vec::new();
    for resource in RESOURCES {
        if !seen.contains(&(resource.group, resource.version)) {
            seen.push((resource.group, resource.version));
        }
    }
    seen.push(("authorization.k8s.io", "v1"));
    seen
}

/// How a list is merged by server-side apply and, for built-in kinds, by strategic merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// One owner for the whole list; a patch replaces it.
    Atomic,
    /// Scalars without order.
    Set,
    /// Objects told apart by these keys.
    Map(&'static [&'static str]),
}

/// The list kind at `path` (field names joined by dots, list elements as `[]`): `spec.containers[].env`.
pub fn list_kind(resource: &Resource, path: &str) -> ListKind {
    use ListKind::{Map, Set};
    // Source: the Go types' `listType`/`patchMergeKey` tags, and the CRDs' `x-kubernetes-list-type`.
    match path {
        "metadata.finalizers" => return Set,
        "metadata.ownerReferences" => return Map(&["uid"]),
        _ => {}
    }
    #[allow(
        clippy::match_same_arms,
        reason = "one arm a kind reads as the API's own list of merge keys"
    )]
    match (resource.kind, path) {
        (
            "Pod",
            "spec.containers"
            | "spec.initContainers"
            | "spec.ephemeralContainers"
            | "spec.volumes"
            | "spec.containers[].env"
            | "spec.initContainers[].env"
            | "spec.imagePullSecrets",
        ) => Map(&["name"]),
        ("Pod", "spec.containers[].volumeMounts" | "spec.initContainers[].volumeMounts") => {
            Map(&["mountPath"])
        }
        ("Pod", "spec.containers[].ports" | "spec.initContainers[].ports") => {
            Map(&["containerPort", "protocol"])
        }
        ("Pod", "status.conditions") => Map(&["type"]),
        ("Node", "status.conditions" | "status.addresses") => Map(&["type"]),
        ("Node", "spec.podCIDRs" | "spec.finalizers") => Set,
        ("Namespace" | "PodDisruptionBudget", "status.conditions") => Map(&["type"]),
        ("ServiceAccount", "secrets") => Map(&["name"]),
        ("MachineConfigPool", "status.conditions") => ListKind::Atomic,
        ("MachineConfigPool", "spec.pinnedImageSets") => Map(&["name"]),
        ("PinnedImageSet", "spec.pinnedImages") => Map(&["name"]),
        ("MachineOSConfig", "spec.containerFile") => Map(&["containerfileArch"]),
        ("ClusterVersion", "spec.overrides") => Map(&["kind", "group", "namespace", "name"]),
        ("MachineConfiguration", "spec.nodeDisruptionPolicy.files") => Map(&["path"]),
        ("MachineConfiguration", "spec.nodeDisruptionPolicy.units") => Map(&["name"]),
        ("MachineConfigNode", "status.irreconcilableChanges") => Map(&["fieldPath"]),
        ("MachineConfigNode", "status.pinnedImageSets") => Map(&["name"]),
        (_, "status.conditions") if resource.custom => Map(&["type"]),
        _ => ListKind::Atomic,
    }
}

/// Maps that have one owner as a whole, for server-side apply.
pub fn atomic_map(resource: &Resource, path: &str) -> bool {
    match resource.kind {
        "MachineConfigPool" => matches!(
            path,
            "spec.machineConfigSelector"
                | "spec.nodeSelector"
                | "spec.configuration"
                | "status.configuration"
        ),
        "PodDisruptionBudget" => path == "spec.selector",
        "ControllerConfig" => path == "spec.pullSecret",
        "Pod" => path == "spec.nodeSelector",
        "Node" => path == "spec.configSource",
        _ => false,
    }
}

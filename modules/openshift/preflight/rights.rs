//! In: a cluster and what is to be done there. Out: whether its user may: all that is missing at once, before anything
//! else is looked at.

use futures_util::future::try_join_all;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};

use super::super::connection::Cluster;
use super::super::objects::MCO_NAMESPACE;
use super::Args;
use crate::error::{ErrorKind, ModuleError};

const MCO: &str = "machineconfiguration.openshift.io";

/// Verb, group, resource (with its subresource), namespace.
type Right = (&'static str, &'static str, &'static str, &'static str);

/// What a rollout reads.
const READS: &[Right] = &[
    ("get", MCO, "machineconfigs", ""),
    ("list", MCO, "machineconfigs", ""),
    ("get", MCO, "machineconfigpools", ""),
    ("list", MCO, "machineconfigpools", ""),
    ("watch", MCO, "machineconfigpools", ""),
    ("list", MCO, "machineosconfigs", ""),
    ("list", "", "nodes", ""),
    ("watch", "", "nodes", ""),
    ("get", "config.openshift.io", "clusterversions", ""),
];
const APPLIES: &[Right] = &[
    ("create", MCO, "machineconfigs", ""),
    ("patch", MCO, "machineconfigs", ""),
];
const REMOVES: &[Right] = &[("delete", MCO, "machineconfigs", "")];
/// How nodes are asked, unless by SSH.
const ASKS: &[Right] = &[
    ("list", "", "pods", MCO_NAMESPACE),
    ("create", "", "pods/exec", MCO_NAMESPACE),
];

fn shown((verb, group, resource, namespace): &Right) -> String {
    let dot = if group.is_empty() { "" } else { "." };
    let space = if namespace.is_empty() {
        String::new()
    } else {
        format!(" in {namespace}")
    };
    format!("{verb} {resource}{dot}{group}{space}")
}

/// False only when the server says so: one that does not know the question refuses by itself later.
async fn may(
    cluster: &Cluster,
    (verb, group, resource, namespace): &Right,
) -> Result<bool, ModuleError> {
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, below)) => (resource, Some(below.to_owned())),
        None => (*resource, None),
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some((*verb).to_owned()),
                group: Some((*group).to_owned()),
                resource: Some(resource.to_owned()),
                subresource,
                namespace: Some((*namespace).to_owned()).filter(|name| !name.is_empty()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    match reviews.create(&PostParams::default(), &review).await {
        Ok(review) => Ok(review.status.is_none_or(|status| status.allowed)),
        Err(problem) => match cluster.told("ask for the user's rights", &problem) {
            problem if problem.kind == ErrorKind::Unreachable => Err(problem),
            _ => Ok(true),
        },
    }
}

async fn missing(
    cluster: &Cluster,
    rights: impl Iterator<Item = &Right>,
) -> Result<Vec<String>, ModuleError> {
    let asked = rights.map(async |right| Ok((right, may(cluster, right).await?)));
    let answers = try_join_all(asked).await?;
    let missing = answers.into_iter().filter(|(_, allowed)| !allowed);
    Ok(missing.map(|(right, _)| shown(right)).collect())
}

/// Warnings; an error when the rollout could not be written or watched.
pub(super) async fn check(
    args: &Args,
    cluster: &Cluster,
    is_dry: bool,
) -> Result<Vec<String>, ModuleError> {
    let writes = match &args.image {
        _ if is_dry => &[],
        Some(_) => APPLIES,
        None => REMOVES,
    };
    let (needed, asks) = tokio::try_join!(
        missing(cluster, READS.iter().chain(writes)),
        missing(cluster, ASKS.iter())
    )?;
    if !needed.is_empty() {
        return Err(ModuleError::new(
            ErrorKind::Forbidden,
            format!(
                "the user of the kubeconfig may not {}; nothing was changed",
                needed.join(", ")
            ),
        )
        .hint("docs/rights.yml of layerplay has the rights that it needs")
        .with("missing_rights", needed));
    }
    let text = format!(
        "the user of the kubeconfig may not {}: nodes can be asked what they booted only with `proof: ssh`",
        asks.join(", ")
    );
    Ok(if asks.is_empty() {
        Vec::new()
    } else {
        vec![text]
    })
}

//! In: a planned write. Out: the object as it was written and waited for; refused when it is another object by then.

use kube::api::{DeleteParams, Preconditions, PropagationPolicy};
use serde_json::{Map, Value, json};

use super::await_objects;
use super::compare::content;
use super::connection::Cluster;
use super::dynamic::{self, Verb};
use super::k8s::{Args, Propagation, State};
use super::k8s_plan::{Planned, Step, attempt, keep_secret, manager, text};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// Writes of one object that another writer was faster than, before giving up.
const TRIES: usize = 5;

/// Does it, and waits when that is wanted.
pub(super) async fn carry_out(
    args: &Args,
    platform: &Platform,
    cluster: &Cluster,
    mut planned: Planned,
) -> Result<Map<String, Value>, ModuleError> {
    let mut answer = None;
    match planned.step {
        Step::Nothing | Step::LeftOut | Step::Later => {}
        Step::Write(verb) => {
            let written = write(args, cluster, &planned, verb).await?;
            text(&written, "name").clone_into(&mut planned.at.name);
            keep_secret(platform, &written);
            planned.after = Some(written);
        }
        Step::Delete => answer = remove(args, cluster, &planned).await?,
    }
    let mut entry = planned.entry();
    if let Some(answer) = answer {
        entry.insert("result".to_owned(), answer);
    }
    if args.wait && planned.can_wait() {
        let begun = platform.clock.now();
        let gone = args.state == State::Absent;
        let waited = await_objects::one(
            platform,
            cluster,
            &planned.at,
            gone,
            args.wait_condition.as_ref(),
            args.timeout(),
        )
        .await
        .map_err(|problem| {
            problem
                .with("changed", planned.changed)
                .with("method", planned.method)
        })?;
        if let Some(object) = waited {
            keep_secret(platform, &object);
            entry.insert("result".to_owned(), object);
        }
        let seconds = platform.clock.now().duration_since(begun).as_secs();
        entry.insert("duration".to_owned(), json!(seconds));
    }
    Ok(entry)
}

/// The write itself. What carries a version is refused by the server when the object is another; then it counts
/// whether its content is.
async fn write(
    args: &Args,
    cluster: &Cluster,
    planned: &Planned,
    verb: Verb,
) -> Result<Value, ModuleError> {
    let at = &planned.at;
    let mut seen = planned.before.clone();
    let has_version = !text(&planned.definition, "resourceVersion").is_empty();
    for _ in 0..TRIES {
        let mut body = planned.body.clone();
        if let (Some(seen), false) = (&seen, has_version) {
            if !body["metadata"].is_object() {
                body["metadata"] = json!({});
            }
            body["metadata"]["resourceVersion"] = seen["metadata"]["resourceVersion"].clone();
        }
        let problem = match at.write(cluster, verb, &body, manager(args), false).await {
            Ok(written) => return Ok(written),
            Err(problem) => problem,
        };
        let is_version = matches!(&problem, kube::Error::Api(status) if status.code == 409)
            && dynamic::field_conflicts(&problem).is_empty();
        let (true, Some(was), false) = (is_version, &planned.before, has_version) else {
            return Err(dynamic::told(cluster, &attempt(verb, at), &problem));
        };
        let now = at.get(cluster).await?;
        let is_same = now.as_ref().is_some_and(|now| {
            text(now, "uid") == text(was, "uid") && content(now) == content(was)
        });
        if !is_same {
            return Err(dynamic::told(cluster, &attempt(verb, at), &problem)
                .hint("somebody changed it meanwhile: run the task again"));
        }
        seen = now;
    }
    Err(ModuleError::new(
        ErrorKind::Conflict,
        format!("cannot write {at}: others write it all the time"),
    ))
}

async fn remove(
    args: &Args,
    cluster: &Cluster,
    planned: &Planned,
) -> Result<Option<Value>, ModuleError> {
    let options = args.delete_options.as_ref();
    let seen = planned.before.as_ref();
    let wanted = options.and_then(|options| options.preconditions.as_ref());
    let parameters = DeleteParams {
        dry_run: false,
        grace_period_seconds: options.and_then(|options| options.grace_period_seconds),
        propagation_policy: options
            .and_then(|options| options.propagation_policy)
            .map(|policy| match policy {
                Propagation::Foreground => PropagationPolicy::Foreground,
                Propagation::Background => PropagationPolicy::Background,
                Propagation::Orphan => PropagationPolicy::Orphan,
            }),
        // Never one that was made in place of the one that was looked at.
        preconditions: Some(Preconditions {
            uid: wanted
                .and_then(|wanted| wanted.uid.clone())
                .or_else(|| seen.map(|seen| text(seen, "uid").to_owned())),
            resource_version: wanted.and_then(|wanted| wanted.resource_version.clone()),
        }),
    };
    planned
        .at
        .delete(cluster, &parameters)
        .await
        .map_err(|problem| dynamic::told(cluster, &format!("delete {}", planned.at), &problem))
}

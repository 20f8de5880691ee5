//! `diagnose_pool`: why a pool's nodes do not get where the pool goes. In: a pool. Out: what stands in the way, as notes
//! for people and as results that a playbook can branch on. Looks only.

use std::path::PathBuf;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::around::around;
use super::diagnose::{Diagnosis, Failure, diagnose};
use super::look::PoolView;
use super::observe::{Snapshot, observe};
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::ModuleError;
use crate::platform::Platform;

pub struct DiagnosePool;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The pool's name.
    pool: String,
    /// The image that its nodes should run, by digest; by default the one that the pool goes to.
    image: Option<String>,
    /// Kubeconfig of the cluster; the host's by default.
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; the host's by default.
    context: Option<String>,
}

/// What people read of one.
fn text(found: &Diagnosis) -> String {
    let since = found.since.as_ref().map(|since| format!(", since {since}"));
    format!(
        "{}{} (seen in {}); {}: {}",
        found.cause,
        since.unwrap_or_default(),
        found.evidence,
        found.remedy,
        found.command
    )
}

#[async_trait]
impl Module for DiagnosePool {
    type Args = Args;
    type Work = ();
    const NAME: &'static str = "diagnose_pool";
    const SUMMARY: &'static str = "Says why a pool's nodes do not get where the pool goes";
    const EXAMPLES: &'static str = "- diagnose_pool: {pool: worker}\n  register: seen\n- repair_pool: {pool: worker}\n  when: seen.failures is contains('stuck')\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: false,
    };
    const TOUCHES: Touches = Touches::NOTHING;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<()>, ModuleError> {
        let cluster = platform
            .open_cluster(args.kubeconfig.as_ref(), args.context.as_ref())
            .await?;
        let view = PoolView::read(&cluster, &args.pool).await?;
        let rendered = view.rendered(&cluster).await?;
        let goes_to = rendered
            .as_ref()
            .and_then(|rendered| rendered["spec"]["osImageURL"].as_str());
        let image = args.image.as_deref().or(goes_to).unwrap_or_default();
        let snapshot = Snapshot::new(&view.pool, rendered.as_ref(), &view.nodes);
        let progress = observe(&snapshot, image);
        let mut found = Vec::new();
        if !progress.is_settled() {
            let around = around(&cluster, &snapshot, &progress).await;
            found = diagnose(&snapshot, &progress, &around, image);
            // Nothing stands in the way: it moves, or has not been looked at for long enough.
            found.retain(|found| found.failure != Failure::Unknown);
        }
        let state = format!(
            "pool {}: {} of {} nodes run `{image}`",
            args.pool,
            progress.settled,
            progress.nodes.len()
        );
        platform.note(match found.len() {
            0 => format!("{state}; nothing stands in the way"),
            1 => state,
            count => format!("{state}; {count} things stand in the way"),
        });
        for found in &found {
            platform.note(text(found));
        }
        let failures: Vec<Failure> = found.iter().map(|found| found.failure).collect();
        Ok(Change::None(Outcome::unchanged(json!({
            "pool": args.pool, "image": image, "rendered": progress.rendered, "nodes": progress.nodes,
            "verdict": progress.verdict, "settled": progress.is_settled(), "failures": failures, "diagnoses": found,
        }))))
    }

    async fn apply(&self, _: &Args, (): (), _: &Platform) -> Result<Outcome, ModuleError> {
        Ok(Outcome::default())
    }
}

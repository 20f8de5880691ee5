//! In: the counters of hosts and the proofs of a run; out: the lines that end every report.

use crate::event::{HostStats, Proof, Used};

/// Ansible's recap rows, sorted by host name.
pub(super) fn rows(stats: &[(String, HostStats)]) -> Vec<String> {
    let mut stats: Vec<_> = stats.iter().collect();
    stats.sort_by(|a, b| a.0.cmp(&b.0));
    stats
        .into_iter()
        .map(|(host, s)| {
            format!(
                "{host:<26} : ok={:<4} changed={:<4} unreachable={:<4} failed={:<4} skipped={:<4} rescued={:<4} ignored={:<4}",
                s.ok, s.changed, s.unreachable, s.failed, s.skipped, s.rescued, s.ignored
            )
        })
        .collect()
}

/// The table *cluster, pool, nodes proven, digest, time*. Nothing when nothing was proven.
pub(super) fn proofs(proofs: &[Proof]) -> Option<String> {
    if proofs.is_empty() {
        return None;
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["cluster", "pool", "nodes proven", "digest", "time"]);
    for proof in proofs {
        table.add_row([
            proof.cluster.clone(),
            proof.pool.clone(),
            proof.nodes.len().to_string(),
            proof.digest.clone(),
            format!("{:.1} s", proof.seconds),
        ]);
    }
    Some(
        table
            .to_string()
            .lines()
            .map(str::trim_end)
            .collect::<Vec<_>>()
            .join("\n"),
    )
}

/// What a run with clusters took: the rest of a line. Nothing without clusters.
pub(super) fn used(used: &Used) -> String {
    let clusters = match used.api_requests.len() {
        0 => return String::new(),
        1 => "the cluster".to_owned(),
        several => format!("{several} clusters"),
    };
    let requests: u64 = used.api_requests.values().sum();
    let megabytes = used.memory_bytes / 1_000_000;
    format!(", {requests} requests to {clusters}, {megabytes} MB")
}

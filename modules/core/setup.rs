//! `setup`: facts of a host. In: which ones. Out: `ansible_facts`.

use async_trait::async_trait;
use globset::GlobBuilder;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::facts;
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::ModuleError;
use crate::platform::Platform;

/// Gathers facts of a host.
pub struct Setup;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Subsets to gather: `all`, `min`, `hardware`, `network`, `virtual`, or the name of one; `!NAME` leaves one out.
    #[serde(default = "everything")]
    gather_subset: Vec<String>,
    /// Only facts whose name matches one of these globs, with or without `ansible_`.
    #[serde(default)]
    filter: Vec<String>,
    /// Seconds for one question that may hang.
    #[serde(default = "seconds")]
    gather_timeout: u32,
    /// The folder of local facts (`*.fact`) on the host.
    #[serde(default = "folder")]
    fact_path: String,
}

fn everything() -> Vec<String> {
    vec!["all".to_owned()]
}

fn seconds() -> u32 {
    10
}

fn folder() -> String {
    facts::LOCAL_FACTS.to_owned()
}

/// Whether a fact is asked for: a glob may be written without `ansible_`.
fn is_asked(globs: &[globset::GlobMatcher], name: &str) -> bool {
    let short = name.strip_prefix("ansible_").unwrap_or(name);
    globs.is_empty()
        || globs
            .iter()
            .any(|glob| glob.is_match(name) || glob.is_match(short))
}

#[async_trait]
impl Module for Setup {
    type Args = Args;
    type Work = ();
    const NAME: &'static str = "setup";
    const SUMMARY: &'static str = "Gathers facts of a host";
    const EXAMPLES: &'static str =
        "- setup:\n    gather_subset: ['!all', network]\n    filter: default_ipv4\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: false,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<()>, ModuleError> {
        let subsets = facts::wanted(&args.gather_subset)?;
        let mut globs = Vec::new();
        for glob in args.filter.iter().filter(|glob| !glob.is_empty()) {
            let glob = GlobBuilder::new(glob)
                .build()
                .map_err(|problem| ModuleError::argument("filter", problem.to_string()))?;
            globs.push(glob.compile_matcher());
        }
        let (mut found, warnings) =
            facts::gather(platform, &subsets, &args.fact_path, args.gather_timeout).await?;
        found.retain(|name, _| is_asked(&globs, name));
        found.insert("gather_subset".to_owned(), json!(args.gather_subset));
        found.insert("module_setup".to_owned(), json!(true));
        Ok(Change::None(Outcome {
            facts: found,
            warnings,
            ..Outcome::default()
        }))
    }

    async fn apply(&self, _: &Args, (): (), _: &Platform) -> Result<Outcome, ModuleError> {
        Ok(Outcome::default())
    }
}

//! `setup` and `gather_facts`: facts of a host. In: which ones. Out: `ansible_facts`.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::facts::{self, Subset};
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::ModuleError;
use crate::fnmatch;
use crate::platform::{CommandSpec, Platform, Target};

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
fn is_asked(globs: &[fnmatch::Matcher], name: &str) -> bool {
    let short = name.strip_prefix("ansible_").unwrap_or(name);
    globs.is_empty()
        || globs
            .iter()
            .any(|glob| glob.is_match(name) || glob.is_match(short))
}

fn is_machine(platform: &Platform) -> Result<(), ModuleError> {
    match platform.target {
        Target::Machine(_) => Ok(()),
        Target::Cluster => Err(ModuleError::failed(format!(
            "`{}` is a cluster: clusters have no facts",
            platform.host
        ))
        .hint("say `gather_facts: false`, or gather them on a machine with `delegate_to`")),
    }
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
            globs.push(
                fnmatch::compile(glob)
                    .map_err(|problem| ModuleError::argument("filter", problem))?,
            );
        }
        is_machine(platform)?;
        let (mut found, warnings) =
            facts::gather(platform, &subsets, &args.fact_path, args.gather_timeout).await?;
        found.retain(|name, _| is_asked(&globs, name));
        if globs.is_empty() {
            found.insert("gather_subset".to_owned(), json!(args.gather_subset));
            found.insert("module_setup".to_owned(), json!(true));
        }
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

/// What a play does at its start: [`Setup`], or only what the run can read.
#[derive(Debug, Default)]
pub struct GatherFacts {
    /// `None` is what the arguments say.
    pub needed: Option<Vec<Subset>>,
}

#[async_trait]
impl Module for GatherFacts {
    type Args = Args;
    type Work = ();
    const NAME: &'static str = "gather_facts";
    const SUMMARY: &'static str = "Gathers facts of a host, as plays do at their start";
    const EXAMPLES: &'static str = "- gather_facts:\n";
    const SUPPORTS: Supports = Setup::SUPPORTS;
    const TOUCHES: Touches = Setup::TOUCHES;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<()>, ModuleError> {
        let Some(subsets) = &self.needed else {
            return Setup.inspect(args, platform).await;
        };
        is_machine(platform)?;
        if subsets.is_empty() {
            reach(platform).await?;
            return Ok(Change::None(Outcome::default()));
        }
        let (facts, warnings) =
            facts::gather(platform, subsets, &args.fact_path, args.gather_timeout).await?;
        Ok(Change::None(Outcome {
            facts,
            warnings,
            ..Outcome::default()
        }))
    }

    async fn apply(&self, _: &Args, (): (), _: &Platform) -> Result<Outcome, ModuleError> {
        Ok(Outcome::default())
    }
}

/// That no facts are needed does not make an unreachable host reachable.
async fn reach(platform: &Platform) -> Result<(), ModuleError> {
    let shell = platform.shell()?;
    if shell.is_local() {
        return Ok(());
    }
    let spec = CommandSpec {
        argv: vec!["true".to_owned()],
        ..CommandSpec::default()
    };
    let output = shell.run(spec).await?;
    if output.rc == 0 {
        return Ok(());
    }
    Err(ModuleError::failed(format!(
        "{} runs no commands, status {}: {}",
        shell.place(),
        output.rc,
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::core::host::testing::here;
    use crate::platform::{CommandOutput, Shell};

    /// Keeps what it was asked to run.
    struct Listening {
        is_local: bool,
        asked: Mutex<Vec<Vec<String>>>,
    }

    #[async_trait]
    impl Shell for Listening {
        fn place(&self) -> String {
            "the test's machine".to_owned()
        }

        async fn run(&self, spec: CommandSpec) -> Result<CommandOutput, ModuleError> {
            self.asked.lock().unwrap().push(spec.argv);
            Ok(CommandOutput {
                rc: 0,
                stdout: b"\n\x01end\n".to_vec(),
                stderr: Vec::new(),
            })
        }

        async fn read(&self, path: &str) -> Result<Vec<u8>, ModuleError> {
            Err(ModuleError::failed(path))
        }

        async fn write(&self, path: &str, _: &[u8], _: u32) -> Result<(), ModuleError> {
            Err(ModuleError::failed(path))
        }

        fn is_local(&self) -> bool {
            self.is_local
        }
    }

    async fn asked(is_local: bool, needed: Option<Vec<Subset>>) -> Vec<Vec<String>> {
        let shell = Arc::new(Listening {
            is_local,
            asked: Mutex::default(),
        });
        let mut platform = here();
        platform.target = Target::Machine(Arc::clone(&shell) as Arc<dyn Shell>);
        let args: Args = serde_json::from_value(json!({})).unwrap();
        let gathering = GatherFacts { needed };
        let change = gathering.inspect(&args, &platform).await.unwrap();
        assert!(matches!(change, Change::None(_)));
        std::mem::take(&mut *shell.asked.lock().unwrap())
    }

    #[tokio::test]
    async fn only_what_is_needed_is_asked() {
        assert!(asked(true, Some(Vec::new())).await.is_empty());
        assert_eq!(asked(false, Some(Vec::new())).await, [["true"]]);
        for is_local in [true, false] {
            let subsets = vec![Subset::Dns, Subset::Network];
            let commands = asked(is_local, Some(subsets)).await;
            assert_eq!(commands.len(), 1);
            assert_eq!(commands[0][4], "dns network");
        }
        let all = asked(true, None).await;
        assert!(all[0][4].contains("python") && all[0][4].contains("virtual"));
    }
}

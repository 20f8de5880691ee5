//! `ping`: can the host be worked on? In: text; out: the same text.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::host;
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::ModuleError;
use crate::platform::Platform;

/// Reaches a host and says `pong`.
pub struct Ping;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The text to come back; `crash` makes the task fail.
    #[serde(default = "pong")]
    data: String,
}

fn pong() -> String {
    "pong".to_owned()
}

#[async_trait]
impl Module for Ping {
    type Args = Args;
    type Work = ();
    const NAME: &'static str = "ping";
    const SUMMARY: &'static str = "Reaches a host, runs a shell there, and says `pong`";
    const EXAMPLES: &'static str = "- ping:\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: false,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<()>, ModuleError> {
        if args.data == "crash" {
            return Err(ModuleError::failed(
                "boom: `data: crash` asks for a failure",
            ));
        }
        // A connection alone proves little: the shell must run.
        let output = host::script(platform, "echo", &[], None).await?;
        if output.rc != 0 {
            return Err(ModuleError::failed(format!(
                "{} runs no shell: {}",
                platform.shell()?.place(),
                String::from_utf8_lossy(&output.stderr).trim()
            )));
        }
        Ok(Change::None(Outcome::unchanged(json!({"ping": args.data}))))
    }

    async fn apply(&self, _: &Args, (): (), _: &Platform) -> Result<Outcome, ModuleError> {
        Ok(Outcome::default())
    }
}

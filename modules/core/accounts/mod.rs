//! Users and groups of the host. In: accounts as they should be; out: the commands of shadow-utils that make them so.
//! Passwords and passphrases go through standard input: words of a command line can be read by every user of the host.

mod commands;
mod database;
mod group;
mod user;

pub use group::Group;
pub use user::User;

pub(super) use database::{check_name, user};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Whether an account should be there.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Present,
    Absent,
}

fn word(text: &str) -> String {
    text.to_owned()
}

/// What the tools said, where they said something.
fn tell(result: &mut Map<String, Value>, said: &commands::Said) {
    for (name, text) in [("stdout", &said.stdout), ("stderr", &said.stderr)] {
        if !text.trim().is_empty() {
            result.insert(name.to_owned(), json!(text.trim()));
        }
    }
}

//! Public keys of OpenSSH. In: keys as playbooks write them, and the files that have them; out: these files with the
//! keys that should be there. `known_hosts` has the keys of hosts, `authorized_key` those of people.

mod authorized;
mod known;

pub use authorized::AuthorizedKey;
pub use known::KnownHosts;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a key should be there.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Present,
    Absent,
}

/// Whether a base64 text is a key of this type: the bytes begin with the type itself (RFC 4253, 6.6).
fn is_key(kind: &str, text: &str) -> bool {
    let Ok(bytes) = STANDARD.decode(text) else {
        return false;
    };
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return false;
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    rest.get(..length) == Some(kind.as_bytes())
}

//! Exit codes: ansible-playbook's own, then layerplay's from 10 up.

/// All well; also when no host matched, or every failure was rescued or ignored.
pub const OK: u8 = 0;
/// Something that is no host's failure: a missing file, an inventory or limit without hosts.
pub const ERROR: u8 = 1;
/// A host failed. Also what the argument parser gives, as ansible-playbook's does.
pub const HOST_FAILED: u8 = 2;
/// A host was unreachable, or a playbook could not be parsed.
pub const UNREACHABLE_OR_PARSE: u8 = 4;
/// Options that do not go together.
pub const BAD_OPTIONS: u8 = 5;
/// Interrupted.
pub const INTERRUPTED: u8 = 99;
/// A bug in layerplay.
pub const BUG: u8 = 250;
/// A stage was held at its gate.
pub const HELD_AT_GATE: u8 = 10;

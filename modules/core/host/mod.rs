//! Files of a host. In: paths to look at, steps to take; out: what is there, what was done. On this machine the file
//! system is used in place; everywhere else one script a question does it, which needs a POSIX shell and the small
//! tools of coreutils or busybox. Both ways answer the same: the tests run each step both ways.

mod hash;
mod list;
mod look;
mod paths;
mod read;
mod rights;
mod script;
mod steps;
mod steps_local;

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;

pub(super) use hash::{Algorithm, digest, md5, sha1};
pub(super) use list::list;
pub(super) use look::{Kind, Look, Looks, Meta, look};
pub(super) use paths::{expand, join, name, parent};
pub(super) use read::{Content, read};
pub(super) use rights::{Rights, UnsupportedRights, facts, rights_arguments, shown};
pub(super) use script::run as script;
pub(super) use steps::{Expected, Origin, Step, When, Write, moved, take};

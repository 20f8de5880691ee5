//! `file`: what a path of the host is. In: the path and its wanted state and rights; out: what it is then.

mod links;
mod plan;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use self::plan::{Plan, Work};
use super::host;
use super::place::ancestors;
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::ModuleError;
use crate::platform::Platform;

/// Makes, links, removes, and sets rights.
pub struct File;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nothing is there; a folder goes with all that is in it.
    Absent,
    /// A folder is there; missing parents are made.
    Directory,
    /// A file is there already; only its rights are set.
    File,
    /// It is another name of the file `src`.
    Hard,
    /// It is a link to `src`.
    Link,
    /// A file is there, made empty when missing, with its times set to now.
    Touch,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The path, on the host.
    #[schemars(extend("x-aliases" = ["dest", "name"]))]
    pub(super) path: String,
    /// What it should be. Without it, what it is now; a `file` when nothing is there.
    pub(super) state: Option<State>,
    /// What a link leads to: for `link` and `hard`.
    pub(super) src: Option<String>,
    /// Owner, by name or number.
    pub(super) owner: Option<String>,
    /// Group, by name or number.
    pub(super) group: Option<String>,
    /// Mode: `"0644"`, or symbolic (`u=rw,go=r`).
    pub(super) mode: Option<Value>,
    /// Set the rights of all that is in a `directory` as well.
    #[serde(default)]
    pub(super) recurse: bool,
    /// Make a `link` to what is not there, and replace what stands in its way.
    #[serde(default)]
    pub(super) force: bool,
    /// Set the rights of what a link leads to, not of the link.
    #[serde(default = "yes")]
    pub(super) follow: bool,
    /// `preserve`, `now`, or a time in `modification_time_format` (in this machine's time zone).
    pub(super) modification_time: Option<String>,
    /// How `modification_time` is written.
    #[serde(default = "format")]
    pub(super) modification_time_format: String,
    /// `preserve`, `now`, or a time in `access_time_format` (in this machine's time zone).
    pub(super) access_time: Option<String>,
    /// How `access_time` is written.
    #[serde(default = "format")]
    pub(super) access_time_format: String,
    /// Not supported; an error, with the command to use instead.
    #[schemars(extend("x-aliases" = ["attr"]))]
    pub(super) attributes: Option<String>,
    /// Ignored on a host without SELinux, an error on one with it.
    pub(super) seuser: Option<String>,
    /// Ignored on a host without SELinux, an error on one with it.
    pub(super) serole: Option<String>,
    /// Ignored on a host without SELinux, an error on one with it.
    pub(super) setype: Option<String>,
    /// Ignored on a host without SELinux, an error on one with it.
    pub(super) selevel: Option<String>,
    /// Accepted and without effect: files are always written in one step.
    #[serde(default)]
    #[allow(dead_code, reason = "accepted for playbooks that set it")]
    pub(super) unsafe_writes: bool,
}

host::rights_arguments!(Args);

fn yes() -> bool {
    true
}

fn format() -> String {
    "%Y%m%d%H%M.%S".to_owned()
}

#[async_trait]
impl Module for File {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "file";
    const SUMMARY: &'static str = "Makes folders, links and empty files, removes, and sets rights";
    const EXAMPLES: &'static str = "- file: {path: /srv/data, state: directory, owner: core, mode: \"0750\"}\n- file: {path: /etc/localtime, state: link, src: /usr/share/zoneinfo/UTC}\n- file: {path: /tmp/build, state: absent}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        let mut path = host::expand(platform, &args.path).await?;
        if path.len() > 1 {
            path.truncate(path.trim_end_matches('/').len().max(1));
        }
        let src = match &args.src {
            Some(src) => Some(host::expand(platform, src).await?),
            None => None,
        };
        let inside = src.as_ref().map(|src| host::join(&path, host::name(src)));
        let mut paths = ancestors(&path);
        paths.extend([path.clone(), host::parent(&path)]);
        if let (Some(src), Some(inside)) = (&src, &inside) {
            paths.extend([
                src.clone(),
                inside.clone(),
                host::join(&path, src),
                host::join(&host::parent(&path), src),
            ]);
        }
        let looks = host::look(platform, &paths, None).await?;
        let mut look = looks.at(&path)?;
        let is_moved = !matches!(args.state, Some(State::Link | State::Absent));
        if let Some(inside) = inside.filter(|_| is_moved && look.is_folder()) {
            look = looks.at(&inside)?;
        }
        let state = args.state.unwrap_or(match look.state() {
            "link" => State::Link,
            "directory" => State::Directory,
            "absent" if args.recurse => State::Directory,
            _ => State::File,
        });
        if args.recurse && state != State::Directory {
            return Err(ModuleError::argument(
                "recurse",
                "recurse option requires state to be 'directory'",
            ));
        }
        if args.src.is_some() && !matches!(state, State::Link | State::Hard) {
            return Err(ModuleError::argument(
                "src",
                "src option requires state to be 'link' or 'hard'",
            ));
        }
        if state != State::Absent {
            args.unsupported().check(looks.selinux)?;
        }
        let mut plan = Plan {
            args,
            check: platform.check,
            looks: &looks,
            rights: args.rights(),
            steps: Vec::new(),
            fields: Vec::new(),
            warnings: Vec::new(),
            result: Map::new(),
            path: look.path.clone(),
        };
        match state {
            State::Absent => plan.absent(look)?,
            State::File => plan.file(look)?,
            State::Directory => plan.directory(look)?,
            State::Touch => plan.touch(look)?,
            State::Link => plan.link(look, platform).await?,
            State::Hard => plan.hard(look, platform).await?,
        }
        if args.recurse && look.is_folder() {
            let path = plan.path.clone();
            plan.inside(&path, platform).await?;
        }
        let seen = if plan.path == look.path {
            look.clone()
        } else {
            look.follow()
        };
        Ok(plan.finish(&seen, state, platform.diff))
    }

    async fn apply(
        &self,
        _: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let looks = host::take(platform, work.steps, &[work.path]).await?;
        let mut result = work.result;
        if let Some(look) = looks.all.first() {
            result.extend(host::facts(look));
        }
        Ok(Outcome {
            warnings: work.warnings,
            ..Outcome::changed(Value::Object(result))
        })
    }
}

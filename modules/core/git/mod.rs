//! `git`: a working tree of the host at a version of a repository. In: the repository, the folder, the version; out: which
//! commit was there and which is there now. Check mode asks the repository (`ls-remote`) and writes nothing.

mod program;
mod version;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::program::{Git, Hidden};
use self::version::{Remote, Target};
use super::host::{self, Kind};
use crate::contract::{Change, FieldChange, Module, Outcome, Supports, Touches};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;

/// Clones repositories, and brings them to a version.
pub struct GitModule;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "they are the arguments of Ansible's module"
)]
pub struct Args {
    /// The repository: an address, or a path of the host.
    #[schemars(extend("x-aliases" = ["name"]))]
    repo: String,
    /// The folder, on the host. Needed unless `clone` is false.
    dest: Option<String>,
    /// A branch, a tag, a commit, or `HEAD` for the repository's own branch.
    #[serde(default = "head")]
    version: String,
    /// The name under which the folder knows the repository.
    #[serde(default = "origin")]
    remote: String,
    /// A further refspec to fetch.
    refspec: Option<String>,
    /// A repository of the host to borrow objects from.
    reference: Option<String>,
    /// Throw away what was changed in files of the repository; without it such changes are an error.
    #[serde(default)]
    force: bool,
    /// Fetch no more than so many commits.
    depth: Option<u32>,
    /// Clone when the folder is not there; with `false` only say which commit the version is.
    #[serde(default = "yes")]
    clone: bool,
    /// Fetch what is new; with `false` a folder that is there stays as it is.
    #[serde(default = "yes")]
    update: bool,
    /// A repository without a working tree.
    #[serde(default)]
    bare: bool,
    /// Submodules as well, and theirs.
    #[serde(default = "yes")]
    recursive: bool,
    /// Clone one branch only.
    #[serde(default)]
    single_branch: bool,
    /// Submodules at the newest commit of their branches, and not at the one that is written down.
    #[serde(default)]
    track_submodules: bool,
    /// Take whatever key the SSH server shows.
    #[serde(default)]
    accept_hostkey: bool,
    /// Take the key of an SSH server that is not known yet.
    #[serde(default)]
    accept_newhostkey: bool,
    /// The key for SSH, a file of the host.
    key_file: Option<String>,
    /// Further options for `ssh`.
    ssh_opts: Option<String>,
    /// The `git` to use.
    executable: Option<String>,
    /// The umask for files that are made, quoted: `"0022"`.
    umask: Option<String>,
}

fn yes() -> bool {
    true
}

fn head() -> String {
    "HEAD".to_owned()
}

fn origin() -> String {
    "origin".to_owned()
}

/// What is to be done.
pub struct Work {
    remote: Remote,
    /// A repository was there.
    was_there: bool,
    /// The commit that it was at; none when nothing was ever committed.
    before: Option<String>,
    has_changes: bool,
    url_changed: bool,
    dest: String,
}

impl Args {
    fn check(&self) -> Result<(), ModuleError> {
        for (name, value) in [
            ("repo", &self.repo),
            ("version", &self.version),
            ("remote", &self.remote),
        ] {
            if value.is_empty() || value.starts_with('-') {
                return Err(ModuleError::argument(
                    name,
                    format!("`{value}` is no {name}: git would take it for an option"),
                ));
            }
        }
        if self.accept_hostkey && self.accept_newhostkey {
            return Err(ModuleError::argument(
                "accept_newhostkey",
                "parameters are mutually exclusive: accept_hostkey|accept_newhostkey",
            ));
        }
        if let Some(umask) = &self.umask
            && u32::from_str_radix(umask, 8).is_err()
        {
            return Err(
                ModuleError::argument("umask", "umask must be an octal integer")
                    .hint("write it quoted: `umask: \"0022\"`"),
            );
        }
        Ok(())
    }

    /// The repository as git gets it: a path as an address, since only so `depth` works.
    async fn repo(&self, platform: &Platform) -> Result<String, ModuleError> {
        let path = host::expand(platform, &self.repo).await?;
        Ok(if path.starts_with('/') {
            format!("file://{path}")
        } else {
            self.repo.clone()
        })
    }

    async fn git<'a>(
        &self,
        dest: Option<String>,
        platform: &'a Platform,
    ) -> Result<Git<'a>, ModuleError> {
        let key = match &self.key_file {
            Some(key) => Some(host::expand(platform, key).await?),
            None => None,
        };
        let mut ssh = self.ssh_opts.clone().unwrap_or_default();
        if !ssh.contains("StrictHostKeyChecking=") {
            if self.accept_hostkey {
                ssh.push_str(" -o StrictHostKeyChecking=no");
            } else if self.accept_newhostkey {
                ssh.push_str(" -o StrictHostKeyChecking=accept-new");
            }
        }
        Ok(Git {
            platform,
            hidden: Hidden::of(&self.repo, platform),
            program: self.executable.clone().unwrap_or_else(|| "git".to_owned()),
            repo: self.repo(platform).await?,
            dest,
            ssh: program::ssh(key.as_deref(), ssh.trim())?,
            umask: self.umask.clone(),
        })
    }

    /// Whether a repository is in the folder already.
    async fn is_there(&self, dest: &str, platform: &Platform) -> Result<bool, ModuleError> {
        let name = if self.bare { "config" } else { ".git" };
        let paths = [host::join(dest, name), host::join(dest, ".git/config")];
        let looks = host::look(platform, &paths, None).await?;
        let own = looks.at(&paths[0])?;
        let is_file = own.behind().is_some_and(|meta| meta.kind() == Kind::File);
        // `.git` is a folder, or a file that says where it is.
        Ok(is_file || (!self.bare && looks.at(&paths[1])?.behind().is_some()))
    }

    fn result(work: &Work, after: &str) -> Map<String, Value> {
        let mut result = Map::new();
        result.insert("before".to_owned(), json!(work.before));
        result.insert("after".to_owned(), json!(after));
        if work.was_there {
            result.insert("remote_url_changed".to_owned(), json!(work.url_changed));
        }
        result
    }

    async fn clone_to(&self, git: &Git<'_>, work: &Work) -> Result<(), ModuleError> {
        let depth = self.depth.map(|depth| depth.to_string());
        let mut words = vec!["clone"];
        if self.bare {
            words.push("--bare");
        } else {
            words.extend(["--origin", &self.remote]);
        }
        let is_named = matches!(work.remote.target, Target::Branch | Target::Tag);
        let mut is_branch_given = false;
        if let Some(depth) = &depth {
            if is_named || self.version == "HEAD" || self.refspec.is_some() {
                words.extend(["--depth", depth]);
                is_branch_given = is_named;
            } else {
                git.platform.warn(
                    "`depth` is ignored: only branches, tags and `HEAD` can be fetched in part",
                );
            }
        }
        if self.single_branch {
            words.push("--single-branch");
            is_branch_given |= is_named;
        }
        if is_branch_given {
            words.extend(["--branch", &self.version]);
        }
        if let Some(reference) = &self.reference {
            words.extend(["--reference", reference]);
        }
        words.extend(["--", &git.repo, &work.dest]);
        git.make_parent(&host::parent(&work.dest)).await?;
        git.outside(&words).await?;
        if self.bare && self.remote != "origin" {
            git.run(&["remote", "add", "--", &self.remote, &git.repo])
                .await?;
        }
        if let Some(refspec) = &self.refspec {
            let mut words = vec!["fetch"];
            if let Some(depth) = &depth {
                words.extend(["--depth", depth]);
            }
            words.extend([self.remote.as_str(), refspec]);
            git.run(&words).await?;
        }
        Ok(())
    }

    async fn fetch(&self, git: &Git<'_>, remote: &Remote) -> Result<(), ModuleError> {
        let version = &self.version;
        let depth = self.depth.map(|depth| depth.to_string());
        let mut words = vec!["fetch".to_owned()];
        let mut refspecs: Vec<String> = Vec::new();
        if depth.is_some() {
            refspecs.extend(match (&self.refspec, &remote.target) {
                (Some(refspec), _) => Some(refspec.clone()),
                (None, Target::Head(Some(branch))) if !self.bare => Some(format!(
                    "+refs/heads/{branch}:refs/remotes/{}/{branch}",
                    self.remote
                )),
                (None, Target::Branch) if !self.bare => Some(format!(
                    "+refs/heads/{version}:refs/remotes/{}/{version}",
                    self.remote
                )),
                (None, Target::Branch) => {
                    Some(format!("+refs/heads/{version}:refs/heads/{version}"))
                }
                (None, Target::Tag) => Some(format!("+refs/tags/{version}:refs/tags/{version}")),
                (None, _) => None,
            });
        }
        match depth {
            Some(depth) if !refspecs.is_empty() => words.extend(["--depth".to_owned(), depth]),
            _ => {
                if self.bare {
                    refspecs.push("+refs/heads/*:refs/heads/*".to_owned());
                    refspecs.push("+refs/tags/*:refs/tags/*".to_owned());
                } else {
                    words.push("--tags".to_owned());
                    refspecs.push(format!("+refs/heads/*:refs/remotes/{}/*", self.remote));
                }
                refspecs.extend(self.refspec.clone());
                if git
                    .run(&["rev-parse", "--is-shallow-repository"])
                    .await?
                    .trim()
                    == "true"
                {
                    words.push("--unshallow".to_owned());
                }
            }
        }
        if self.force {
            words.push("--force".to_owned());
        }
        words.push(self.remote.clone());
        words.extend(refspecs);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        git.run(&words).await.map(|_| ())
    }

    /// Brings the working tree to the version.
    async fn switch(&self, git: &Git<'_>, remote: &Remote) -> Result<(), ModuleError> {
        let branch = match &remote.target {
            Target::Head(Some(branch)) => Some(branch.as_str()),
            Target::Branch => Some(self.version.as_str()),
            _ => None,
        };
        let Some(branch) = branch else {
            let to = match &remote.target {
                Target::Head(_) => remote.commit.as_str(),
                Target::Tag => &format!("refs/tags/{}", self.version),
                _ => &self.version,
            };
            return git
                .run(&["checkout", "--force", "--detach", to])
                .await
                .map(|_| ());
        };
        let upstream = format!("{}/{branch}", self.remote);
        let local = format!("refs/heads/{branch}");
        if git
            .succeeds(&["show-ref", "--verify", "--quiet", &local])
            .await?
        {
            git.run(&["checkout", "--force", branch, "--"]).await?;
            let to = format!("refs/remotes/{upstream}");
            git.run(&["reset", "--hard", &to, "--"]).await?;
        } else {
            git.run(&["checkout", "--force", "--track", "-b", branch, &upstream])
                .await?;
        }
        Ok(())
    }

    /// Submodules, and whether anything changed in them.
    async fn submodules(&self, git: &Git<'_>) -> Result<bool, ModuleError> {
        if !self.recursive || self.bare || !git.has_submodules().await? {
            return Ok(false);
        }
        let status = ["submodule", "status", "--recursive"];
        let before = git.run(&status).await?;
        git.run(&["submodule", "sync", "--recursive"]).await?;
        let mut words = vec!["submodule", "update", "--init", "--recursive"];
        if self.track_submodules {
            words.push("--remote");
        }
        if self.force {
            words.push("--force");
        }
        git.run(&words).await?;
        Ok(git.run(&status).await? != before)
    }

    /// Whether the branch that is checked out is the one of the version.
    async fn is_on(&self, git: &Git<'_>, remote: &Remote) -> Result<bool, ModuleError> {
        if self.bare {
            return Ok(false);
        }
        let branch = git
            .try_run(&["symbolic-ref", "-q", "--short", "HEAD"])
            .await?;
        let branch = branch.map(|branch| branch.trim().to_owned());
        Ok(match &remote.target {
            Target::Branch => branch.as_ref() == Some(&self.version),
            Target::Head(head) => branch == *head,
            Target::Tag | Target::Commit => branch.is_none(),
        })
    }

    async fn inspect_there(
        &self,
        git: &Git<'_>,
        dest: String,
        platform: &Platform,
    ) -> Result<Change<Work>, ModuleError> {
        let before = git.commit().await?;
        if !self.update {
            let result = json!({"before": before, "after": before});
            return Ok(Change::None(Outcome::unchanged(result)));
        }
        let has_changes = !self.bare && git.has_changes().await?;
        if has_changes && !self.force {
            return Err(ModuleError::new(
                ErrorKind::Preflight,
                format!("Local modifications exist in the destination: {dest} (force=no)."),
            )
            .hint("commit them, or throw them away with `force: true`")
            .with("before", before));
        }
        let known = git.remote_url(&self.remote).await?;
        let url_changed = known
            .as_deref()
            .is_some_and(|url| program::same_form(url) != program::same_form(&git.repo));
        let mut remote = self.remote(git).await?;
        if remote.target == Target::Commit
            && let Some(commit) = git.resolve(&self.version).await?
        {
            remote.commit = commit;
        }
        let moves = before.as_ref() != Some(&remote.commit);
        let submodules = self.recursive && !self.bare && git.has_submodules().await?;
        // One that was never fetched, or is at another commit.
        let lags = submodules && {
            let status = git.run(&["submodule", "status", "--recursive"]).await?;
            status.lines().any(|line| line.starts_with(['-', '+']))
        };
        let is_settled = !moves && !has_changes && !url_changed && !lags;
        let is_on = self.is_on(git, &remote).await?;
        let after = remote.commit.clone();
        let work = Work {
            remote,
            was_there: true,
            before: before.clone(),
            has_changes,
            url_changed,
            dest,
        };
        let result = Self::result(&work, &after);
        if is_settled && (platform.check || (is_on && !self.track_submodules)) {
            return Ok(Change::None(Outcome::unchanged(Value::Object(result))));
        }
        let mut fields = Vec::new();
        let mut note = |differs: bool, field: &str, before: Value, after: Value| {
            if differs {
                fields.push(FieldChange {
                    field: field.to_owned(),
                    before,
                    after,
                });
            }
        };
        note(moves, "commit", json!(before), json!(after));
        let hide = |url: Option<&str>| url.map(super::http::masked);
        note(
            url_changed,
            "remote_url",
            json!(hide(known.as_deref())),
            json!(hide(Some(&self.repo))),
        );
        note(
            has_changes,
            "local modifications",
            json!(true),
            json!(false),
        );
        note(
            lags,
            "submodules",
            json!("behind"),
            json!("as written down"),
        );
        Ok(Change::Some {
            fields,
            diff: Vec::new(),
            preview: Outcome::changed(Value::Object(result)),
            work,
        })
    }
}

#[async_trait]
impl Module for GitModule {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "git";
    const SUMMARY: &'static str = "Clones a repository on the host, and brings it to a version";
    const EXAMPLES: &'static str = "- git: {repo: https://example.com/app.git, dest: /opt/app, version: v1.2}\n- git:\n    repo: git@example.com:team/app.git\n    dest: /opt/app\n    key_file: /etc/deploy/key\n    accept_newhostkey: true\n    depth: 1\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        args.check()?;
        let dest = match &args.dest {
            Some(dest) => Some(host::expand(platform, dest).await?),
            None if args.clone => {
                return Err(ModuleError::argument(
                    "dest",
                    "the destination directory must be specified unless clone=no",
                ));
            }
            None => None,
        };
        if let Some(dest) = dest.clone()
            && args.is_there(&dest, platform).await?
        {
            let git = args.git(Some(dest.clone()), platform).await?;
            return args.inspect_there(&git, dest, platform).await;
        }
        let git = args.git(None, platform).await?;
        let remote = args.remote(&git).await?;
        let after = remote.commit.clone();
        let work = Work {
            remote,
            was_there: false,
            before: None,
            has_changes: false,
            url_changed: false,
            dest: dest.unwrap_or_default(),
        };
        let preview = Outcome::changed(Value::Object(Args::result(&work, &after)));
        if !args.clone {
            // Nothing is done; as in Ansible this tells that something would be.
            return Ok(Change::None(preview));
        }
        Ok(Change::Some {
            fields: vec![FieldChange {
                field: work.dest.clone(),
                before: json!("absent"),
                after: json!(after),
            }],
            diff: Vec::new(),
            preview,
            work,
        })
    }

    async fn apply(
        &self,
        args: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let git = args.git(Some(work.dest.clone()), platform).await?;
        let is_there = args.is_there(&work.dest, platform).await?;
        if work.was_there {
            if !is_there || git.commit().await? != work.before {
                return Err(host::moved(&work.dest));
            }
            if !args.bare && git.has_changes().await? {
                if !args.force {
                    return Err(host::moved(&work.dest));
                }
                git.run(&["reset", "--hard", "HEAD", "--"]).await?;
            }
            git.set_remote_url(&args.remote).await?;
            args.fetch(&git, &work.remote).await?;
        } else if is_there {
            return Err(host::moved(&work.dest));
        } else {
            args.clone_to(&git, &work).await?;
        }
        if !args.bare {
            args.switch(&git, &work.remote).await?;
        }
        let submodules = args.submodules(&git).await?;
        let after = git.commit().await?;
        let mut result = Args::result(&work, after.as_deref().unwrap_or_default());
        if submodules && work.was_there {
            result.insert("submodules_changed".to_owned(), json!(true));
        }
        if work.has_changes {
            let msg = format!(
                "Local modifications exist in the destination: {}",
                work.dest
            );
            result.insert("msg".to_owned(), json!(msg));
        }
        let changed = !work.was_there
            || work.before != after
            || work.has_changes
            || work.url_changed
            || submodules;
        Ok(Outcome {
            changed,
            ..Outcome::unchanged(Value::Object(result))
        })
    }
}

//! In: the arguments of `dnf`. Out: the options and verbs of the program. Pure.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::{State, names};
use crate::error::ModuleError;

/// Which program does it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    #[default]
    Auto,
    Yum,
    Yum4,
    Dnf,
    Dnf4,
    Dnf5,
    Microdnf,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "arguments and their types are given from outside"
)]
pub struct Args {
    /// Packages: names, also with a version (`name-1.2`), groups (`@name`), files and addresses of packages, and what
    /// packages provide. `*` with `state: latest` is all.
    #[serde(default)]
    #[schemars(extend("x-aliases" = ["pkg"]))]
    pub(super) name: Vec<String>,
    /// How they should be. Without it `present`; with `autoremove` `absent`.
    pub(super) state: Option<State>,
    /// Read what the repositories have anew, first.
    #[serde(default)]
    #[schemars(extend("x-aliases" = ["expire-cache"]))]
    pub(super) update_cache: bool,
    /// With `state: latest`: update what is there, and install nothing besides.
    #[serde(default)]
    update_only: bool,
    /// Repositories to use although they are off.
    #[serde(default)]
    enablerepo: Vec<String>,
    /// Repositories not to use.
    #[serde(default)]
    disablerepo: Vec<String>,
    /// Do not check signatures.
    #[serde(default)]
    disable_gpg_check: bool,
    /// With `state: latest`: only what security needs.
    #[serde(default)]
    security: bool,
    /// With `state: latest`: only what mends mistakes.
    #[serde(default)]
    bugfix: bool,
    /// Packages to leave out.
    #[serde(default)]
    exclude: Vec<String>,
    /// Let an older version replace a newer one.
    #[serde(default)]
    pub(super) allow_downgrade: bool,
    /// Let packages that are in the way be removed.
    #[serde(default)]
    allowerasing: bool,
    /// Remove what nothing needs any more.
    #[serde(default)]
    autoremove: bool,
    /// Take the best version, or fail.
    best: Option<bool>,
    /// Take a lower version where the best does not fit.
    nobest: Option<bool>,
    /// Leave out what cannot be installed.
    #[serde(default)]
    skip_broken: bool,
    /// Use what was read of the repositories before, and no network.
    #[serde(default)]
    cacheonly: bool,
    /// A configuration of its own.
    conf_file: Option<String>,
    /// Which `exclude` of the configuration not to heed: `all`, `main` or a repository.
    disable_excludes: Option<String>,
    /// Plugins not to use.
    #[serde(default)]
    disable_plugin: Vec<String>,
    /// Plugins to use.
    #[serde(default)]
    enable_plugin: Vec<String>,
    /// Only fetch the packages.
    #[serde(default)]
    pub(super) download_only: bool,
    /// Where fetched packages go.
    download_dir: Option<String>,
    /// Another root.
    #[serde(default)]
    installroot: Option<String>,
    /// Install what is only recommended, too.
    #[serde(default = "yes")]
    install_weak_deps: bool,
    /// The release whose packages are taken.
    releasever: Option<String>,
    /// Check certificates of repositories.
    #[serde(default = "yes")]
    sslverify: bool,
    /// Check certificates of addresses in `name`.
    #[serde(default = "yes")]
    validate_certs: bool,
    /// Which program does it.
    #[serde(default)]
    pub(super) use_backend: Backend,
    /// Accepted and without effect: the manager itself waits for its lock.
    #[allow(dead_code, reason = "accepted for playbooks that set it")]
    lock_timeout: Option<i64>,
    /// Accepted and without effect.
    #[allow(dead_code, reason = "accepted for playbooks that set it")]
    install_repoquery: Option<bool>,
}

fn yes() -> bool {
    true
}

impl Args {
    /// The arguments that `package` has.
    pub(in crate::core::packages) fn simple(
        name: Vec<String>,
        state: State,
        update_cache: bool,
    ) -> Self {
        Self {
            name,
            state: Some(state),
            update_cache,
            install_weak_deps: true,
            sslverify: true,
            validate_certs: true,
            ..Self::default()
        }
    }

    pub(super) fn state(&self) -> State {
        let only_autoremove = self.autoremove && self.name.is_empty();
        self.state.unwrap_or(if only_autoremove {
            State::Absent
        } else {
            State::Present
        })
    }

    pub(super) fn check(&self) -> Result<Vec<String>, ModuleError> {
        let names = names(&self.name)?;
        if self.best == Some(true) && self.nobest == Some(true) {
            let message = "parameters are mutually exclusive: best|nobest";
            return Err(ModuleError::argument("nobest", message));
        }
        if names.is_empty() && !self.update_cache && !self.autoremove {
            let message = "one of the following is required: name, update_cache, autoremove";
            return Err(ModuleError::argument("name", message));
        }
        if self.autoremove && !self.state().is_absent() {
            let message = "Autoremove should be used alone or with state=absent";
            return Err(ModuleError::argument("autoremove", message));
        }
        if self.state().is_absent() && names.iter().any(|name| is_file(name)) {
            let message = "Cannot remove paths -- please specify package name.";
            return Err(ModuleError::argument("name", message));
        }
        Ok(names)
    }

    /// The options of the program.
    pub(super) fn options(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (option, values) in [
            ("--disablerepo", &self.disablerepo),
            ("--enablerepo", &self.enablerepo),
            ("--exclude", &self.exclude),
            ("--disableplugin", &self.disable_plugin),
            ("--enableplugin", &self.enable_plugin),
        ] {
            all.extend(values.iter().map(|value| format!("{option}={value}")));
        }
        for (option, value) in [
            ("--config", &self.conf_file),
            ("--disableexcludes", &self.disable_excludes),
            ("--downloaddir", &self.download_dir),
            ("--installroot", &self.root()),
            ("--releasever", &self.releasever),
        ] {
            all.extend(value.iter().map(|value| format!("{option}={value}")));
        }
        for (option, is_set) in [
            ("--nogpgcheck", self.disable_gpg_check),
            ("--allowerasing", self.allowerasing),
            (
                "--best",
                self.best == Some(true) || self.nobest == Some(false),
            ),
            (
                "--nobest",
                self.best == Some(false) || self.nobest == Some(true),
            ),
            ("--skip-broken", self.skip_broken),
            ("--cacheonly", self.cacheonly),
            ("--downloadonly", self.download_only),
            ("--setopt=install_weak_deps=False", !self.install_weak_deps),
            (
                "--setopt=sslverify=False",
                !self.sslverify || !self.validate_certs,
            ),
            ("--refresh", self.update_cache && !self.cacheonly),
        ] {
            if is_set {
                all.push(option.to_owned());
            }
        }
        all
    }

    pub(super) fn root(&self) -> Option<String> {
        self.installroot.clone().filter(|root| root != "/")
    }

    /// The verbs with their names. `there` says which names are installed.
    pub(super) fn plan(&self, names: &[String], there: &[bool]) -> Vec<Vec<String>> {
        let (mut old, mut new): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        for (name, is_there) in names.iter().zip(there) {
            if *is_there { &mut old } else { &mut new }.push(name.clone());
        }
        let command = |verb: &str, names: Vec<String>| {
            let mut words = vec![verb.to_owned()];
            if verb == "upgrade" {
                words.extend(self.security.then(|| "--security".to_owned()));
                words.extend(self.bugfix.then(|| "--bugfix".to_owned()));
            }
            words.extend(names);
            words
        };
        let mut all = Vec::new();
        match self.state() {
            State::Present | State::Installed if !new.is_empty() => {
                all.push(command("install", new));
            }
            State::Present | State::Installed => {}
            State::Latest if names == ["*"] => all.push(command("upgrade", Vec::new())),
            State::Latest => {
                if !new.is_empty() && !self.update_only {
                    all.push(command("install", new));
                }
                if !old.is_empty() {
                    all.push(command("upgrade", old));
                }
            }
            State::Absent | State::Removed => {
                if !old.is_empty() {
                    all.push(command("remove", old));
                }
                if self.autoremove {
                    all.push(command("autoremove", Vec::new()));
                }
            }
        }
        all
    }
}

/// A package by its file or address.
fn is_file(name: &str) -> bool {
    name.contains("://")
        || (name.contains('/') && Path::new(name).extension().is_some_and(|end| end == "rpm"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(args: &Value) -> Args {
        let schema = schemars::schema_for!(Args).to_value();
        crate::core::arguments::parse("dnf", &schema, args.as_object().unwrap()).unwrap()
    }

    #[test]
    fn names_go_to_the_verb_that_they_need() {
        for (args, there, commands) in [
            (json!({"name": "a,b"}), vec![true, false], vec!["install b"]),
            (json!({"name": "a"}), vec![true], vec![]),
            (
                json!({"name": ["a", "b"], "state": "latest"}),
                vec![true, false],
                vec!["install b", "upgrade a"],
            ),
            (
                json!({"name": ["a", "b"], "state": "latest", "update_only": true}),
                vec![true, false],
                vec!["upgrade a"],
            ),
            (
                json!({"name": "*", "state": "latest", "security": true}),
                vec![true],
                vec!["upgrade --security"],
            ),
            (
                json!({"name": "a,b", "state": "absent"}),
                vec![true, false],
                vec!["remove a"],
            ),
            (json!({"autoremove": true}), vec![], vec!["autoremove"]),
        ] {
            let args_of = parse(&args);
            let planned = args_of.plan(&args_of.check().unwrap(), &there);
            let planned: Vec<String> = planned.iter().map(|words| words.join(" ")).collect();
            assert_eq!(planned, commands, "{args}");
        }
    }

    #[test]
    fn options_are_those_of_the_program() {
        let args = parse(&json!({
            "name": "a", "enablerepo": "x,y", "disablerepo": ["*"], "disable_gpg_check": true, "nobest": true,
            "install_weak_deps": false, "installroot": "/", "releasever": 9, "update_cache": true,
        }));
        assert_eq!(
            args.options().join(" "),
            "--disablerepo=* --enablerepo=x --enablerepo=y --releasever=9 --nogpgcheck --nobest --setopt=install_weak_deps=False --refresh"
        );
    }

    #[test]
    fn what_cannot_be_is_told_before() {
        for (args, argument) in [
            (json!({}), "name"),
            (json!({"name": "--assumeyes"}), "name"),
            (json!({"name": "/tmp/a.rpm", "state": "absent"}), "name"),
            (json!({"name": "a", "best": true, "nobest": true}), "nobest"),
            (json!({"name": "a", "autoremove": true}), "autoremove"),
        ] {
            let problem = parse(&args).check().unwrap_err();
            assert_eq!(problem.argument.as_deref(), Some(argument), "{args}");
        }
    }
}

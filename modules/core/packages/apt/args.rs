//! In: the arguments of `apt`. Out: the options and the command of `apt-get`. Pure.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{self as packages, names};
use crate::error::ModuleError;

/// How packages should be.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    #[default]
    Present,
    Latest,
    Absent,
    /// What is needed to build them is there.
    BuildDep,
    /// Packages that are half installed are made whole.
    Fixed,
}

/// Which update of all packages.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Upgrade {
    #[default]
    No,
    /// Removes nothing.
    Yes,
    /// The same as `yes`.
    Safe,
    /// Removes what is in the way.
    Full,
    /// The same as `full`.
    Dist,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "arguments and their types are given from outside"
)]
pub struct Args {
    /// Packages: names, also with a version (`name=1.2`, `name=1.2*`).
    #[serde(default)]
    #[schemars(extend("x-aliases" = ["package", "pkg"]))]
    pub(super) name: Vec<String>,
    /// How they should be.
    #[serde(default)]
    pub(super) state: State,
    /// Read what the repositories have anew, first.
    #[serde(default)]
    #[schemars(extend("x-aliases" = ["update-cache"]))]
    pub(super) update_cache: bool,
    /// Only when it is older than this many seconds.
    #[serde(default)]
    pub(super) cache_valid_time: u64,
    /// Update all packages.
    #[serde(default)]
    upgrade: Upgrade,
    /// A package's file on the host.
    deb: Option<String>,
    /// With `state: absent`, remove configuration, too.
    #[serde(default)]
    purge: bool,
    /// The release whose packages are taken.
    #[schemars(extend("x-aliases" = ["default-release"]))]
    default_release: Option<String>,
    /// Install what is only recommended, too; without it as the host is configured.
    #[schemars(extend("x-aliases" = ["install-recommends"]))]
    install_recommends: Option<bool>,
    /// Update what is there, and install nothing besides.
    #[serde(default)]
    only_upgrade: bool,
    /// Remove what nothing needs any more.
    #[serde(default)]
    autoremove: bool,
    /// Fail when something would be removed.
    #[serde(default)]
    fail_on_autoremove: bool,
    /// Drop fetched packages that are no longer to be had.
    #[serde(default)]
    pub(super) autoclean: bool,
    /// Drop all fetched packages.
    #[serde(default)]
    pub(super) clean: bool,
    /// Do what may break the host.
    #[serde(default)]
    force: bool,
    /// Do not check signatures.
    #[serde(default)]
    #[schemars(extend("x-aliases" = ["allow-unauthenticated"]))]
    allow_unauthenticated: bool,
    /// Let an older version replace a newer one.
    #[serde(default)]
    #[schemars(extend("x-aliases" = ["allow-downgrade", "allow_downgrades", "allow-downgrades"]))]
    allow_downgrade: bool,
    /// Change packages that are held.
    #[serde(default)]
    allow_change_held_packages: bool,
    /// Options of `dpkg`, parted by commas.
    #[serde(default = "dpkg_options")]
    dpkg_options: String,
    /// Seconds to wait for another manager's lock.
    #[serde(default = "lock_timeout")]
    lock_timeout: u64,
    /// Accepted and without effect: `apt-get` is used always.
    #[allow(dead_code, reason = "accepted for playbooks that set it")]
    force_apt_get: Option<bool>,
    /// Accepted and without effect: nothing is needed on the host.
    #[allow(dead_code, reason = "accepted for playbooks that set it")]
    auto_install_module_deps: Option<bool>,
}

fn dpkg_options() -> String {
    "force-confdef,force-confold".to_owned()
}

fn lock_timeout() -> u64 {
    60
}

impl Args {
    /// The arguments that `package` has.
    pub(in crate::core::packages) fn simple(
        name: Vec<String>,
        state: packages::State,
        update_cache: bool,
    ) -> Self {
        Self {
            name,
            state: match state {
                packages::State::Latest => State::Latest,
                state if state.is_absent() => State::Absent,
                _ => State::Present,
            },
            update_cache,
            dpkg_options: dpkg_options(),
            lock_timeout: lock_timeout(),
            ..Self::default()
        }
    }

    pub(super) fn check(&self) -> Result<Vec<String>, ModuleError> {
        let names = names(&self.name)?;
        let ways = [
            ("name", !names.is_empty()),
            ("deb", self.deb.is_some()),
            ("upgrade", self.upgrade != Upgrade::No),
        ];
        if ways.iter().filter(|(_, is_set)| *is_set).count() > 1 {
            let message = "parameters are mutually exclusive: deb|package|upgrade";
            return Err(ModuleError::argument("upgrade", message));
        }
        let does_something = self.autoremove
            || self.autoclean
            || self.clean
            || self.update_cache
            || self.state == State::Fixed;
        if !does_something && !ways.iter().any(|(_, is_set)| *is_set) {
            let message =
                "one of the following is required: autoremove, deb, package, update_cache, upgrade";
            return Err(ModuleError::argument("name", message));
        }
        Ok(names)
    }

    /// Whether nothing but the repositories is asked for.
    pub(super) fn only_updates(&self) -> bool {
        let does_more = self.autoremove || self.autoclean || self.clean || self.deb.is_some();
        self.name.is_empty() && self.upgrade == Upgrade::No && !does_more
    }

    pub(super) fn options(&self) -> Vec<String> {
        let mut all = vec![
            "-y".to_owned(),
            "-q".to_owned(),
            format!("-oDPkg::Lock::Timeout={}", self.lock_timeout),
        ];
        for option in self
            .dpkg_options
            .split(',')
            .map(str::trim)
            .filter(|option| !option.is_empty())
        {
            all.push(format!("-oDPkg::Options::=--{option}"));
        }
        all.extend(
            self.default_release
                .iter()
                .map(|release| format!("--target-release={release}")),
        );
        match self.install_recommends {
            Some(true) => all.push("-oAPT::Install-Recommends=yes".to_owned()),
            Some(false) => all.push("-oAPT::Install-Recommends=no".to_owned()),
            None => {}
        }
        for (option, is_set) in [
            ("--only-upgrade", self.only_upgrade),
            ("--auto-remove", self.autoremove),
            ("--no-remove", self.fail_on_autoremove),
            ("--force-yes", self.force),
            ("--allow-unauthenticated", self.allow_unauthenticated),
            ("--allow-downgrades", self.allow_downgrade),
            (
                "--allow-change-held-packages",
                self.allow_change_held_packages,
            ),
        ] {
            if is_set {
                all.push(option.to_owned());
            }
        }
        all
    }

    /// The command, when there is something to do at all. `there` says how each name is installed.
    pub(super) fn plan(&self, names: &[String], there: &[There]) -> Option<Vec<String>> {
        let pairs = || names.iter().zip(there);
        let pick = |wanted: &dyn Fn(&There) -> bool| -> Vec<String> {
            pairs()
                .filter(|(_, there)| wanted(there))
                .map(|(name, _)| name.clone())
                .collect()
        };
        let (verb, names): (&[&str], Vec<String>) = match self.state {
            _ if self.upgrade != Upgrade::No => match self.upgrade {
                Upgrade::Full | Upgrade::Dist => (&["dist-upgrade"], Vec::new()),
                _ => (&["upgrade", "--with-new-pkgs"], Vec::new()),
            },
            _ if self.deb.is_some() => (&["install"], self.deb.iter().cloned().collect()),
            State::BuildDep if !names.is_empty() => (&["build-dep"], names.to_vec()),
            State::Latest if self.only_upgrade => {
                (&["install"], pick(&|there| *there == There::Installed))
            }
            State::Latest => (&["install"], names.to_vec()),
            State::Absent if self.purge => (&["purge"], pick(&|there| *there != There::Absent)),
            State::Absent => (&["remove"], pick(&|there| *there == There::Installed)),
            State::Fixed => (
                &["install", "--fix-broken"],
                pick(&|there| *there != There::Installed),
            ),
            State::Present | State::BuildDep if self.only_upgrade => (&["install"], Vec::new()),
            State::Present | State::BuildDep => {
                (&["install"], pick(&|there| *there != There::Installed))
            }
        };
        let is_whole = matches!(verb.first(), Some(&"upgrade" | &"dist-upgrade"))
            || self.state == State::Fixed;
        let mut words: Vec<String> = verb.iter().map(|word| (*word).to_owned()).collect();
        if names.is_empty() && !is_whole {
            if !self.autoremove {
                return None;
            }
            words = vec!["autoremove".to_owned()];
            words.extend(self.purge.then(|| "--purge".to_owned()));
        }
        words.extend(names);
        Some(words)
    }
}

/// What `dpkg` has of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum There {
    Installed,
    /// Its configuration alone.
    Configured,
    Absent,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(args: &Value) -> Args {
        let schema = schemars::schema_for!(Args).to_value();
        crate::core::arguments::parse("apt", &schema, args.as_object().unwrap()).unwrap()
    }

    #[test]
    fn only_what_is_missing_is_asked_for() {
        use There::{Absent, Configured, Installed};
        for (args, there, command) in [
            (json!({"name": "a,b"}), vec![Installed, Absent], "install b"),
            (json!({"name": "a"}), vec![Installed], ""),
            (
                json!({"package": "a", "state": "latest"}),
                vec![Installed],
                "install a",
            ),
            (
                json!({"name": "a,b", "state": "absent"}),
                vec![Installed, Configured],
                "remove a",
            ),
            (
                json!({"name": "a,b", "state": "absent", "purge": true}),
                vec![Absent, Configured],
                "purge b",
            ),
            (json!({"upgrade": "dist"}), vec![], "dist-upgrade"),
            (
                json!({"upgrade": "safe"}),
                vec![],
                "upgrade --with-new-pkgs",
            ),
            (
                json!({"autoremove": true, "purge": true}),
                vec![],
                "autoremove --purge",
            ),
            (json!({"deb": "/tmp/a.deb"}), vec![], "install /tmp/a.deb"),
            (json!({"state": "fixed"}), vec![], "install --fix-broken"),
            (json!({"update_cache": true}), vec![], ""),
        ] {
            let parsed = parse(&args);
            let planned = parsed.plan(&parsed.check().unwrap(), &there);
            assert_eq!(planned.unwrap_or_default().join(" "), command, "{args}");
        }
    }

    #[test]
    fn what_cannot_be_is_told_before() {
        for (args, argument) in [
            (json!({}), "name"),
            (json!({"name": "-o=x"}), "name"),
            (json!({"name": "a", "upgrade": "dist"}), "upgrade"),
        ] {
            let problem = parse(&args).check().unwrap_err();
            assert_eq!(problem.argument.as_deref(), Some(argument), "{args}");
        }
    }
}

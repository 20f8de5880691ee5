//! `package`: packages, whatever the host's package manager is. In: names and a state; out: what `dnf` or `apt` did.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::host;
use super::{State, apt, dnf, image_based, missing_manager};
use crate::contract::{Change, Module, Outcome, Supports, Touches};
use crate::error::ModuleError;
use crate::platform::Platform;

/// Packages of any manager.
pub struct Package;

/// Which manager.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// The one that the host has.
    #[default]
    Auto,
    Dnf,
    /// The same as `dnf`.
    Dnf5,
    /// The same as `dnf`.
    Yum,
    Apt,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Packages: names, also with a version as the manager writes it.
    #[schemars(extend("x-aliases" = ["pkg"]))]
    name: Vec<String>,
    /// How they should be.
    state: State,
    /// Which manager.
    #[serde(default, rename = "use")]
    manager: Use,
    /// Read what the repositories have anew, first.
    #[serde(default)]
    update_cache: bool,
}

impl Args {
    fn dnf(&self) -> dnf::Args {
        dnf::Args::simple(self.name.clone(), self.state, self.update_cache)
    }

    fn apt(&self) -> apt::Args {
        apt::Args::simple(self.name.clone(), self.state, self.update_cache)
    }
}

/// What a manager has to do.
pub enum Work {
    Dnf(dnf::Work),
    Apt(apt::Work),
}

const FIND: &str = r"PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH
for p in dnf dnf5 microdnf yum apt-get rpm-ostree; do if command -v $p >/dev/null 2>&1; then printf %s $p; exit 0; fi; done";

#[async_trait]
impl Module for Package {
    type Args = Args;
    type Work = Work;
    const NAME: &'static str = "package";
    const SUMMARY: &'static str =
        "Installs, updates and removes packages with the package manager that the host has";
    const EXAMPLES: &'static str = "- package: {name: [chrony, tcpdump], state: present}\n- package: {name: telnet, state: absent}\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = super::super::MACHINE;
    const ANSIBLE_BUILTIN: bool = true;

    async fn inspect(&self, args: &Args, platform: &Platform) -> Result<Change<Work>, ModuleError> {
        let is_apt = match args.manager {
            Use::Apt => true,
            Use::Dnf | Use::Dnf5 | Use::Yum => false,
            Use::Auto => {
                let output = host::script(platform, FIND, &[], None).await?;
                match String::from_utf8_lossy(&output.stdout).trim() {
                    "apt-get" => true,
                    "rpm-ostree" => return Err(image_based("package")),
                    "" => {
                        let place = platform.shell()?.place();
                        return Err(missing_manager(&place, "dnf, dnf5, microdnf, yum, apt-get"));
                    }
                    _ => false,
                }
            }
        };
        if is_apt {
            let change = apt::inspect(&args.apt(), platform).await?;
            return Ok(change.map(Work::Apt));
        }
        let change = dnf::inspect(&args.dnf(), platform).await?;
        Ok(change.map(Work::Dnf))
    }

    async fn apply(
        &self,
        args: &Args,
        work: Work,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        match work {
            Work::Dnf(work) => dnf::apply(&args.dnf(), work, platform).await,
            Work::Apt(work) => apt::apply(&args.apt(), work, platform).await,
        }
    }
}

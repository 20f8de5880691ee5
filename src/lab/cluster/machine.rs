//! In: which image a node boots. Out: what commands on it print. A pure memory of machines, shared by daemons (which
//! reboot them) and pods (which look at them).

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Whether an image can be pulled.
pub trait Pulls: Send + Sync {
    /// Its version label, or the error of the container library.
    fn pull(&self, image: &str) -> Result<String, String>;
    /// Its manifest, or the error of the container library.
    fn look(&self, image: &str) -> Result<String, String>;
}

#[derive(Debug, Clone, Default)]
struct Machine {
    /// `name@digest`
    image: String,
    version: String,
    /// The rendered MachineConfig that is on its disk; empty as long as nothing was ever written.
    config: String,
    boots: u64,
    /// Runs: a machine that reboots answers nothing.
    is_up: bool,
    /// Went down and will never come back.
    is_lost: bool,
    /// Its daemon looks at nothing that it boots.
    is_blind: bool,
}

impl Machine {
    fn installed(image: &str, config: &str, pulls: &dyn Pulls) -> Self {
        Self {
            image: image.to_owned(),
            version: pulls.pull(image).unwrap_or_default(),
            config: config.to_owned(),
            boots: 1,
            is_up: true,
            ..Self::default()
        }
    }
}

/// What goes wrong with a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    ImageMissing,
    PullDenied,
    NotBootable,
    RegistryUnreachable,
    DiskFull,
    /// Goes down for a reboot and stays down.
    NeverReturns,
    /// Boots what it had.
    WrongDeployment,
    /// Boots what it had, and its daemon does not look.
    UnnoticedDeployment,
}

impl Trouble {
    fn is_of_pull(self) -> bool {
        !self.is_of_boot()
    }

    /// Shows to who looks for the image without pulling it.
    fn is_of_look(self) -> bool {
        matches!(
            self,
            Self::ImageMissing | Self::PullDenied | Self::RegistryUnreachable
        )
    }

    fn is_of_boot(self) -> bool {
        matches!(
            self,
            Self::NeverReturns | Self::WrongDeployment | Self::UnnoticedDeployment
        )
    }

    /// What a failed pull says (containers/image, ostree-rs-ext).
    fn says(self, image: &str) -> String {
        let host = image.split('/').next().unwrap_or_default();
        match self {
            Self::PullDenied => {
                format!("reading manifest in {image}: unauthorized: authentication required")
            }
            Self::NotBootable => "Target image does not have ostree.bootable label".to_owned(),
            Self::RegistryUnreachable => {
                format!(
                    "pinging container registry {host}: Get \"https://{host}/v2/\": dial tcp: i/o timeout"
                )
            }
            Self::DiskFull => {
                "Importing: Unencapsulating base: Writing content object: No space left on device"
                    .to_owned()
            }
            _ => format!("reading manifest in {image}: manifest unknown"),
        }
    }
}

/// A trouble that is still to come.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Every machine without it.
    pub node: Option<String>,
    pub trouble: Trouble,
    /// How often; always without it.
    pub times: Option<u64>,
}

/// Is told of each machine that goes down for a reboot (`false`) or comes back.
type Watcher = Box<dyn Fn(&str, bool) + Send + Sync>;

/// The machines of a cluster.
pub struct Machines {
    all: Mutex<BTreeMap<String, Machine>>,
    troubles: Mutex<Vec<Planned>>,
    pulls: Box<dyn Pulls>,
    watcher: OnceLock<Watcher>,
    cluster: String,
    /// What they booted first: every machine has it on its disk.
    base: String,
}

impl Machines {
    /// Machines that have booted this image.
    pub fn new(cluster: &str, names: &[String], image: &str, pulls: Box<dyn Pulls>) -> Self {
        let machine = Machine::installed(image, "", pulls.as_ref());
        let all = names
            .iter()
            .map(|name| (name.clone(), machine.clone()))
            .collect();
        Self {
            all: Mutex::new(all),
            troubles: Mutex::default(),
            pulls,
            watcher: OnceLock::new(),
            cluster: cluster.to_owned(),
            base: image.to_owned(),
        }
    }

    /// Installs a machine that boots an image: one that joins later.
    pub(super) fn add(&self, name: &str, image: &str, config: &str) {
        let machine = Machine::installed(image, config, self.pulls.as_ref());
        self.with(|all| all.insert(name.to_owned(), machine));
    }

    /// Has machines that go down and come back told, to one who asks for it; a second one is not told.
    pub fn tell(&self, watcher: impl Fn(&str, bool) + Send + Sync + 'static) {
        let _ = self.watcher.set(Box::new(watcher));
    }

    fn told(&self, node: &str, is_up: bool) {
        if let Some(watcher) = self.watcher.get() {
            watcher(node, is_up);
        }
    }

    /// Plans what will go wrong.
    pub fn plan(&self, troubles: Vec<Planned>) {
        let mut planned = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        planned.extend(troubles);
    }

    /// The first planned trouble of this kind.
    fn trouble<T>(
        &self,
        node: &str,
        is_kind: fn(Trouble) -> bool,
        meets: impl FnOnce(&mut Planned) -> T,
    ) -> Option<T> {
        let mut planned = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let next = planned.iter_mut().find(|planned| {
            is_kind(planned.trouble)
                && planned.times != Some(0)
                && planned.node.as_ref().is_none_or(|name| name == node)
        })?;
        Some(meets(next))
    }

    /// It happens: once less to come.
    fn happens(planned: &mut Planned) -> Trouble {
        planned.times = planned.times.map(|times| times - 1);
        planned.trouble
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Machine>) -> T) -> T {
        work(&mut self.all.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.with(|all| all.keys().cloned().collect())
    }

    pub(super) fn pull(&self, node: &str, image: &str) -> Result<String, String> {
        let is_known = image == self.base;
        let trouble = (!is_known).then(|| self.trouble(node, Trouble::is_of_pull, Self::happens));
        match trouble.flatten() {
            Some(trouble) => Err(trouble.says(image)),
            None => self.pulls.pull(image),
        }
    }

    /// What `skopeo inspect --raw` on a machine prints: nothing is pulled, and no trouble is less to come.
    fn skopeo(&self, node: &str, words: &[&str]) -> (String, String, i32) {
        let image = words.iter().find_map(|word| word.strip_prefix("docker://"));
        let image = image.unwrap_or_default();
        let trouble = self.trouble(node, Trouble::is_of_look, |planned| planned.trouble);
        let found = match trouble {
            Some(trouble) => Err(trouble.says(image)),
            None => self.pulls.look(image),
        };
        match found {
            Ok(manifest) => (manifest, String::new(), 0),
            Err(problem) => {
                let time = super::update::now();
                (
                    String::new(),
                    format!("time=\"{time}\" level=fatal msg={}\n", json!(problem)),
                    1,
                )
            }
        }
    }

    pub(super) fn go_down(&self, node: &str) {
        self.with(|all| {
            if let Some(machine) = all.get_mut(node) {
                machine.is_up = false;
            }
        });
        self.told(node, false);
    }

    /// Boots an image; the new boot id, `None` when the machine does not come back.
    pub(super) fn boot(&self, node: &str, image: &str, version: &str) -> Option<String> {
        let trouble = self.trouble(node, Trouble::is_of_boot, Self::happens);
        let is_lost = trouble == Some(Trouble::NeverReturns);
        self.with(|all| {
            let Some(machine) = all.get_mut(node) else {
                return;
            };
            machine.is_lost = is_lost;
            machine.is_blind = trouble == Some(Trouble::UnnoticedDeployment);
            if is_lost {
                return;
            }
            if trouble.is_none() {
                image.clone_into(&mut machine.image);
                version.clone_into(&mut machine.version);
            }
            machine.boots += 1;
            machine.is_up = true;
        });
        if is_lost {
            return None;
        }
        self.told(node, true);
        Some(self.boot_id(node))
    }

    /// Whether a machine went down for good.
    pub(super) fn is_lost(&self, node: &str) -> bool {
        self.with(|all| all.get(node).is_some_and(|machine| machine.is_lost))
    }

    /// The image that a machine runs when its daemon sees that it is another one than this.
    pub(super) fn runs_instead(&self, node: &str, image: &str) -> Option<String> {
        self.with(|all| {
            let machine = all.get(node)?;
            (machine.image != image && !machine.is_blind).then(|| machine.image.clone())
        })
    }

    /// The rendered MachineConfig on the machine's disk: a daemon that starts anew believes it, not the annotation.
    pub(super) fn config(&self, node: &str) -> String {
        self.with(|all| {
            all.get(node)
                .map(|machine| machine.config.clone())
                .unwrap_or_default()
        })
    }

    pub(super) fn write_config(&self, node: &str, config: &str) {
        self.with(|all| {
            if let Some(machine) = all.get_mut(node) {
                config.clone_into(&mut machine.config);
            }
        });
    }

    /// How often a machine was booted; once when it was installed.
    pub fn boots(&self, node: &str) -> u64 {
        self.with(|all| all.get(node).map_or(0, |machine| machine.boots))
    }

    pub(super) fn boot_id(&self, node: &str) -> String {
        let boots = self.boots(node);
        let hash = hex::encode(Sha256::digest(format!("{}/{node}/{boots}", self.cluster)));
        let part = |from: usize, to: usize| hash.get(from..to).unwrap_or_default().to_owned();
        format!(
            "{}-{}-4{}-8{}-{}",
            part(0, 8),
            part(8, 12),
            part(13, 16),
            part(17, 20),
            part(20, 32)
        )
    }

    /// What a command on a node prints, and its status; an error when the machine is down. Commands are looked at as
    /// words: `chroot /rootfs`, `nsenter ...` and a shell around them change nothing.
    pub fn run(&self, node: &str, command: &[String]) -> Result<(String, String, i32), String> {
        let is_up = self.with(|all| all.get(node).is_some_and(|machine| machine.is_up));
        if !is_up {
            return Err(format!(
                "error dialing backend: dial tcp: no route to host ({node})"
            ));
        }
        let mut words: Vec<&str> = command.iter().map(String::as_str).collect();
        loop {
            words = match words.as_slice() {
                ["chroot", _, rest @ ..] => rest.to_vec(),
                ["nsenter", rest @ ..] => rest
                    .iter()
                    .skip_while(|word| {
                        word.starts_with('-') || word.chars().all(|c| c.is_ascii_digit())
                    })
                    .copied()
                    .collect(),
                _ => break,
            };
        }
        if let ["skopeo", "inspect", arguments @ ..] = words.as_slice() {
            return Ok(self.skopeo(node, arguments));
        }
        let line = match words.as_slice() {
            ["sh" | "/bin/sh" | "bash" | "/bin/bash", "-c", line, ..] => (*line).to_owned(),
            words => words.join(" "),
        };
        let mut out = String::new();
        for part in line
            .split("&&")
            .flat_map(|part| part.split(';'))
            .map(str::trim)
        {
            match part {
                "rpm-ostree status --json" => out.push_str(&format!("{:#}\n", self.status(node))),
                "cat /proc/sys/kernel/random/boot_id" => {
                    out.push_str(&format!("{}\n", self.boot_id(node)));
                }
                "true" | "" => {}
                "uname -r" => out.push_str("5.14.0-427.50.1.el9_4.x86_64\n"),
                "hostname" => out.push_str(&format!("{node}\n")),
                other => {
                    let word = other.split_whitespace().next().unwrap_or_default();
                    return Ok((out, format!("sh: line 1: {word}: command not found\n"), 127));
                }
            }
        }
        Ok((out, String::new(), 0))
    }

    fn status(&self, node: &str) -> Value {
        let machine = self.with(|all| all.get(node).cloned().unwrap_or_default());
        let digest = machine
            .image
            .split_once('@')
            .map(|(_, digest)| digest)
            .unwrap_or_default();
        let checksum = hex::encode(Sha256::digest(&machine.image));
        json!({
            "deployments": [{
                "id": format!("rhcos-{checksum}.0"), "osname": "rhcos", "serial": 0, "checksum": checksum,
                "booted": true, "staged": false, "pinned": false, "unlocked": "none", "live-inprogress": null, "live-replaced": null,
                "container-image-reference": format!("ostree-unverified-registry:{}", machine.image),
                "container-image-reference-digest": digest, "version": machine.version, "timestamp": 1_763_942_400,
                "requested-packages": [], "requested-local-packages": [], "requested-base-removals": [], "packages": [],
            }],
            "transaction": null, "cached-update": null, "update-driver": null,
        })
    }
}

//! A lab of a scenario (`tests/scenarios`), as a user reaches it: playbooks in, what the run says and what the cluster is
//! like out.

use std::path::Path;
use std::process::Command;

use layerplay::lab::Lab;
use layerplay::lab::scenario::Scenario;
use serde_json::Value;

use super::command::output;

/// The group of the operator's kinds.
pub(crate) const MCO: &str = "machineconfiguration.openshift.io";

/// Time limits of a wait that are short enough for a test and long enough for the lab.
pub(crate) const SOON: &str = "stall: 1, degraded: 2, timeout: 6";

/// Tasks that leave a layer on the cluster's base image as `built`.
pub(crate) const BUILT: &str = "    - release_info:
      register: release
    - layered_image:
        name: \"{{ registry }}/motd\"
        tag: \"1\"
        content: |
          FROM {{ release.os_image }}
          LABEL org.opencontainers.image.title=motd
        base: \"{{ release.os_image }}\"
      register: built
";

/// A lab of a scenario, as a user reaches it.
pub(crate) struct Played {
    pub(crate) lab: Lab,
    dir: tempfile::TempDir,
}

pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl Played {
    pub(crate) async fn start(file: &str) -> Self {
        let path = format!("{}/tests/scenarios/{file}.yml", env!("CARGO_MANIFEST_DIR"));
        let scenario = Scenario::read(Path::new(&path)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let lab = Lab::start(&scenario).await.unwrap();
        lab.write(dir.path()).unwrap();
        Self { lab, dir }
    }

    /// The folder of the inventory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Tasks on the cluster; `{{ built.image }}` is a layer on its base image.
    pub(crate) async fn run(&self, tasks: &str) -> Said {
        self.run_with("", tasks).await
    }

    /// The same with more keywords of the play.
    pub(crate) async fn run_with(&self, keywords: &str, tasks: &str) -> Said {
        let playbook = format!(
            "
- hosts: staging
{keywords}  tasks:
{BUILT}{tasks}"
        );
        self.play(&playbook).await
    }

    pub(crate) async fn play(&self, playbook: &str) -> Said {
        let path = self.dir.path().join("playbook.yml");
        std::fs::write(&path, playbook).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_layerplay"));
        command
            .args(["run", "--format", "json", "-i"])
            .arg(self.dir.path().join("inventory.yml"))
            .arg(&path);
        let (output, text) = output(command).await;
        Said {
            code: output.status.code(),
            text,
        }
    }

    /// Tasks that all hold.
    pub(crate) async fn holds(&self, tasks: &str) -> Said {
        let said = self.run(tasks).await;
        assert_eq!(said.code, Some(0), "{}", said.text);
        said
    }

    /// Applying a layer fails, and says this by name. What a node would say beforehand is passed over.
    pub(crate) async fn fails_with(&self, failure: &str, that: &[&str]) -> Said {
        let that: Vec<String> = that
            .iter()
            .map(|that| format!("\n          - {that}"))
            .collect();
        let that = that.concat();
        self.holds(&format!(
            "    - apply_layer: {{pool: worker, image: \"{{{{ built.image }}}}\", force: [node_pull], {SOON}}}
      ignore_errors: true
      register: tried
    - assert:
        that:
          - tried is failed
          - tried.diagnosis.failure == '{failure}'{that}
"
        ))
        .await
    }

    /// The run is refused before anything is written.
    pub(crate) async fn refuses(&self, words: &str) {
        let before = self.configs();
        let said = self
            .run("    - apply_layer: {pool: worker, image: \"{{ built.image }}\"}\n")
            .await;
        assert_eq!(said.code, Some(2), "{}", said.text);
        assert!(said.text.contains(words), "{}", said.text);
        assert_eq!(self.configs(), before);
    }

    pub(crate) fn object(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Value {
        let resource = layerplay::lab::api::resources::find(group, "v1", plural).unwrap();
        let store = self.lab.clusters[0].api.store();
        let object = store.get(resource, namespace, name);
        object.map(|object| (*object).clone()).unwrap_or_default()
    }

    /// The names of all objects of a kind.
    pub(crate) fn names(&self, group: &str, plural: &str) -> Vec<String> {
        let resource = layerplay::lab::api::resources::find(group, "v1", plural).unwrap();
        let objects = self.lab.clusters[0].api.store().list(resource, "").objects;
        objects.into_iter().map(|((_, name), _)| name).collect()
    }

    /// The MachineConfigs that somebody wrote.
    pub(crate) fn configs(&self) -> Vec<String> {
        let mut all = self.names(MCO, "machineconfigs");
        all.retain(|name| !name.starts_with("rendered-"));
        all
    }

    /// Whether somebody wrote the layer of workers.
    pub(crate) fn has_layer(&self) -> bool {
        self.configs().iter().any(|name| name == "99-layer-worker")
    }

    pub(crate) fn node(&self, name: &str) -> Value {
        self.object("", "nodes", "", name)
    }
}

//! What a person gets wrong: each mistake is a clear error with its place and the way out, an exit code that is not 0,
//! and a cluster and registry in which nothing was written.

use std::path::Path;
use std::process::Command;

use kube::api::{Api, ApiResource, DynamicObject, ListParams, PostParams};
use layerplay::lab::Lab;
use layerplay::lab::scenario::Scenario;
use serde_json::json;

use crate::support::command::output;

/// A mistake, and what is said of it.
struct Mistake {
    playbook: &'static str,
    code: i32,
    /// All of these stand in what is printed.
    says: &'static [&'static str],
}

const NO_DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

const MISTAKES: &[Mistake] = &[
    Mistake {
        playbook: "- hosts: staging\n  tasks:\n    - apply_layer: {pool: worker, image: \"{{ registry }}/hello:1\"}\n",
        code: 2,
        says: &["playbook.yml:3:35", "names no digest", "a tag can move"],
    },
    Mistake {
        playbook: "- hosts: staging\n  tasks:\n    - machine_config: {name: 99-x, pool: worker, os_image: \"r.example.com/x:1\"}\n",
        code: 2,
        says: &["playbook.yml:3:50", "names no digest"],
    },
    Mistake {
        playbook: "- hosts: staging\n  tassk:\n    - debug: {msg: hi}\n",
        code: 4,
        says: &["playbook.yml:2:3", "`tassk`", "did you mean `tasks`?"],
    },
    Mistake {
        playbook: "- hosts: staging\n  tasks:\n    - aply_layer: {pool: worker}\n    - debug: {msg: hi}\n      whne: true\n",
        code: 4,
        says: &[
            "playbook.yml:3:7",
            "did you mean `apply_layer`?",
            "playbook.yml:5:7",
            "did you mean `when`?",
        ],
    },
    Mistake {
        playbook: "- hosts: staging\n  tasks:\n    - apply_layer: {image: r.example.com/x@DIGEST}\n",
        code: 2,
        says: &[
            "playbook.yml:3:7",
            "missing required arguments: pool",
            "layerplay doc apply_layer",
        ],
    },
    Mistake {
        playbook: "- hosts: staging\n  tasks:\n    - rollout: {pool: worker, base: true, stal: 5}\n",
        code: 2,
        says: &[
            "playbook.yml:3:43",
            "Unsupported parameters for (rollout) module: stal.",
            "did you mean `stall`?",
        ],
    },
    Mistake {
        playbook: "- hosts: staging\n  tasks:\n    - release_info: {kubeconfig: dead.kubeconfig, context: dead}\n",
        code: 4,
        says: &[
            "unreachable=1",
            "cannot be reached",
            "check the address in the kubeconfig",
        ],
    },
    Mistake {
        playbook: "- hosts: staging\n  tasks:\n    - release_info: {context: stage-b}\n",
        code: 2,
        says: &[
            "playbook.yml:3:22",
            "has no context `stage-b`",
            "did you mean `stage-a`?",
        ],
    },
    Mistake {
        playbook: "- hosts: staging\n  tasks:\n    - release_info: {kubeconfig: nowhere.kubeconfig}\n",
        code: 2,
        says: &["playbook.yml:3:22", "does not exist"],
    },
    Mistake {
        playbook: "- hosts: staging\n  tasks:\n    - layered_image: {name: \"127.0.0.1:1/x\", tag: '1', base: \"127.0.0.1:1/b@DIGEST\", content: \"FROM 127.0.0.1:1/b@DIGEST\"}\n",
        code: 2,
        says: &["`127.0.0.1:1` cannot be reached", "registry_insecure"],
    },
    Mistake {
        playbook: "- hosts: staging\n  tasks:\n    - layered_image: {name: \"{{ registry }}/x\", tag: '1', base: \"{{ registry }}/b@DIGEST\", content: \"LABEL a=b\"}\n",
        code: 2,
        says: &[
            "Containerfile, line 1: `LABEL` before `FROM`",
            "starts with `FROM`",
        ],
    },
    Mistake {
        playbook: "- hosts: staging\n  tasks:\n    - layered_image: {name: \"{{ registry }}/x\", tag: '1', base: \"{{ registry }}/b@DIGEST\", containerfile: nothing/Containerfile}\n",
        code: 2,
        says: &["could not find `nothing/Containerfile`"],
    },
    Mistake {
        playbook: "- hosts: staging\n  tasks:\n    - apply_layer: {pool: worker, image: \"{{ registry }}/motd@DIGEST\"}\n",
        code: 2,
        says: &["has no such image", "nothing was changed"],
    },
    Mistake {
        playbook: "- hosts: staging\n  tasks:\n    - apply_layer: {pool: gpu, image: \"{{ registry }}/motd@DIGEST\"}\n",
        code: 2,
        says: &["pool `gpu` has no nodes", "label nodes for the pool"],
    },
    Mistake {
        playbook: "- hosts: staging\n  tasks:\n    - apply_layer: {pool: wroker, image: \"{{ registry }}/motd@DIGEST\"}\n",
        code: 2,
        says: &["no pool `wroker`", "worker"],
    },
    Mistake {
        playbook: "- hosts: staging\n  tasks:\n    - command: uptime\n",
        code: 2,
        says: &["is a cluster", "delegate_to: localhost"],
    },
    Mistake {
        playbook: "- hosts: staging\n  tasks:\n    - apply_layer: {pool: \"{{ poool }}\", image: x}\n",
        code: 2,
        says: &["playbook.yml:3:31", "'poool' is undefined"],
    },
    Mistake {
        playbook: "- hosts: staging\n  tasks:\n    - debug: {msg: \"{{ 1 | nofilter }}\"}\n",
        code: 2,
        says: &["playbook.yml:3:28", "no filter is called `nofilter`"],
    },
    Mistake {
        playbook: "- hosts: staging\n  tasks:\n    - debug: {msg: hi}\n  - debug: {msg: ho}\n",
        code: 4,
        says: &["playbook.yml:4:5", "not YAML"],
    },
    Mistake {
        playbook: "- hosts: staging\n  tasks:\n    - debug: {msg: {{ hi }}}\n",
        code: 4,
        says: &["playbook.yml:3:20", "quote"],
    },
    Mistake {
        playbook: "- hosts: prod\n  stage: {name: production, after: non-production}\n  tasks:\n    - apply_layer: {pool: worker, image: \"{{ registry }}/motd@DIGEST\"}\n",
        code: 4,
        says: &[
            "playbook.yml:2:",
            "no play before this one has the stage `non-production`",
        ],
    },
    // A limit that leaves a host of the stage before out.
    Mistake {
        playbook: "- hosts: staging:prod\n  stage: {name: np}\n  tasks:\n    - verify_layer: {pool: worker, base: true}\n      register: seen\n    - set_fact: {image: \"{{ seen.image }}\"}\n- hosts: staging\n  stage: {name: production, after: np}\n  tasks:\n    - apply_layer: {pool: worker, image: \"{{ image }}\"}\n",
        code: 10,
        says: &["`prod-a` of stage `np` has proven nothing"],
    },
    // An image that comes past the gate by an include.
    Mistake {
        playbook: "- hosts: staging\n  stage: {name: np}\n  tasks:\n    - verify_layer: {pool: worker, base: true}\n      register: seen\n    - set_fact: {image: \"{{ seen.image }}\"}\n- hosts: prod\n  stage: {name: production, after: np}\n  vars: {image: \"{{ hostvars['stage-a'].image }}\"}\n  tasks:\n    - rollout: {pool: worker, image: \"{{ image }}\"}\n    - include_tasks: other.yml\n",
        code: 2,
        says: &[
            "gate: stage `production` may start",
            "did not pass the gate",
        ],
    },
];

async fn run(dir: &Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_layerplay"));
    command.args(args).current_dir(dir);
    let (output, text) = output(command).await;
    (output.status.code(), text)
}

fn resource(kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: "machineconfiguration.openshift.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "machineconfiguration.openshift.io/v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_is_told_and_nothing_is_written() {
    let lab = Lab::start(&Scenario::default()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    lab.write(dir.path()).unwrap();
    let dead = "apiVersion: v1\nkind: Config\nclusters: [{name: dead, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: u, user: {token: a-token-1}}]\ncontexts: [{name: dead, context: {cluster: dead, user: u}}]\n";
    std::fs::write(dir.path().join("dead.kubeconfig"), dead).unwrap();
    let other = format!(
        "- machine_config: {{name: 99-other, pool: worker, os_image: r.example.com/x@{NO_DIGEST}}}\n"
    );
    std::fs::write(dir.path().join("other.yml"), other).unwrap();

    let client = lab.clusters[0].api.client();
    let pools: Api<DynamicObject> = Api::all_with(
        client.clone(),
        &resource("MachineConfigPool", "machineconfigpools"),
    );
    let gpu = json!({"apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfigPool", "metadata": {"name": "gpu"}, "spec": {
        "machineConfigSelector": {"matchExpressions": [{"key": "machineconfiguration.openshift.io/role", "operator": "In", "values": ["worker", "gpu"]}]},
        "nodeSelector": {"matchLabels": {"node-role.kubernetes.io/gpu": ""}}}});
    pools
        .create(
            &PostParams::default(),
            &serde_json::from_value(gpu).unwrap(),
        )
        .await
        .unwrap();
    let configs = || async {
        let mut names = Vec::new();
        for cluster in &lab.clusters {
            let configs: Api<DynamicObject> = Api::all_with(
                cluster.api.client(),
                &resource("MachineConfig", "machineconfigs"),
            );
            let all = configs.list(&ListParams::default()).await.unwrap();
            let own = all
                .items
                .into_iter()
                .filter_map(|config| config.metadata.name);
            names.extend(own.filter(|name| !name.starts_with("rendered-")));
        }
        names
    };
    let before = configs().await;
    for mistake in MISTAKES {
        let text = mistake.playbook.replace("DIGEST", NO_DIGEST);
        std::fs::write(dir.path().join("playbook.yml"), &text).unwrap();
        let mut args = vec!["run", "--format", "ansible", "-i", "inventory.yml"];
        // The mistake is in the limit: it leaves `prod-a` out.
        if mistake.says[0].contains("has proven nothing") {
            args.extend(["--limit", "staging"]);
        }
        args.push("playbook.yml");
        let (code, said) = run(dir.path(), &args).await;
        assert_eq!(code, Some(mistake.code), "{text}\n{said}");
        for word in mistake.says {
            assert!(said.contains(word), "`{word}` is not said:\n{text}\n{said}");
        }
        assert!(!said.contains("a-token-1"), "{said}");
    }
    assert_eq!(configs().await, before, "no MachineConfig was written");
    assert!(
        !lab.registry.has_repository("os-layers/x"),
        "nothing was pushed"
    );
}

#[tokio::test]
async fn the_command_line_names_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    for (args, code, says) in [
        (
            &["run", "nope.yml"][..],
            1,
            "the playbook `nope.yml` could not be found",
        ),
        (&["run", "-i", "nowhere.yml", "p.yml"], 1, "inventory `"),
        (
            &["run", "-i", "a,", "--limit", "b", "p.yml"],
            1,
            "does not match any hosts",
        ),
        (
            &["run", "-i", "a,", "-e", "@none.yml", "p.yml"],
            1,
            "none.yml",
        ),
        (&["run"], 2, "PLAYBOOK"),
        (&["run", "--frocks", "5", "p.yml"], 2, "--forks"),
        (&["check", "empty.yml"], 4, "empty"),
        (&["doc", "aply_layer"], 1, "did you mean `apply_layer`?"),
    ] {
        std::fs::write(dir.path().join("p.yml"), "- hosts: all\n  tasks: []\n").unwrap();
        std::fs::write(dir.path().join("empty.yml"), "").unwrap();
        let (found, said) = run(dir.path(), args).await;
        assert_eq!(found, Some(code), "{args:?}\n{said}");
        assert!(said.contains(says), "{args:?}\n{said}");
    }
}

//! A real `sshd` on loopback addresses: hosts that are machines, and nodes that are asked by SSH what they booted.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use layerplay::lab::Lab;
use layerplay::lab::scenario::Scenario;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::support::command::output;
use crate::support::played::BUILT;

pub struct Sshd {
    child: Child,
    dir: tempfile::TempDir,
    port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .status()
        .expect("`ssh-keygen` must be installed: `make deps` does it");
    assert!(made.success());
}

fn program(name: &str) -> PathBuf {
    ["/usr/sbin", "/sbin", "/usr/bin"]
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("`{name}` must be installed: `make deps` does it"))
}

impl Sshd {
    /// Listens on these addresses; with `answer`, every command is answered by that script.
    pub fn start(addresses: &[Ipv4Addr], answer: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        keygen(&at("host"));
        keygen(&at("user"));
        std::fs::copy(at("user.pub"), at("authorized")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let listen: Vec<String> = addresses
            .iter()
            .map(|address| format!("ListenAddress {address}:{port}\n"))
            .collect();
        let listen = listen.concat();
        let force = answer.map(|text| {
            std::fs::write(at("answer"), text).unwrap();
            std::fs::set_permissions(at("answer"), std::fs::Permissions::from_mode(0o755)).unwrap();
            format!("ForceCommand {}\n", at("answer").display())
        });
        let config = format!(
            "{listen}HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\n{}",
            at("host").display(),
            at("authorized").display(),
            force.unwrap_or_default()
        );
        std::fs::write(at("config"), config).unwrap();
        // Only for sshd's own privilege separation.
        std::fs::create_dir_all("/run/sshd").unwrap();
        let child = Self::spawn(dir.path());
        let sshd = Self { child, dir, port };
        let deadline = Instant::now() + Duration::from_secs(30);
        for address in addresses {
            while std::net::TcpStream::connect((*address, port)).is_err() {
                assert!(
                    Instant::now() < deadline,
                    "sshd does not come up: {}",
                    sshd.log()
                );
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        sshd
    }

    /// Starts the server of a folder.
    fn spawn(dir: &Path) -> Child {
        let mut log = std::fs::File::options();
        log.append(true).create(true);
        Command::new(program("sshd"))
            .args(["-D", "-e", "-f"])
            .arg(dir.join("config"))
            .stdout(Stdio::null())
            .stderr(log.open(dir.join("log")).unwrap())
            .spawn()
            .unwrap()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The host variables that lead here.
    pub fn variables(&self) -> Value {
        json!({
            "ansible_port": self.port, "ansible_user": "root", "ansible_host_key_checking": false,
            "ansible_ssh_private_key_file": self.dir.path().join("user"),
            "ansible_ssh_common_args": "-o UserKnownHostsFile=/dev/null",
        })
    }
}

pub async fn play(dir: &Path, inventory: &Value, playbook: &str) -> (Output, String) {
    std::fs::write(dir.join("inventory.json"), inventory.to_string()).unwrap();
    std::fs::write(dir.join("playbook.yml"), playbook).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_layerplay"));
    command
        .args(["run", "--format", "ansible", "-i"])
        .arg(dir.join("inventory.json"))
        .arg(dir.join("playbook.yml"));
    output(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_hosts() {
    let sshd = Sshd::start(&[Ipv4Addr::LOCALHOST], None);
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("a file; with 'signs' in its name");
    let mut inventory = json!({"all": {"hosts": {"one": {"ansible_host": "127.0.0.1"}, "two": {"ansible_host": "127.0.0.1"}}}});
    inventory["all"]["vars"] = sshd.variables();
    let playbook = format!(
        "
- hosts: all
  gather_facts: false
  vars: {{path: \"{0}-{{{{ inventory_hostname }}}}\"}}
  environment: {{WORD: \"a b; $(id)\"}}
  tasks:
    - command: {{argv: [touch, \"{{{{ path }}}}\"], creates: \"{{{{ path }}}}\"}}
    - shell: printf %s \"$WORD\"; exit 3
      register: out
      failed_when: out.rc != 3
    - assert: {{that: [out.stdout == 'a b; $(id)']}}
    - command: sh -c 'kill -9 $$'
      register: killed
      failed_when: false
    - assert: {{that: killed.rc == 137}}
    - command: no-such-program
      register: missing
      failed_when: missing.rc != 2
    - command: cat
      args: {{stdin: \"{{{{ inventory_hostname }}}}\"}}
      register: said
    - assert: {{that: said.stdout == inventory_hostname}}
    - command: hostname
      delegate_to: localhost
",
        made.display()
    );
    let (output, said) = play(dir.path(), &inventory, &playbook).await;
    assert!(output.status.success(), "{said}\n{}", sshd.log());
    for host in ["one", "two"] {
        assert!(
            Path::new(&format!("{}-{host}", made.display())).exists(),
            "{said}"
        );
    }

    // A port where nobody listens, by the older names, which come first.
    inventory["all"]["vars"]["ansible_host"] = json!("192.0.2.1");
    inventory["all"]["hosts"]["one"]["ansible_ssh_host"] = json!("127.0.0.1");
    inventory["all"]["hosts"]["one"]["ansible_ssh_port"] = json!(1);
    let (output, said) = play(
        dir.path(),
        &inventory,
        "- hosts: one\n  gather_facts: false\n  tasks:\n    - command: id\n",
    )
    .await;
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(
        said.contains("unreachable=1") && said.contains("via ssh"),
        "{said}"
    );
}

/// Stands for a server that wants a password: asks for it as `ssh` does, looks whether anybody else could have read it,
/// and goes on with the key.
const WANTS_PASSWORD: &str = "#!/bin/sh
case \"$*\" in *hunter2*) exit 8 ;; esac
env | grep -q hunter2 && exit 8
given=$(\"$SSH_ASKPASS\" \"root@127.0.0.1's password: \") || exit 7
\"$SSH_ASKPASS\" \"Enter passphrase for key '/root/.ssh/id': \" && exit 9
[ \"$given\" = 'hunter2 two' ] || { echo 'Permission denied (password).' >&2; exit 255; }
exec /usr/bin/ssh -i KEY \"$@\"
";

#[test]
fn a_password_is_given_to_ssh_and_to_nobody_else() {
    let sshd = Sshd::start(&[Ipv4Addr::LOCALHOST], None);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("bin")).unwrap();
    let key = sshd.dir.path().join("user");
    let shim = WANTS_PASSWORD.replace("KEY", &key.display().to_string());
    std::fs::write(at("bin/ssh"), shim).unwrap();
    std::fs::set_permissions(at("bin/ssh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(at("right"), "hunter2 two\n").unwrap();
    std::fs::write(at("wrong"), "hunter2 three\n").unwrap();
    std::fs::write(
        at("site.yml"),
        "- hosts: all\n  gather_facts: false\n  tasks: [{command: id -u}]\n",
    )
    .unwrap();
    let path = format!("{}:{}", at("bin").display(), std::env::var("PATH").unwrap());
    let run = |password: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_layerplay"))
            .args([
                "run",
                "-vvv",
                "-i",
                "127.0.0.1,",
                "-u",
                "root",
                "-T",
                "20",
                "-c",
                "ssh",
            ])
            .args([
                "--ssh-common-args",
                "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no",
            ])
            .args([
                "--ssh-extra-args",
                "-o ServerAliveInterval=7",
                "--connection-password-file",
                password,
            ])
            .arg("site.yml")
            .current_dir(dir.path())
            .env("PATH", &path)
            .env("ANSIBLE_SSH_CONTROL_PATH_DIR", at("control"))
            .env("ANSIBLE_REMOTE_PORT", sshd.port.to_string())
            .output()
            .unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (output.status.code(), text)
    };
    let (code, said) = run("right");
    assert_eq!(code, Some(0), "{said}\n{}", sshd.log());
    let (code, said) = run("wrong");
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("Permission denied"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
    // Neither the password nor a socket is left behind.
    assert_eq!(std::fs::read_dir(at("control")).unwrap().count(), 0);
}

/// `SSH_CONNECTION` has the ports of both ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_reset_is_made_anew() {
    let sshd = Sshd::start(&[Ipv4Addr::LOCALHOST], None);
    let dir = tempfile::tempdir().unwrap();
    let mut inventory = json!({"all": {"hosts": {"one": {"ansible_host": "127.0.0.1"}}}});
    inventory["all"]["vars"] = sshd.variables();
    let playbook = "
- hosts: all
  gather_facts: false
  tasks:
    - shell: echo $SSH_CONNECTION
      register: first
    - shell: echo $SSH_CONNECTION
      register: second
    - meta: reset_connection
    - shell: echo $SSH_CONNECTION
      register: third
    - meta: reset_connection
    - meta: reset_connection
    - assert:
        that:
          - first.stdout == second.stdout
          - first.stdout != third.stdout
";
    let (output, said) = play(dir.path(), &inventory, playbook).await;
    assert!(output.status.success(), "{said}\n{}", sshd.log());
}

/// Tells the test which node was asked (by the address that the connection came to) and what, and prints its answer.
const ANSWER: &str = "#!/bin/bash
read -r _ _ address _ <<<\"$SSH_CONNECTION\"
exec 3<>/dev/tcp/127.0.0.1/PORT
printf '%s\\n%s\\n' \"$address\" \"$SSH_ORIGINAL_COMMAND\" >&3
cat <&3
";

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_asked_by_ssh_when_the_inventory_says_so() {
    let lab = Lab::start(&Scenario::default()).await.unwrap();
    let cluster = lab
        .clusters
        .iter()
        .find(|cluster| cluster.group == "staging")
        .unwrap();
    let machines = Arc::clone(&cluster.machines);
    // The lab's nodes are given loopback addresses of their own.
    let nodes: kube::Api<k8s_openapi::api::core::v1::Node> = kube::Api::all(cluster.api.client());
    let mut addresses = Vec::new();
    for (at, name) in ["worker-0", "worker-1", "worker-2"].iter().enumerate() {
        let address = Ipv4Addr::new(127, 0, 0, 11 + u8::try_from(at).unwrap());
        let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": address}]}});
        nodes
            .patch_status(
                name,
                &kube::api::PatchParams::default(),
                &kube::api::Patch::Merge(status),
            )
            .await
            .unwrap();
        addresses.push((address, *name));
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let known = addresses.clone();
    let answers = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (machines, known) = (Arc::clone(&machines), known.clone());
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let (mut address, mut command) = (String::new(), String::new());
                stream.read_line(&mut address).await.unwrap();
                stream.read_line(&mut command).await.unwrap();
                let address: Ipv4Addr = address.trim().parse().unwrap();
                let (_, node) = known.iter().find(|(known, _)| *known == address).unwrap();
                let said = machines.run(node, &shlex::split(&command).unwrap());
                let text = said.map_or_else(|problem| problem, |(out, err, _)| out + &err);
                stream.get_mut().write_all(text.as_bytes()).await.unwrap();
            });
        }
    });
    let listen: Vec<Ipv4Addr> = addresses.iter().map(|(address, _)| *address).collect();
    let sshd = Sshd::start(&listen, Some(&ANSWER.replace("PORT", &port.to_string())));
    let dir = tempfile::tempdir().unwrap();
    lab.write(dir.path()).unwrap();
    let mut vars = sshd.variables();
    vars["ansible_connection"] = json!("cluster");
    vars["registry"] = json!(format!("{}/os-layers", lab.registry.address()));
    vars["kubeconfig"] = json!(dir.path().join("kubeconfig-stage-a"));
    let inventory = json!({"staging": {"hosts": {"stage-a": {}}, "vars": vars}});
    let (output, said) = play(
        dir.path(),
        &inventory,
        &[
            "
- hosts: staging
  tasks:
    - verify_layer: {pool: worker, base: true, proof: ssh}
",
            BUILT,
            "    - apply_layer: {pool: worker, image: \"{{ built.image }}\", proof: ssh}
      register: applied
    - assert:
        that:
          - applied.nodes | length == 3
          - applied.nodes | map(attribute='proof') | unique | list == ['ssh']
          - applied.nodes | selectattr('boot_id', 'equalto', '') | list | length == 0
          - applied.nodes[0].boot_id != applied.nodes[0].boot_id_before
",
        ]
        .concat(),
    )
    .await;
    assert!(output.status.success(), "{said}\n{}", sshd.log());
    answers.abort();
}

/// Ends the server, and the connection that it is called by, as a host that goes down does.
const AGAIN: &str = "#!/bin/sh
cd DIR || exit 1
echo two > boot
read -r server < pid
p=$$
while read -r _ _ _ parent _ < /proc/$p/stat && [ \"$parent\" != \"$server\" ]; do p=$parent; done
kill -9 \"$server\" \"$p\"
";

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_reboots_is_there_again() {
    let mut sshd = Sshd::start(&[Ipv4Addr::LOCALHOST], None);
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let shown = dir.path().display();
    std::fs::write(at("boot"), "one\n").unwrap();
    std::fs::write(at("again"), AGAIN.replace("DIR", &shown.to_string())).unwrap();
    std::fs::set_permissions(at("again"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(at("pid"), format!("{}\n", sshd.child.id())).unwrap();
    let mut inventory = json!({"all": {"hosts": {"one": {"ansible_host": "127.0.0.1"}}}});
    inventory["all"]["vars"] = sshd.variables();

    // What cannot reboot is told, and the time it may take is kept.
    let playbook = format!(
        "
- hosts: one
  gather_facts: false
  vars: {{boot: cat {shown}/boot}}
  tasks:
    - reboot: {{reboot_command: \"{shown}/again\", boot_time_command: \"{{{{ boot }}}}\"}}
      check_mode: true
      register: would
    - reboot: {{reboot_command: /bin/false now, boot_time_command: \"{{{{ boot }}}}\"}}
      register: refused
      ignore_errors: true
    - reboot: {{reboot_command: /bin/true, boot_time_command: \"{{{{ boot }}}}\", reboot_timeout: 1}}
      register: late
      ignore_errors: true
    - reboot:
      delegate_to: localhost
      register: here
      ignore_errors: true
    - assert:
        that:
          - would is changed and would.rebooted
          - refused is failed and not refused.rebooted and 'Reboot command failed' in refused.msg
          - late is failed and 'it has not gone down yet' in late.msg
          - here is failed and 'would reboot the control node' in here.msg
"
    );
    let (output, said) = play(dir.path(), &inventory, &playbook).await;
    assert!(output.status.success(), "{said}");

    // Whoever waits for the server sees it end, and starts it again.
    let folder = sshd.dir.path().to_owned();
    let pid = sshd.child.id();
    let mut old = std::mem::replace(&mut sshd.child, Command::new("true").spawn().unwrap());
    let restart = std::thread::spawn(move || {
        old.wait().unwrap();
        Sshd::spawn(&folder)
    });
    let playbook = format!(
        "
- hosts: one
  gather_facts: false
  tasks:
    - reboot:
        reboot_command: \"{shown}/again\"
        boot_time_command: cat {shown}/boot
        reboot_timeout: 120
        connect_timeout: 5
        test_command: test -e {shown}/boot
      register: done
    - assert: {{that: [done is changed, done.rebooted, done.elapsed is integer]}}
    - command: cat {shown}/boot
      register: boot
    - assert: {{that: [boot.stdout == 'two']}}
"
    );
    let (output, said) = play(dir.path(), &inventory, &playbook).await;
    // A play that fails before the reboot leaves the server as it is.
    if !output.status.success() {
        let _ = Command::new("kill").arg(pid.to_string()).status();
    }
    sshd.child = restart.join().unwrap();
    assert!(output.status.success(), "{said}\n{}", sshd.log());
}

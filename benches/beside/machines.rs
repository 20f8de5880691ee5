//! Machines to reach by SSH: one `sshd` for every few loopback addresses, ended with the bench.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Cost, run};

/// `sshd` listens on 16 sockets at most.
const ADDRESSES_PER_SERVER: usize = 16;
/// The commands of the tasks over SSH.
pub const COMMANDS: &[&str] = &["id -u", "uname -r", "cat /etc/os-release", "ls /", "true"];

pub struct Machines {
    servers: Vec<Child>,
    dir: tempfile::TempDir,
    port: u16,
    addresses: Vec<String>,
}

impl Drop for Machines {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
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

impl Machines {
    pub fn start(count: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        keygen(&at("host"));
        keygen(&at("user"));
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let addresses: Vec<String> = (1..=count).map(|n| format!("127.0.1.{n}")).collect();
        std::fs::create_dir_all("/run/sshd").unwrap();
        let servers = addresses
            .chunks(ADDRESSES_PER_SERVER)
            .enumerate()
            .map(|(index, addresses)| {
                let config = at(&format!("config-{index}"));
                std::fs::write(
                    &config,
                    config_of(addresses, port, &at("host"), &at("user.pub")),
                )
                .unwrap();
                Command::new("/usr/sbin/sshd")
                    .args(["-D", "-e", "-f"])
                    .arg(config)
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .expect("`sshd` must be installed: `make deps` does it")
            })
            .collect();
        let machines = Self {
            servers,
            dir,
            port,
            addresses,
        };
        for address in &machines.addresses {
            while std::net::TcpStream::connect((address.as_str(), port)).is_err() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        machines
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("user")
    }

    /// An inventory of all of them.
    pub fn inventory(&self) -> String {
        let mut text = String::new();
        for address in &self.addresses {
            let _ = writeln!(text, "{address}");
        }
        let _ = write!(
            text,
            "[all:vars]\nansible_port={}\nansible_user=root\nansible_ssh_private_key_file={}\nansible_host_key_checking=False\nansible_ssh_common_args='-o UserKnownHostsFile=/dev/null'\nansible_python_interpreter=/usr/bin/python3\n",
            self.port,
            self.key().display()
        );
        text
    }

    /// The floor of one channel a command: all hosts at once, a master each, its commands one after another.
    pub fn plain_ssh(&self) -> Cost {
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let mut script = String::from(
            "one() {\n  s=\"ssh -p $PORT -l root -i $KEY -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -S $1.sock\"\n  $s -M -N -f -o ControlPersist=yes $1\n",
        );
        for command in COMMANDS {
            let _ = writeln!(script, "  $s $1 '{command}' >/dev/null || exit 1");
        }
        script.push_str("  $s -O exit $1 2>/dev/null\n}\n");
        for address in &self.addresses {
            let _ = writeln!(script, "one {address} & p=\"$p $!\"");
        }
        script.push_str("for i in $p; do wait $i || exit 1; done\n");
        let mut command = Command::new("bash");
        command
            .args(["-c", &script])
            .env("PORT", self.port.to_string())
            .env("KEY", self.key());
        run(command, dir.path(), "plain ssh")
    }
}

fn config_of(addresses: &[String], port: u16, host: &Path, authorized: &Path) -> String {
    let mut text = String::new();
    for address in addresses {
        let _ = writeln!(text, "ListenAddress {address}:{port}");
    }
    let _ = write!(
        text,
        "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\nMaxStartups 1000\n",
        host.display(),
        authorized.display()
    );
    text
}

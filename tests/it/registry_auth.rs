//! A real `docker-registry` behind TLS with a CA of its own and token authentication: `skopeo` pushes a base image
//! there, and a playbook builds on it.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::extract::Query;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use layerplay::lab::registry::{self, release};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SigningKey,
};
use serde_json::{Value, json};

use crate::support::command::output;

const USER: &str = "pusher";
const PASSWORD: &str = "pass-word-1";

/// Certificates of a test: a CA, and what it signed for 127.0.0.1.
struct Pki {
    dir: tempfile::TempDir,
}

impl Pki {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        ca.distinguished_name
            .push(rcgen::DnType::CommonName, "test CA");
        let ca_certificate = ca.self_signed(&ca_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut server = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server = server.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
        // `skopeo` takes a folder of CAs that end in `.crt`.
        std::fs::create_dir(dir.path().join("certs")).unwrap();
        let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
        write("certs/ca.crt", ca_certificate.pem());
        write("server.crt", server.pem());
        write("server.key", key.serialize_pem());
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Gives tokens to whoever has the password, as the registry's configuration trusts them.
struct Tokens {
    key: KeyPair,
    certificate: Vec<u8>,
}

impl Tokens {
    /// A signature in DER (two integers) as JWT wants it: both of 32 bytes, one behind the other.
    fn fixed(der: &[u8]) -> Vec<u8> {
        let mut raw = Vec::new();
        let mut at = 2;
        for _ in 0..2 {
            let length = usize::from(der[at + 1]);
            let number = &der[at + 2..at + 2 + length];
            let number = &number[number.len().saturating_sub(32)..];
            raw.extend(std::iter::repeat_n(0, 32 - number.len()));
            raw.extend(number);
            at += 2 + length;
        }
        raw
    }

    fn token(&self, scopes: &[String]) -> String {
        let access: Vec<Value> = scopes
            .iter()
            .filter_map(|scope| {
                let mut parts = scope.splitn(2, ':');
                let (kind, rest) = (parts.next()?, parts.next()?);
                let (name, actions) = rest.rsplit_once(':')?;
                let actions: Vec<&str> = actions.split(',').collect();
                Some(json!({"type": kind, "name": name, "actions": actions}))
            })
            .collect();
        let now = jiff::Timestamp::now().as_second();
        let head =
            json!({"typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(&self.certificate)]});
        let claims = json!({"iss": "tokens", "sub": USER, "aud": "registry", "exp": now + 300, "nbf": now - 10,
            "iat": now, "jti": "1", "access": access});
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(head.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = self.key.sign(signed.as_bytes()).unwrap();
        format!(
            "{signed}.{}",
            URL_SAFE_NO_PAD.encode(Self::fixed(&signature))
        )
    }

    fn answer(&self, headers: &HeaderMap, query: &[(String, String)]) -> Response {
        let wanted = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        if given != Some(&wanted) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let scopes: Vec<String> = query
            .iter()
            .filter(|(name, _)| name == "scope")
            .flat_map(|(_, scopes)| scopes.split(' ').map(ToOwned::to_owned))
            .collect();
        axum::Json(json!({"token": self.token(&scopes), "expires_in": 300})).into_response()
    }
}

struct Registry {
    child: Child,
    address: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    async fn start(pki: &Pki) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(pki.path("tokens.crt"), certificate.pem()).unwrap();
        let tokens = std::sync::Arc::new(Tokens {
            key,
            certificate: certificate.der().to_vec(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let realm = format!("http://{}/token", listener.local_addr().unwrap());
        let answer = move |headers: HeaderMap, Query(query): Query<Vec<(String, String)>>| {
            let tokens = std::sync::Arc::clone(&tokens);
            async move { tokens.answer(&headers, &query) }
        };
        let router = axum::Router::new().route("/token", axum::routing::get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let address = format!("127.0.0.1:{port}");
        let config = json!({
            "version": 0.1, "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": pki.path("data")}},
            "http": {"addr": address, "tls": {"certificate": pki.path("server.crt"), "key": pki.path("server.key")}},
            "auth": {"token": {"realm": realm, "service": "registry", "issuer": "tokens", "rootcertbundle": pki.path("tokens.crt")}},
        });
        std::fs::write(pki.path("config.yml"), config.to_string()).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(pki.path("config.yml"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(pki.path("log")).unwrap())
            .spawn()
            .expect("`docker-registry` must be installed: `make deps` does it");
        let registry = Self { child, address };
        let deadline = Instant::now() + Duration::from_secs(30);
        while std::net::TcpStream::connect(&registry.address).is_err() {
            assert!(
                Instant::now() < deadline,
                "the registry does not come up: {}",
                registry.log(pki)
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        registry
    }

    fn log(&self, pki: &Pki) -> String {
        std::fs::read_to_string(pki.path("log")).unwrap_or_default() + &self.address
    }
}

fn login(path: &Path, registry: &str, password: &str) {
    let auth = STANDARD.encode(format!("{USER}:{password}"));
    // A path is nearer than its host: the login for other repositories must not be taken.
    let text = json!({"auths": {
        registry: {"auth": STANDARD.encode("nobody:wrong")},
        format!("{registry}/layers"): {"auth": auth}, format!("{registry}/base"): {"auth": auth},
    }});
    std::fs::write(path, text.to_string()).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_an_own_ca_and_tokens() {
    let pki = Pki::new();
    let registry = Registry::start(&pki).await;
    login(&pki.path("auth.json"), &registry.address, PASSWORD);
    login(&pki.path("wrong.json"), &registry.address, "pass-word-2");

    let source = registry::start(registry::Options::default()).await.unwrap();
    let spec = release::ReleaseSpec {
        version: "4.18.9".to_owned(),
        architecture: "amd64".to_owned(),
    };
    let published = release::publish(&source, &spec).unwrap();
    let digest = published.os_image.split_once('@').unwrap().1.to_owned();
    let mut skopeo = Command::new("skopeo");
    skopeo
        .args([
            "copy",
            "--preserve-digests",
            "--src-tls-verify=false",
            "--dest-cert-dir",
        ])
        .arg(pki.path("certs"))
        .args(["--dest-creds", &format!("{USER}:{PASSWORD}")])
        .arg(format!("docker://{}", published.os_image))
        .arg(format!("docker://{}/base:1", registry.address));
    let (copied, said) = output(skopeo).await;
    assert!(copied.status.success(), "{said}{}", registry.log(&pki));

    let playbook = format!(
        "
- hosts: localhost
  gather_facts: false
  vars: {{base: \"{0}/base@{digest}\"}}
  tasks:
    - layered_image:
        name: {0}/layers/hello
        tag: '1'
        base: \"{{{{ base }}}}\"
        content: |
          FROM {{{{ base }}}}
          LABEL title=hello
      register: built
    - image_info: {{image: \"{0}/layers/hello:1\"}}
      register: seen
    - assert: {{that: [seen.digest == built.digest, seen.labels.title == 'hello']}}
",
        registry.address
    );
    std::fs::write(pki.path("playbook.yml"), playbook).unwrap();
    let play = |auth: &str, ca: bool| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_layerplay"));
        command
            .args(["run", "--format", "ansible", "-i", "localhost,"])
            .args(["-e", "ansible_connection=local"])
            .arg("-e")
            .arg(if ca {
                format!("registry_ca_file={}", pki.path("certs/ca.crt").display())
            } else {
                // Any CA but the right one: it is spoken TLS, and nobody vouches for the registry.
                format!("registry_ca_file={}", pki.path("tokens.crt").display())
            })
            .arg(pki.path("playbook.yml"))
            .env("REGISTRY_AUTH_FILE", pki.path(auth));
        output(command)
    };
    let (first, said) = play("auth.json", true).await;
    assert!(
        first.status.success() && said.contains("changed=1"),
        "{said}{}",
        registry.log(&pki)
    );
    let (second, said) = play("auth.json", true).await;
    assert!(
        second.status.success() && said.contains("changed=0"),
        "{said}"
    );

    let (refused, said) = play("wrong.json", true).await;
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(
        said.contains("refuses") && !said.contains("pass-word-2"),
        "{said}"
    );
    let (stranger, said) = play("auth.json", false).await;
    assert_ne!(stranger.status.code(), Some(0), "{said}");
    assert!(said.contains("certificate"), "{said}");
}

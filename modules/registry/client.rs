//! In: image references. Out: manifests, configurations and blobs, checked; pushes, with the digest that the registry
//! reports.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indexmap::IndexMap;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Credentials, Digest, ImageRef, Login};
use crate::error::{ErrorKind, ModuleError};
use crate::secret::Secrets;

/// Manifests of one image, of both families.
const IMAGE_TYPES: &[&str] = &[
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
/// Manifests that list images by platform.
const LIST_TYPES: &[&str] = &[
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
/// A registry that answers nothing for this long is gone.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How registries are reached.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// Logins from this file and no other.
    pub auth_file: Option<PathBuf>,
    /// Certificates (PEM) that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Registries (`host:port`) that speak plain HTTP. Those on loopback do without being named, unless `ca_file` is set.
    pub insecure: Vec<String>,
}

/// Registry access of a run: one client for each repository, since logins can differ by repository.
pub struct Registries {
    options: RegistryOptions,
    credentials: Credentials,
    secrets: Arc<Secrets>,
    clients: Mutex<HashMap<String, Arc<Client>>>,
}

impl Default for Registries {
    fn default() -> Self {
        Self::new(RegistryOptions::default(), Arc::default())
    }
}

/// A layer as its manifest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerInfo {
    pub digest: Digest,
    /// Bytes, as transferred.
    pub size: u64,
    pub media_type: String,
}

/// A manifest as the registry has it.
#[derive(Debug, Clone)]
pub struct Manifest {
    pub digest: Digest,
    pub media_type: String,
    pub bytes: Vec<u8>,
    pub json: Value,
}

impl Manifest {
    /// Lists images by platform.
    pub fn is_list(&self) -> bool {
        LIST_TYPES.contains(&self.media_type.as_str())
    }

    /// The platforms of a list, as `linux/amd64`, with the manifests' digests.
    pub fn platforms(&self) -> Vec<(String, Digest)> {
        let entries = self.json["manifests"].as_array();
        entries
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let platform = &entry["platform"];
                let name = format!(
                    "{}/{}",
                    platform["os"].as_str()?,
                    platform["architecture"].as_str()?
                );
                Some((name, entry["digest"].as_str()?.parse().ok()?))
            })
            .collect()
    }

    pub fn layers(&self) -> Vec<LayerInfo> {
        let layers = self.json["layers"].as_array();
        layers
            .into_iter()
            .flatten()
            .filter_map(|layer| {
                Some(LayerInfo {
                    digest: layer["digest"].as_str()?.parse().ok()?,
                    size: layer["size"].as_u64().unwrap_or(0),
                    media_type: layer["mediaType"].as_str().unwrap_or_default().to_owned(),
                })
            })
            .collect()
    }
}

/// What a registry says about an image.
#[derive(Debug, Clone)]
pub struct ImageInfo {
    /// `name@digest`.
    pub image: ImageRef,
    /// Of the manifest or list that the reference names.
    pub digest: Digest,
    /// `linux/amd64`, ...
    pub platforms: Vec<String>,
    pub labels: IndexMap<String, String>,
    /// The steps that it was built by, as far as its builder tells them.
    pub history: Vec<String>,
    pub layers: Vec<LayerInfo>,
    /// Bytes of all layers, as transferred.
    pub size: u64,
    pub created: Option<String>,
    pub media_type: String,
}

impl Registries {
    pub fn new(options: RegistryOptions, secrets: Arc<Secrets>) -> Self {
        let credentials = options
            .auth_file
            .as_ref()
            .map_or_else(Credentials::from_environment, Credentials::from_file);
        Self {
            options,
            credentials,
            secrets,
            clients: Mutex::default(),
        }
    }

    /// The same access with the logins of a cluster's pull secret first.
    #[must_use]
    pub fn with_pull_secret(&self, dockerconfigjson: &str) -> Self {
        Self {
            options: self.options.clone(),
            credentials: self.credentials.clone().with_pull_secret(dockerconfigjson),
            secrets: Arc::clone(&self.secrets),
            clients: Mutex::default(),
        }
    }

    /// The same access with the logins of a cluster's pull secret and no others: as its nodes have it.
    #[must_use]
    pub fn with_pull_secret_alone(&self, dockerconfigjson: &str) -> Self {
        Self {
            options: self.options.clone(),
            credentials: Credentials::pull_secret(dockerconfigjson),
            secrets: Arc::clone(&self.secrets),
            clients: Mutex::default(),
        }
    }

    /// Whether there is a login for the image's repository.
    pub async fn has_login(&self, image: &ImageRef) -> bool {
        let login = self
            .credentials
            .login(&image.name(), &self.secrets, &CancellationToken::new())
            .await;
        login.is_ok_and(|login| login != Login::Anonymous)
    }

    /// True when the registry is spoken to without TLS, for builders that must be told.
    pub fn is_plain(&self, registry: &str) -> bool {
        let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
        let is_loopback = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        self.options.insecure.iter().any(|known| known == registry)
            || (is_loopback && self.options.ca_file.is_none())
    }

    /// The file with logins, for builders that must be told.
    pub fn auth_file(&self) -> Option<&PathBuf> {
        self.options.auth_file.as_ref()
    }

    fn client(&self, image: &ImageRef) -> Result<Arc<Client>, ModuleError> {
        let name = image.name();
        if let Ok(clients) = self.clients.lock()
            && let Some(client) = clients.get(&name)
        {
            return Ok(Arc::clone(client));
        }
        // The HTTP client takes the process's provider; a second call changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut extra = Vec::new();
        if let Some(path) = &self.options.ca_file {
            let data = std::fs::read(path).map_err(|problem| {
                ModuleError::failed(format!(
                    "the registry's CA `{}` cannot be read: {problem}",
                    path.display()
                ))
            })?;
            extra.push(Certificate {
                encoding: CertificateEncoding::Pem,
                data,
            });
        }
        let plain = if self.is_plain(&image.registry) {
            vec![image.registry.clone()]
        } else {
            Vec::new()
        };
        let config = ClientConfig {
            protocol: ClientProtocol::HttpsExcept(plain),
            extra_root_certificates: extra,
            use_monolithic_push: true,
            read_timeout: Some(READ_TIMEOUT),
            connect_timeout: Some(CONNECT_TIMEOUT),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|problem| {
            ModuleError::failed(format!(
                "no client for `{}` can be made: {problem}",
                image.registry
            ))
        })?;
        let client = Arc::new(client);
        if let Ok(mut clients) = self.clients.lock() {
            clients.insert(name, Arc::clone(&client));
        }
        Ok(client)
    }

    async fn open(
        &self,
        image: &ImageRef,
        operation: RegistryOperation,
    ) -> Result<(Arc<Client>, Reference), ModuleError> {
        let client = self.client(image)?;
        let login = self
            .credentials
            .login(&image.name(), &self.secrets, &CancellationToken::new())
            .await?;
        let auth = match login {
            Login::Anonymous => RegistryAuth::Anonymous,
            Login::Password { user, password } => RegistryAuth::Basic(user, password),
            Login::Token(token) => RegistryAuth::Bearer(token),
        };
        let reference = match (&image.digest, &image.tag) {
            (Some(digest), _) => Reference::with_digest(
                image.registry.clone(),
                image.repository.clone(),
                digest.to_string(),
            ),
            (None, tag) => Reference::with_tag(
                image.registry.clone(),
                image.repository.clone(),
                tag.clone().unwrap_or_else(|| "latest".to_owned()),
            ),
        };
        client
            .auth(&reference, &auth, operation)
            .await
            .map_err(|problem| told(image, "log in for", &problem))?;
        client.store_auth_if_needed(&image.registry, &auth).await;
        Ok((client, reference))
    }

    /// The manifest, or list of manifests, that a reference names. A tag is resolved by the registry; a digest is checked.
    pub async fn manifest(&self, image: &ImageRef) -> Result<Manifest, ModuleError> {
        let (client, reference) = self.open(image, RegistryOperation::Pull).await?;
        let accepted: Vec<&str> = IMAGE_TYPES.iter().chain(LIST_TYPES).copied().collect();
        let (bytes, said) = client
            .pull_manifest_raw(&reference, &RegistryAuth::Anonymous, &accepted)
            .await
            .map_err(|problem| told(image, "read", &problem))?;
        let digest = Digest::of(&bytes);
        let wanted = image.digest.as_ref().map_or(said.as_str(), Digest::as_str);
        if digest.as_str() != wanted {
            return Err(ModuleError::failed(format!(
                "`{}` sent a manifest with the digest {digest} for {wanted} of `{}`",
                image.registry, image.repository
            ))
            .hint("the registry or something between is broken, or lies; nothing of it was used"));
        }
        let json: Value = serde_json::from_slice(&bytes).map_err(|problem| {
            ModuleError::failed(format!("the manifest of `{image}` is no JSON: {problem}"))
        })?;
        let by_shape = if json["manifests"].is_array() {
            LIST_TYPES[0]
        } else {
            IMAGE_TYPES[0]
        };
        let media_type = json["mediaType"].as_str().unwrap_or(by_shape).to_owned();
        Ok(Manifest {
            digest,
            media_type,
            bytes: bytes.to_vec(),
            json,
        })
    }

    /// The manifest of one platform (`amd64`): followed through a list, whatever this machine is.
    pub async fn image_manifest(
        &self,
        image: &ImageRef,
        architecture: Option<&str>,
    ) -> Result<Manifest, ModuleError> {
        let manifest = self.manifest(image).await?;
        if !manifest.is_list() {
            return Ok(manifest);
        }
        let platforms = manifest.platforms();
        let wanted = architecture.map(|name| format!("linux/{name}"));
        let found = match &wanted {
            Some(wanted) => platforms.iter().find(|(name, _)| name == wanted),
            None => platforms
                .iter()
                .find(|(name, _)| name == "linux/amd64")
                .or(platforms.first()),
        };
        let Some((_, digest)) = found else {
            let has: Vec<&str> = platforms.iter().map(|(name, _)| name.as_str()).collect();
            return Err(ModuleError::new(
                ErrorKind::NotFound,
                format!("`{image}` has nothing for {}", wanted.unwrap_or_default()),
            )
            .hint(format!("it has: {}", has.join(", "))));
        };
        self.manifest(&image.at(digest.clone())).await
    }

    /// The image's configuration.
    pub async fn config(
        &self,
        image: &ImageRef,
        manifest: &Manifest,
    ) -> Result<Value, ModuleError> {
        let digest: Digest = manifest.json["config"]["digest"]
            .as_str()
            .ok_or_else(|| {
                ModuleError::failed(format!("the manifest of `{image}` names no configuration"))
            })?
            .parse()?;
        let bytes = self.blob(image, &digest).await?;
        serde_json::from_slice(&bytes).map_err(|problem| {
            ModuleError::failed(format!(
                "the configuration of `{image}` is no JSON: {problem}"
            ))
        })
    }

    /// A blob of the image's repository, whole.
    pub async fn blob(&self, image: &ImageRef, digest: &Digest) -> Result<Vec<u8>, ModuleError> {
        let (client, reference) = self.open(image, RegistryOperation::Pull).await?;
        let mut bytes = Vec::new();
        client
            .pull_blob(&reference, digest.as_str(), &mut bytes)
            .await
            .map_err(|problem| told(image, &format!("read blob {digest} of"), &problem))?;
        let seen = Digest::of(&bytes);
        if seen != *digest {
            return Err(ModuleError::failed(format!(
                "`{}` sent a blob with the digest {seen} for {digest}",
                image.registry
            )));
        }
        Ok(bytes)
    }

    /// What the registry says about an image.
    pub async fn inspect(&self, image: &ImageRef) -> Result<ImageInfo, ModuleError> {
        let top = self.manifest(image).await?;
        let (manifest, mut platforms) = if top.is_list() {
            let platforms = top.platforms().into_iter().map(|(name, _)| name).collect();
            (
                self.image_manifest(&image.at(top.digest.clone()), None)
                    .await?,
                platforms,
            )
        } else {
            (top.clone(), Vec::new())
        };
        let config = self.config(image, &manifest).await?;
        if platforms.is_empty() {
            let part = |key: &str| config[key].as_str().unwrap_or("unknown").to_owned();
            platforms.push(format!("{}/{}", part("os"), part("architecture")));
        }
        let labels = config["config"]["Labels"].as_object();
        let history = config["history"].as_array().into_iter().flatten();
        let history = history.filter_map(|step| step["created_by"].as_str());
        let layers = manifest.layers();
        Ok(ImageInfo {
            image: image.at(top.digest.clone()),
            digest: top.digest,
            platforms,
            labels: labels
                .into_iter()
                .flatten()
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect(),
            history: history.map(ToOwned::to_owned).collect(),
            size: layers.iter().map(|layer| layer.size).sum(),
            layers,
            created: config["created"].as_str().map(ToOwned::to_owned),
            media_type: manifest.media_type,
        })
    }

    /// Puts a blob into the image's repository unless it is there.
    pub async fn push_blob(&self, image: &ImageRef, bytes: Vec<u8>) -> Result<Digest, ModuleError> {
        let digest = Digest::of(&bytes);
        let (client, reference) = self.open(image, RegistryOperation::Push).await?;
        let fail = |problem: OciDistributionError| {
            told(image, &format!("push blob {digest} to"), &problem)
        };
        if client
            .blob_exists(&reference, digest.as_str())
            .await
            .map_err(fail)?
        {
            return Ok(digest);
        }
        client
            .push_blob(&reference, bytes, digest.as_str())
            .await
            .map_err(fail)?;
        Ok(digest)
    }

    /// Puts a blob of another repository into this one: by a mount when both are in one registry, else by its bytes.
    pub async fn copy_blob(
        &self,
        from: &ImageRef,
        to: &ImageRef,
        digest: &Digest,
    ) -> Result<(), ModuleError> {
        let (client, target) = self.open(to, RegistryOperation::Push).await?;
        if client
            .blob_exists(&target, digest.as_str())
            .await
            .map_err(|problem| told(to, &format!("look for blob {digest} in"), &problem))?
        {
            return Ok(());
        }
        if from.registry == to.registry {
            let (_, source) = self.open(from, RegistryOperation::Pull).await?;
            // A registry may refuse to mount; then the bytes are carried.
            if client
                .mount_blob(&target, &source, digest.as_str())
                .await
                .is_ok()
                && client
                    .blob_exists(&target, digest.as_str())
                    .await
                    .unwrap_or(false)
            {
                return Ok(());
            }
        }
        let bytes = self.blob(from, digest).await?;
        self.push_blob(to, bytes).await.map(|_| ())
    }

    /// Puts a manifest under the image's tag (or digest). Returns the digest that the registry reports for it; one that
    /// differs from what was sent is an error.
    pub async fn push_manifest(
        &self,
        image: &ImageRef,
        bytes: Vec<u8>,
        media_type: &str,
    ) -> Result<Digest, ModuleError> {
        let (client, reference) = self.open(image, RegistryOperation::Push).await?;
        let sent = Digest::of(&bytes);
        let header = http::HeaderValue::from_str(media_type).map_err(|problem| {
            ModuleError::failed(format!("media type `{media_type}`: {problem}"))
        })?;
        client
            .push_manifest_raw(&reference, bytes, header)
            .await
            .map_err(|problem| told(image, "push", &problem))?;
        let reported = self.manifest(image).await?.digest;
        if reported != sent {
            return Err(ModuleError::new(
                ErrorKind::Conflict,
                format!("`{image}` was pushed as {sent}, and the registry now has {reported}"),
            )
            .hint("something else pushes to this tag; give every build a tag of its own"));
        }
        Ok(reported)
    }
}

/// A registry's error, with who, what and the server's own words.
fn told(image: &ImageRef, what: &str, problem: &OciDistributionError) -> ModuleError {
    let place = format!("cannot {what} `{image}`");
    let unauthorized = || {
        ModuleError::new(
            ErrorKind::Forbidden,
            format!("{place}: `{}` refuses: not authorized", image.registry),
        )
        .hint(format!(
            "log in with `podman login {}`, with rights on `{}`",
            image.registry, image.repository
        ))
    };
    match problem {
        OciDistributionError::UnauthorizedError { .. }
        | OciDistributionError::AuthenticationFailure(_)
        | OciDistributionError::ServerError {
            code: 401 | 403, ..
        } => unauthorized(),
        OciDistributionError::ImageManifestNotFoundError(_)
        | OciDistributionError::ServerError { code: 404, .. } => ModuleError::new(
            ErrorKind::NotFound,
            format!("{place}: `{}` has no such image", image.registry),
        )
        .hint("look for it with `skopeo inspect`, and check the digest or tag"),
        OciDistributionError::RegistryError { envelope, .. } => {
            let said: Vec<String> = envelope
                .errors
                .iter()
                .map(|error| {
                    format!("{:?} {}", error.code, error.message)
                        .trim()
                        .to_owned()
                })
                .collect();
            let text = said.join("; ");
            let has = |word: &str| text.contains(word);
            if has("Unauthorized") || has("Denied") {
                unauthorized()
            } else if has("ManifestUnknown")
                || has("NameUnknown")
                || has("BlobUnknown")
                || has("NotFound")
            {
                ModuleError::new(
                    ErrorKind::NotFound,
                    format!("{place}: `{}` has no such image: {text}", image.registry),
                )
                .hint("look for it with `skopeo inspect`, and check the digest or tag")
            } else {
                ModuleError::failed(format!("{place}: `{}` says: {text}", image.registry))
            }
        }
        OciDistributionError::RequestError(inner) => {
            let mut said = inner.to_string();
            let mut source = std::error::Error::source(inner);
            while let Some(cause) = source {
                said = cause.to_string();
                source = cause.source();
            }
            match inner.status().map(|status| status.as_u16()) {
                Some(401 | 403) => unauthorized(),
                Some(404) => ModuleError::new(ErrorKind::NotFound, format!("{place}: `{}` has no such image", image.registry)),
                // The host of the task was reached: it is not `unreachable` because of its registry.
                _ => ModuleError::failed(format!("{place}: `{}` cannot be reached: {said}", image.registry))
                    .hint("check the name and port, and whether it speaks HTTPS; plain HTTP must be allowed with `registry_insecure`"),
            }
        }
        other => ModuleError::failed(format!("{place}: {other}")),
    }
}

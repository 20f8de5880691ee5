//! In: a container and a command. Out: what the command printed and how it ended, or why it could not be run.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{Api, AttachParams};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::connection::Cluster;
use crate::error::{ErrorKind, ModuleError};

/// A command that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub end: End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The command's own status.
    Status(i64),
    /// It was not started, or the way to the container broke; in the cluster's words.
    Refused(String),
}

async fn all(stream: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Runs a command in a container to its end.
pub async fn run(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    container: &str,
    command: Vec<String>,
) -> Result<Ran, ModuleError> {
    let what = format!("run a command in pod `{pod}`");
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let attach = AttachParams::default()
        .container(container)
        .stdout(true)
        .stderr(true);
    let mut process = pods
        .exec(pod, command, &attach)
        .await
        .map_err(|problem| cluster.told(&what, &problem))?;
    let (out, err) = (process.stdout(), process.stderr());
    let (stdout, stderr) = tokio::join!(all(out), all(err));
    let status = match process.take_status() {
        Some(status) => status.await,
        None => None,
    };
    let lost = |problem: std::io::Error| {
        let message = format!("cannot {what}: the connection was lost: {problem}");
        ModuleError::new(ErrorKind::Unreachable, message)
    };
    let (stdout, stderr) = (stdout.map_err(lost)?, stderr.map_err(lost)?);
    // Without a status the stream ended early: whether the command did, nobody knows.
    let Some(status) = status else {
        let message = format!("cannot {what}: the connection ended before the command did");
        return Err(ModuleError::new(ErrorKind::Unreachable, message));
    };
    Ok(Ran {
        stdout,
        stderr,
        end: end(status),
    })
}

fn end(status: Status) -> End {
    if status.status.as_deref() == Some("Success") {
        return End::Status(0);
    }
    let causes = status.details.and_then(|details| details.causes);
    let code = causes.into_iter().flatten().find_map(|cause| {
        let is_code = cause.reason.as_deref() == Some("ExitCode");
        cause.message.filter(|_| is_code)?.parse().ok()
    });
    // Any other reason speaks of the way to the container, not of the command in it.
    match code.filter(|_| status.reason.as_deref() == Some("NonZeroExitCode")) {
        Some(code) => End::Status(code),
        None => End::Refused(status.message.unwrap_or_default()),
    }
}

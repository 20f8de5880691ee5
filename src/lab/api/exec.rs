//! An upgraded `pods/exec` connection in, a command run by the lab's handler and its streams and exit status out.
//! Protocols: `v4.channel.k8s.io` and `v5.channel.k8s.io`, where the first byte of each message names the stream.

use super::request::{Query, Target};
use super::rules::text;
use super::status::ApiError;
use super::store::Store;
use async_trait::async_trait;
use axum::body::Bytes;
use axum::extract::FromRequestParts as _;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
/// v5 only: the next byte names the stream that is closed.
const CLOSE: u8 = 255;
/// Output is cut into messages of this size, as the kubelet does about.
const CHUNK: usize = 32 * 1024;

/// A command to run in a container.
#[derive(Debug)]
pub struct ExecRequest {
    pub namespace: String,
    pub pod: String,
    /// The named one, or the pod's first.
    pub container: String,
    pub command: Vec<String>,
    pub tty: bool,
    pub stdin: Stdin,
}

/// What the client sends to the command; empty when the client opened no stdin.
#[derive(Debug)]
pub struct Stdin(Option<mpsc::Receiver<Bytes>>);

impl Stdin {
    /// No input at all.
    pub fn empty() -> Self {
        Self(None)
    }

    /// The next piece; `None` at the end.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.0.as_mut()?.recv().await
    }

    /// Everything up to the end. With v4 the end is the end of the connection.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(piece) = self.next().await {
            all.extend_from_slice(&piece);
        }
        all
    }
}

/// What came of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOutput {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// The exit status; 0 is success.
    pub exit_status: i32,
}

/// Who runs commands in the lab's pods.
#[async_trait]
pub trait ExecHandler: Send + Sync {
    /// Runs a command. An error means that it could not be started (no such container, node gone), as text for the client.
    async fn exec(&self, request: ExecRequest) -> Result<ExecOutput, String>;
}

/// Upgrades the connection and runs the command behind it.
pub async fn upgrade(
    store: &Store,
    handler: Option<Arc<dyn ExecHandler>>,
    target: &Target,
    name: &str,
    query: &Query,
    parts: &mut http::request::Parts,
) -> Result<Response, ApiError> {
    let pod = store
        .get(target.resource, &target.namespace, name)
        .ok_or_else(|| ApiError::not_found(target.resource, name))?;
    let containers: Vec<&str> = ["containers", "initContainers", "ephemeralContainers"]
        .into_iter()
        .filter_map(|list| pod.get("spec")?.get(list)?.as_array())
        .flatten()
        .map(|container| text(container, "/name"))
        .collect();
    let container = match query.get("container") {
        "" => containers.first().copied().unwrap_or_default(),
        wanted if containers.contains(&wanted) => wanted,
        wanted => {
            return Err(ApiError::bad_request(format!(
                "container {wanted} is not valid for pod {name}"
            )));
        }
    };
    if text(&pod, "/spec/nodeName").is_empty() {
        return Err(ApiError::bad_request(format!(
            "pod {name} does not have a host assigned"
        )));
    }
    let command = query.all("command");
    if command.is_empty() {
        return Err(ApiError::bad_request(
            "you must specify at least 1 command for the container",
        ));
    }
    if matches!(text(&pod, "/status/phase"), "Succeeded" | "Failed") {
        let message = format!(
            "cannot exec into a container in a completed pod; current phase is {}",
            text(&pod, "/status/phase")
        );
        return Err(ApiError::bad_request(message));
    }
    let Some(handler) = handler else {
        return Err(ApiError::internal(
            "error dialing backend: no kubelet answers",
        ));
    };
    let upgrade = WebSocketUpgrade::from_request_parts(parts, &())
        .await
        .map_err(|_| ApiError::bad_request("Upgrade request required"))?;
    let upgrade = upgrade.protocols(["v5.channel.k8s.io", "v4.channel.k8s.io"]);
    let (namespace, pod, container) = (
        target.namespace.clone(),
        name.to_owned(),
        container.to_owned(),
    );
    let (tty, stdin) = (query.flag("tty"), query.flag("stdin"));
    Ok(upgrade.on_upgrade(move |socket| async move {
        let (input, stdin) = if stdin {
            let (sender, receiver) = mpsc::channel(16);
            (Some(sender), Stdin(Some(receiver)))
        } else {
            (None, Stdin::empty())
        };
        serve(
            socket,
            handler,
            ExecRequest {
                namespace,
                pod,
                container,
                command,
                tty,
                stdin,
            },
            input,
        )
        .await;
    }))
}

/// Feeds stdin to the handler until it answers, then sends the streams, the status and the close.
async fn serve(
    mut socket: WebSocket,
    handler: Arc<dyn ExecHandler>,
    request: ExecRequest,
    input: Option<mpsc::Sender<Bytes>>,
) {
    let mut input = input;
    let run = handler.exec(request);
    tokio::pin!(run);
    let mut open = true;
    let result = loop {
        tokio::select! {
            result = &mut run => break result,
            message = socket.recv(), if open => match message {
                Some(Ok(Message::Binary(bytes))) => match (bytes.first().copied(), bytes.get(1).copied()) {
                    (Some(STDIN), Some(_)) => {
                        // A handler that reads no stdin must not stop us from seeing its answer.
                        if let Some(sender) = &input {
                            tokio::select! {
                                result = &mut run => break result,
                                _ = sender.send(bytes.slice(1..)) => {}
                            }
                        }
                    }
                    (Some(CLOSE), Some(STDIN)) => input = None,
                    _ => {}
                },
                Some(Ok(Message::Close(_)) | Err(_)) | None => {
                    input = None;
                    open = false;
                }
                Some(Ok(_)) => {}
            },
        }
    };
    let (output, status) = match result {
        Ok(output) => {
            let status = exit_status(output.exit_status);
            (output, status)
        }
        Err(why) => (
            ExecOutput::default(),
            ApiError::internal(format!("error executing command in container: {why}")).to_value(),
        ),
    };
    for (channel, data) in [(STDOUT, &output.stdout), (STDERR, &output.stderr)] {
        for piece in data.chunks(CHUNK) {
            if send(&mut socket, channel, piece).await.is_none() {
                return;
            }
        }
    }
    if send(&mut socket, ERROR, status.to_string().as_bytes())
        .await
        .is_some()
    {
        // The client may be gone already; there is nothing left to tell it.
        let _ = socket
            .send(Message::Close(Some(CloseFrame {
                code: close_code::NORMAL,
                reason: "".into(),
            })))
            .await;
    }
}

async fn send(socket: &mut WebSocket, channel: u8, data: &[u8]) -> Option<()> {
    let mut message = Vec::with_capacity(data.len() + 1);
    message.push(channel);
    message.extend_from_slice(data);
    socket.send(Message::Binary(message.into())).await.ok()
}

fn exit_status(code: i32) -> Value {
    if code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}

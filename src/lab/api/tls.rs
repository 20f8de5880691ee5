//! A listener in, a listener that speaks TLS out: kubectl sends tokens over TLS only (client-go drops them otherwise).

use super::power::Power;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A client that does not finish its handshake in this time is let go.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The identity of a server, made for this run.
pub(super) struct Identity {
    /// PEM; clients trust it as it is.
    pub(super) certificate: String,
    acceptor: TlsAcceptor,
}

impl Identity {
    pub(super) fn new() -> io::Result<Self> {
        let made =
            rcgen::generate_simple_self_signed(["127.0.0.1".to_owned(), "localhost".to_owned()])
                .map_err(io::Error::other)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .map_err(io::Error::other)?;
        Ok(Self {
            certificate: made.cert.pem(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }
}

/// Connections whose handshake is done.
pub(super) struct Listener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl Listener {
    /// Shakes hands beside each other: one slow client must not hold up the rest.
    pub(super) fn new(
        listener: TcpListener,
        identity: &Identity,
        power: Arc<Power>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (send, ready) = mpsc::channel(64);
        let acceptor = identity.acceptor.clone();
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = send.closed() => return,
                };
                let Ok((stream, peer)) = accepted else {
                    // Out of descriptors: some will be free in a moment.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                if power.is_down() {
                    // Closed without a word, as a balancer does that has no server.
                    continue;
                }
                // Watches send small pieces that somebody waits for.
                let _ = stream.set_nodelay(true);
                let (acceptor, send) = (acceptor.clone(), send.clone());
                tokio::spawn(async move {
                    if let Ok(Ok(stream)) =
                        tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await
                    {
                        // Nobody to take it: the server has ended.
                        let _ = send.send((stream, peer)).await;
                    }
                });
            }
        });
        Ok(Self { ready, address })
    }
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}

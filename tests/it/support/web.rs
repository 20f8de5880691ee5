//! A web server of a test: it listens on loopback, answers by a function, and remembers what it was asked. It ends with
//! the value that holds it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What it was asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// What it answers.
pub(crate) struct Told {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Told {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

pub(crate) struct Web {
    pub(crate) port: u16,
    /// The certificate of a server that speaks TLS, as PEM.
    pub(crate) certificate: String,
    is_over: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<Asked>>>,
    thread: Option<JoinHandle<()>>,
}

fn serve(
    stream: impl Read + Write,
    answer: &dyn Fn(&Asked) -> Told,
    all: &Mutex<Vec<Asked>>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let mut asked = Asked {
        method: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
        ..Asked::default()
    };
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        let pair = (name.to_owned(), value.trim().to_owned());
        asked.headers.push(pair);
    }
    let length = asked.header("content-length").unwrap_or("0").parse().ok()?;
    asked.body = vec![0; length];
    stream.read_exact(&mut asked.body).ok()?;
    let told = answer(&asked);
    let has_body = asked.method != "HEAD" && told.status != 304;
    all.lock().unwrap().push(asked);
    let mut text = format!("HTTP/1.1 {} Said\r\nConnection: close\r\n", told.status);
    for (name, value) in &told.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n", told.body.len()));
    let out = stream.get_mut();
    out.write_all(text.as_bytes()).ok()?;
    if has_body {
        out.write_all(&told.body).ok()?;
    }
    out.flush().ok()
}

impl Web {
    pub(crate) fn start(answer: impl Fn(&Asked) -> Told + Send + 'static) -> Self {
        Self::listen(None, String::new(), answer)
    }

    /// With TLS, and a certificate of its own for `127.0.0.1`.
    pub(crate) fn start_tls(answer: impl Fn(&Asked) -> Told + Send + 'static) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        Self::listen(Some(Arc::new(config)), made.cert.pem(), answer)
    }

    fn listen(
        tls: Option<Arc<rustls::ServerConfig>>,
        certificate: String,
        answer: impl Fn(&Asked) -> Told + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_over = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (over, all) = (Arc::clone(&is_over), Arc::clone(&asked));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                match &tls {
                    None => serve(stream, &answer, &all),
                    Some(config) => {
                        let server = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
                        let mut stream = rustls::StreamOwned::new(server, stream);
                        let done = serve(&mut stream, &answer, &all);
                        stream.conn.send_close_notify();
                        let _ = stream.flush();
                        done
                    }
                };
            }
        });
        Self {
            port,
            certificate,
            is_over,
            asked,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if self.certificate.is_empty() {
            "http"
        } else {
            "https"
        };
        format!("{scheme}://127.0.0.1:{}{path}", self.port)
    }

    /// What it was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

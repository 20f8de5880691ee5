//! Lookups that ask a web server, as `uri` does on this machine.

use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;
use layerplay_modules::ModuleError;
use layerplay_modules::catalogue;
use layerplay_modules::platform::Silent;
use serde_json::{Map, json};
use tokio_util::sync::CancellationToken;

use super::super::{Connect, Wanted};
use super::{Found, Options, texts};
use crate::template::{LookupCall, Value};

/// What the server answers: its lines, or with `split_lines=false` one text.
pub(super) fn url(call: &LookupCall, connect: &Arc<dyn Connect>) -> Found {
    // Name here, argument of `uri`.
    const ARGUMENTS: &[(&str, &str)] = &[
        ("validate_certs", "validate_certs"),
        ("use_proxy", "use_proxy"),
        ("username", "url_username"),
        ("password", "url_password"),
        ("headers", "headers"),
        ("force", "force"),
        ("timeout", "timeout"),
        ("http_agent", "http_agent"),
        ("force_basic_auth", "force_basic_auth"),
        ("use_gssapi", "use_gssapi"),
        ("use_netrc", "use_netrc"),
        ("unix_socket", "unix_socket"),
        ("ca_path", "ca_path"),
        ("ciphers", "ciphers"),
        ("unredirected_headers", "unredirected_headers"),
    ];
    let mut known: Vec<&str> = ARGUMENTS.iter().map(|(name, _)| *name).collect();
    known.extend(["split_lines", "follow_redirects"]);
    let options = Options::of(call, &known)?;
    let follow = match options.text("follow_redirects", "urllib2").as_str() {
        "urllib" => "urllib2".to_owned(),
        other => other.to_owned(),
    };
    let mut found = Vec::new();
    for address in texts(call)? {
        let mut args = Map::from_iter([
            ("url".to_owned(), json!(address)),
            ("return_content".to_owned(), json!(true)),
            ("follow_redirects".to_owned(), json!(follow)),
            ("timeout".to_owned(), json!(10)),
        ]);
        for (name, argument) in ARGUMENTS {
            if let Some(value) = options.get(name) {
                args.insert((*argument).to_owned(), json!(value));
            }
        }
        let content = ask(args, connect).map_err(|problem| format!("url: {problem}"))?;
        if options.flag("split_lines", true) {
            found.extend(content.lines().map(Value::from));
        } else {
            found.push(Value::from(content));
        }
    }
    Ok(found)
}

/// Runs `uri` on this machine. Templates are evaluated where nobody can wait, so that the waiting has a thread of its own.
fn ask(args: Map<String, serde_json::Value>, connect: &Arc<dyn Connect>) -> Result<String, String> {
    let connect = Arc::clone(connect);
    let answered = std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|problem| problem.to_string())?
            .block_on(uri(args, connect.as_ref()))
            .map_err(|problem| {
                let hint = problem.hint.as_deref();
                let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
                format!("{problem}{hint}")
            })
    });
    answered
        .join()
        .unwrap_or_else(|_| Err("the request ended".to_owned()))
}

async fn uri(
    args: Map<String, serde_json::Value>,
    connect: &dyn Connect,
) -> Result<String, ModuleError> {
    let platform = connect
        .platform(Wanted {
            host: "localhost".to_owned(),
            connection: "local".to_owned(),
            variables: IndexMap::new(),
            privilege: None,
            environment: IndexMap::new(),
            check: false,
            diff: false,
            base_dir: PathBuf::new(),
            progress: Arc::new(Silent),
            cancel: CancellationToken::new(),
        })
        .await?;
    let module = catalogue::native()
        .into_iter()
        .find(|module| module.info().name == "uri")
        .ok_or_else(|| ModuleError::failed("there is no module `uri`"))?;
    let change = module.inspect(args, &platform).await?;
    let outcome = module.apply(change, &platform).await?;
    let content = outcome.result.get("content");
    Ok(content
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default()
        .to_owned())
}

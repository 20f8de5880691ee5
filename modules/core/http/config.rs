//! In: a request. Out: what `curl`, GNU `wget` and other `wget`s read of it, as text of their configuration.

use super::{Body, Request};

/// Text in double quotes, as a configuration of curl has it.
fn quoted(text: &str) -> String {
    let mut all = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => all.push_str("\\\""),
            '\\' => all.push_str("\\\\"),
            '\n' => all.push_str("\\n"),
            '\r' => all.push_str("\\r"),
            '\t' => all.push_str("\\t"),
            other => all.push(other),
        }
    }
    all.push('"');
    all
}

/// For `curl -K -`. A body of bytes is added by the script, which knows where it is.
pub(super) fn curl(request: &Request) -> String {
    let options = &request.options;
    let mut lines: Vec<String> = ["silent", "show-error", "globoff"]
        .map(str::to_owned)
        .to_vec();
    let mut set = |name: &str, value: &str| lines.push(format!("{name} = {}", quoted(value)));
    set("url", request.url.as_str());
    set("user-agent", &options.agent);
    set("connect-timeout", &options.timeout.to_string());
    // No progress for so long: a download as a whole may take longer.
    set("speed-time", &options.timeout.to_string());
    set("speed-limit", "1");
    let is_plain = request.method == "GET" && request.body.is_none();
    if !is_plain && request.method != "HEAD" {
        set("request", &request.method);
    }
    match &request.body {
        Some(Body::Host(path)) => set("data-binary", &format!("@{path}")),
        // As Python does: these say that nothing follows.
        None if matches!(request.method.as_str(), "POST" | "PUT" | "PATCH") => {
            set("data-binary", "");
            if !super::has(&request.headers, "content-type") {
                set("header", "Content-Type:");
            }
        }
        // The script adds what it has put into a file.
        Some(Body::Bytes(_)) | None => {}
    }
    for (name, value) in &request.headers {
        // An empty value would take the header away.
        let line = if value.is_empty() {
            format!("{name};")
        } else {
            format!("{name}: {value}")
        };
        set("header", &line);
    }
    set("header", "Expect:");
    if options.decompress && !super::has(&request.headers, "accept-encoding") {
        // What comes packed without having been asked for is unpacked.
        set("header", "Accept-Encoding: identity");
    }
    if let Some(user) = &options.user {
        let password = options.password.as_deref().unwrap_or_default();
        set("user", &format!("{user}:{password}"));
    }
    for (name, value) in [
        ("cacert", &options.ca_path),
        ("cert", &options.client_cert),
        ("key", &options.client_key),
        ("unix-socket", &options.unix_socket),
    ] {
        if let Some(value) = value {
            set(name, value);
        }
    }
    if !options.ciphers.is_empty() {
        set("ciphers", &options.ciphers.join(":"));
    }
    if !options.use_proxy {
        set("noproxy", "*");
    }
    let mut flag = |is_set: bool, name: &str| {
        if is_set {
            lines.push(name.to_owned());
        }
    };
    flag(request.method == "HEAD", "head");
    flag(options.decompress, "compressed");
    flag(!options.validate, "insecure");
    flag(
        options.use_netrc && options.user.is_none(),
        "netrc-optional",
    );
    flag(options.user.is_some() && options.force_basic, "basic");
    flag(options.user.is_some() && !options.force_basic, "anyauth");
    lines.join("\n")
}

/// Why `wget` cannot make a request.
fn refusal(request: &Request) -> Option<&'static str> {
    let options = &request.options;
    if !request.may_use_wget {
        Some("only `curl` can make it")
    } else if request.method != "GET" || request.body.is_some() {
        Some("`wget` only downloads")
    } else if options.unix_socket.is_some() {
        Some("`wget` knows no `unix_socket`")
    } else {
        None
    }
}

/// For `wget --config`; with `!` before it, why it cannot be done with it.
pub(super) fn wget(request: &Request) -> String {
    if let Some(why) = refusal(request) {
        return format!("!{why}");
    }
    let options = &request.options;
    let on = |flag: bool| if flag { "on" } else { "off" };
    let mut lines = vec![
        "tries = 1".to_owned(),
        "max_redirect = 0".to_owned(),
        "content_on_error = on".to_owned(),
        format!("timeout = {}", options.timeout),
        format!("user_agent = {}", options.agent),
        format!("check_certificate = {}", on(options.validate)),
        format!("use_proxy = {}", on(options.use_proxy)),
        format!("netrc = {}", on(options.use_netrc)),
    ];
    for (name, value) in &request.headers {
        lines.push(format!("header = {name}: {value}"));
    }
    for (name, value) in [
        ("user", &options.user),
        ("password", &options.password),
        ("ca_certificate", &options.ca_path),
        ("certificate", &options.client_cert),
        ("private_key", &options.client_key),
    ] {
        if let Some(value) = value {
            if value.contains('\n') {
                return format!("!`wget` takes no `{name}` of several lines");
            }
            lines.push(format!("{name} = {value}"));
        }
    }
    if options.user.is_some() && options.force_basic {
        lines.push("auth_no_challenge = on".to_owned());
    }
    if !options.ciphers.is_empty() {
        lines.push(format!("ciphers = {}", options.ciphers.join(":")));
    }
    lines.join("\n")
}

/// For any other `wget`, which reads no configuration: its options, or with `!` before it why it cannot be done.
pub(super) fn plain(request: &Request) -> String {
    if let Some(why) = refusal(request) {
        return format!("!{why}");
    }
    let options = &request.options;
    let secret = options.user.is_some()
        || options.password.is_some()
        || !request.headers.is_empty()
        || options.client_cert.is_some();
    if secret {
        return "!this `wget` takes headers, users and passwords on its command line only, where everybody sees them".to_owned();
    }
    if options.ca_path.is_some() || !options.ciphers.is_empty() || !options.use_proxy {
        return "!this `wget` knows no `ca_path`, `ciphers` or `use_proxy`".to_owned();
    }
    let insecure = if options.validate {
        ""
    } else {
        "--no-check-certificate"
    };
    format!("-T {} {insecure}", options.timeout)
}

//! A request's method, path and query in, what it asks of which resource out.

use super::resources::{self, Resource};
use super::status::ApiError;
use http::Method;
use std::collections::HashMap;

/// A resource path, taken apart.
#[derive(Debug, Clone)]
pub struct Target {
    pub resource: &'static Resource,
    /// Empty for cluster scope and for lists over all namespaces.
    pub namespace: String,
    pub name: Option<String>,
    pub subresource: Option<String>,
}

/// What a request is about, for exec handlers, fault hooks and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestInfo {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or the HTTP method in lower case
    /// for paths that are no resource.
    pub verb: String,
    /// The whole path.
    pub path: String,
    /// `nodes`, empty for paths that are no resource.
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    /// Came over the socket. What plays the cluster calls in process.
    pub outside: bool,
}

/// Query parameters, decoded.
#[derive(Debug, Clone, Default)]
pub struct Query(HashMap<String, Vec<String>>);

impl Query {
    pub fn parse(text: &str) -> Self {
        let mut found: HashMap<String, Vec<String>> = HashMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            found.entry(decode(key)).or_default().push(decode(value));
        }
        Self(found)
    }

    /// The first value of a parameter, empty when absent.
    pub fn get(&self, key: &str) -> &str {
        self.0
            .get(key)
            .and_then(|values| values.first())
            .map_or("", String::as_str)
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub fn flag(&self, key: &str) -> bool {
        matches!(self.get(key), "true" | "1" | "True" | "t")
    }

    pub fn all(&self, key: &str) -> Vec<String> {
        self.0.get(key).cloned().unwrap_or_default()
    }
}

/// Percent decoding with `+` as a space; malformed escapes stay as they are.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        if let Some(value) = escaped {
            out.push(value);
            at += 3;
        } else {
            out.push(if byte == b'+' { b' ' } else { byte });
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Takes a path under `/api` or `/apis` apart. `None` when it names no resource at all (discovery and the like).
pub fn target(path: &str) -> Option<Result<Target, ApiError>> {
    let parts: Vec<String> = path
        .split('/')
        .filter(|part| !part.is_empty())
        .map(decode)
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (group, version, rest) = match parts.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
        _ => return None,
    };
    // `namespaces/x/status` is the namespace's own subresource; `namespaces/x/pods` is a list inside it.
    let (namespace, rest) = match rest {
        ["namespaces", namespace, inner @ ..]
            if !inner.is_empty() && !matches!(inner, ["status" | "finalize"]) =>
        {
            (*namespace, inner)
        }
        other => ("", other),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (*plural, None, None),
        [plural, name] => (*plural, Some((*name).to_owned()), None),
        [plural, name, sub] => (*plural, Some((*name).to_owned()), Some((*sub).to_owned())),
        _ => return Some(Err(ApiError::no_such_path())),
    };
    let Some(resource) = resources::find(group, version, plural) else {
        return Some(Err(ApiError::no_such_path()));
    };
    if (!namespace.is_empty() && !resource.namespaced)
        || (name.is_some() && namespace.is_empty() && resource.namespaced)
    {
        return Some(Err(ApiError::no_such_path()));
    }
    Some(Ok(Target {
        resource,
        namespace: namespace.to_owned(),
        name,
        subresource,
    }))
}

/// The verb that RBAC would name.
pub fn verb(method: &Method, query: &Query, named: bool) -> String {
    match *method {
        Method::GET if query.flag("watch") => "watch",
        Method::GET if named => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if named => "delete",
        Method::DELETE => "deletecollection",
        _ => return method.as_str().to_ascii_lowercase(),
    }
    .to_owned()
}

/// Everything a hook wants to know of a request.
pub fn info(method: &Method, path: &str, query: &Query) -> RequestInfo {
    match target(path) {
        Some(Ok(target)) => RequestInfo {
            verb: verb(method, query, target.name.is_some()),
            path: path.to_owned(),
            resource: target.resource.plural.to_owned(),
            subresource: target.subresource.unwrap_or_default(),
            namespace: target.namespace,
            name: target.name.unwrap_or_default(),
            outside: false,
        },
        _ => RequestInfo {
            verb: method.as_str().to_ascii_lowercase(),
            path: path.to_owned(),
            resource: String::new(),
            subresource: String::new(),
            namespace: String::new(),
            name: String::new(),
            outside: false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> (String, String, Option<String>, Option<String>) {
        let found = target(path).unwrap().unwrap();
        (
            found.resource.plural.to_owned(),
            found.namespace,
            found.name,
            found.subresource,
        )
    }

    #[test]
    fn paths_are_taken_apart() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            at("/api/v1/nodes/w0/status"),
            ("nodes".into(), String::new(), some("w0"), some("status"))
        );
        assert_eq!(
            at("/api/v1/namespaces/a/pods"),
            ("pods".into(), "a".into(), None, None)
        );
        assert_eq!(
            at("/api/v1/namespaces/a"),
            ("namespaces".into(), String::new(), some("a"), None)
        );
        assert_eq!(
            at("/api/v1/namespaces/a/status"),
            (
                "namespaces".into(),
                String::new(),
                some("a"),
                some("status")
            )
        );
        assert!(target("/apis/apps/v1").is_none());
        assert!(target("/apis/apps/v1/deployments").unwrap().is_err());
        assert!(target("/api/v1/pods/x").unwrap().is_err());
    }

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("labelSelector=a%3Db%2Cc&command=ls&command=-l&watch=1&x=a+b%zz");
        assert_eq!(query.get("labelSelector"), "a=b,c");
        assert_eq!(query.all("command"), ["ls", "-l"]);
        assert!(query.flag("watch"));
        assert_eq!(query.get("x"), "a b%zz");
    }
}

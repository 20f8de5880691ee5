//! A label or field selector's text in, a test on objects out. The grammar is `k8s.io/apimachinery/pkg/labels`.

use super::resources::Resource;
use super::status::ApiError;
use serde_json::Value;

/// One requirement of a label selector.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    Exists(String),
    Missing(String),
    In(String, Vec<String>),
    /// Also true when the label is not there.
    NotIn(String, Vec<String>),
    Above(String, i64),
    Below(String, i64),
}

/// Label and field requirements together; all must hold.
#[derive(Debug, Clone, Default)]
pub struct Selector {
    labels: Vec<Requirement>,
    /// Field, value, and whether they must be equal.
    fields: Vec<(String, String, bool)>,
}

impl Selector {
    /// Reads the two query parameters of a request; empty ones select everything.
    pub fn parse(resource: &Resource, labels: &str, fields: &str) -> Result<Self, ApiError> {
        let labels = parse_labels(labels)
            .map_err(|why| ApiError::bad_request(format!("unable to parse requirement: {why}")))?;
        let fields = parse_fields(fields)?;
        for (field, _, _) in &fields {
            if !field_known(resource, field) {
                return Err(ApiError::bad_request(format!(
                    "field label not supported: {field}"
                )));
            }
        }
        Ok(Self { labels, fields })
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether the object is selected.
    pub fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| object.get("metadata")?.get("labels")?.get(key)?.as_str();
        self.labels.iter().all(|requirement| match requirement {
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Missing(key) => label(key).is_none(),
            Requirement::In(key, values) => {
                label(key).is_some_and(|v| values.iter().any(|w| w == v))
            }
            Requirement::NotIn(key, values) => {
                !label(key).is_some_and(|v| values.iter().any(|w| w == v))
            }
            Requirement::Above(key, than) => label(key)
                .and_then(|v| v.parse().ok())
                .is_some_and(|v: i64| v > *than),
            Requirement::Below(key, than) => label(key)
                .and_then(|v| v.parse().ok())
                .is_some_and(|v: i64| v < *than),
        }) && self
            .fields
            .iter()
            .all(|(field, value, equal)| (field_value(object, field) == *value) == *equal)
    }
}

/// The fields that the built-in kinds let one select by; custom resources know only name and namespace.
fn field_known(resource: &Resource, field: &str) -> bool {
    match field {
        "metadata.name" => true,
        "metadata.namespace" => resource.namespaced || resource.custom,
        _ => match resource.kind {
            "Pod" => matches!(
                field,
                "spec.nodeName"
                    | "spec.restartPolicy"
                    | "spec.schedulerName"
                    | "spec.serviceAccountName"
                    | "spec.hostNetwork"
                    | "status.phase"
                    | "status.podIP"
                    | "status.nominatedNodeName"
            ),
            "Node" => field == "spec.unschedulable",
            "Namespace" => field == "status.phase",
            "Secret" => field == "type",
            "Event" => {
                field.strip_prefix("involvedObject.").is_some_and(|rest| {
                    matches!(
                        rest,
                        "kind"
                            | "namespace"
                            | "name"
                            | "uid"
                            | "apiVersion"
                            | "resourceVersion"
                            | "fieldPath"
                    )
                }) || matches!(field, "reason" | "reportingComponent" | "source" | "type")
            }
            _ => false,
        },
    }
}

fn field_value(object: &Value, field: &str) -> String {
    let field = if field == "source" {
        "source.component"
    } else {
        field
    };
    let found = field.split('.').try_fold(object, |at, part| at.get(part));
    match found {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        // Booleans have their Go zero value when absent.
        _ if matches!(field, "spec.unschedulable" | "spec.hostNetwork") => "false".into(),
        _ => String::new(),
    }
}

fn parse_fields(text: &str) -> Result<Vec<(String, String, bool)>, ApiError> {
    let mut found = Vec::new();
    for term in text
        .split(',')
        .map(str::trim)
        .filter(|term| !term.is_empty())
    {
        let split = if let Some((field, value)) = term.split_once("!=") {
            Some((field, value, false))
        } else if let Some((field, value)) = term.split_once("==") {
            Some((field, value, true))
        } else {
            term.split_once('=')
                .map(|(field, value)| (field, value, true))
        };
        let Some((field, value, equal)) = split else {
            return Err(ApiError::bad_request(format!(
                "invalid selector: '{text}'; can't understand '{term}'"
            )));
        };
        found.push((field.to_owned(), value.to_owned(), equal));
    }
    Ok(found)
}

/// Splits at commas that are outside parentheses.
fn terms(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0_u32, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                found.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&text[start..]);
    found
}

fn parse_labels(text: &str) -> Result<Vec<Requirement>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    terms(text)
        .into_iter()
        .map(|term| parse_requirement(term.trim()))
        .collect()
}

fn parse_requirement(term: &str) -> Result<Requirement, String> {
    if let Some(key) = term.strip_prefix('!') {
        return Ok(Requirement::Missing(label_key(key.trim())?));
    }
    if let Some(open) = term.find('(') {
        let (head, rest) = term.split_at(open);
        let Some(inside) = rest
            .trim_end()
            .strip_prefix('(')
            .and_then(|r| r.strip_suffix(')'))
        else {
            return Err(format!("found '{rest}', expected: ')'"));
        };
        let values = inside
            .split(',')
            .map(|value| label_value(value.trim()))
            .collect::<Result<Vec<_>, _>>()?;
        let words: Vec<&str> = head.split_whitespace().collect();
        return match words.as_slice() {
            [key, "in"] => Ok(Requirement::In(label_key(key)?, values)),
            [key, "notin"] => Ok(Requirement::NotIn(label_key(key)?, values)),
            _ => Err(format!(
                "found '{}', expected: in, notin, =, ==, !=, gt, lt",
                head.trim()
            )),
        };
    }
    for (operator, negated) in [("!=", true), ("==", false), ("=", false)] {
        if let Some((key, value)) = term.split_once(operator) {
            let (key, values) = (label_key(key.trim())?, vec![label_value(value.trim())?]);
            return Ok(if negated {
                Requirement::NotIn(key, values)
            } else {
                Requirement::In(key, values)
            });
        }
    }
    for (operator, above) in [('>', true), ('<', false)] {
        if let Some((key, value)) = term.split_once(operator) {
            let number = value.trim().parse().map_err(|_| {
                format!("for 'Gt', 'Lt' operators, the value must be an integer: {value:?}")
            })?;
            let key = label_key(key.trim())?;
            return Ok(if above {
                Requirement::Above(key, number)
            } else {
                Requirement::Below(key, number)
            });
        }
    }
    Ok(Requirement::Exists(label_key(term)?))
}

fn name_part(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && edge(text.chars().next())
        && edge(text.chars().last())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// A qualified name: an optional DNS prefix, a slash, a name of at most 63 characters.
pub(super) fn label_key(text: &str) -> Result<String, String> {
    let name = text.rsplit_once('/').map_or(text, |(_, name)| name);
    let prefix_good = text.rsplit_once('/').is_none_or(|(prefix, _)| {
        !prefix.is_empty()
            && prefix
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.'))
    });
    if name_part(name) && prefix_good {
        return Ok(text.to_owned());
    }
    Err(format!(
        "key: Invalid value: {text:?}: name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
    ))
}

pub(super) fn label_value(text: &str) -> Result<String, String> {
    if text.is_empty() || name_part(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "values[0][]: Invalid value: {text:?}: a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn selects(labels: &str, fields: &str, object: &Value) -> bool {
        let pods = super::super::resources::find("", "v1", "pods").unwrap();
        Selector::parse(pods, labels, fields)
            .unwrap()
            .matches(object)
    }

    #[test]
    fn the_whole_label_grammar_is_understood() {
        let object =
            json!({"metadata": {"labels": {"app": "web", "tier": "", "n": "7", "a.b/c": "x"}}});
        for yes in [
            "",
            "app",
            "app=web",
            "app==web",
            "app in (db, web)",
            "!gone",
            "gone!=x",
            "app notin (db),tier",
            "n>6,n<8",
            "tier=",
            "a.b/c=x",
            "gone notin (a)",
        ] {
            assert!(selects(yes, "", &object), "{yes}");
        }
        for no in [
            "gone",
            "app=db",
            "app!=web",
            "app notin (web)",
            "!app",
            "n>7",
            "app in (db)",
            "app,gone",
        ] {
            assert!(!selects(no, "", &object), "{no}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let pods = super::super::resources::find("", "v1", "pods").unwrap();
        for (labels, fields) in [
            ("app in web)", ""),
            ("app in (", ""),
            ("-x", ""),
            ("", "spec.nodeName"),
            ("", "spec.foo=1"),
            ("n>x", ""),
        ] {
            assert!(
                Selector::parse(pods, labels, fields).is_err(),
                "{labels} {fields}"
            );
        }
    }

    #[test]
    fn fields_compare_by_text_with_zero_values() {
        let object = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "w0"}, "status": {"phase": "Running"}});
        assert!(selects(
            "",
            "spec.nodeName=w0,status.phase!=Failed,spec.hostNetwork=false",
            &object
        ));
        assert!(!selects("", "spec.nodeName!=w0", &object));
    }
}

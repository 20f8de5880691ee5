//! In: the `*.fact` files of a host, or what they printed. Out: `ansible_local`. JSON as it is, else INI; what is neither
//! becomes a text that says so, and a warning.

use serde_json::{Map, Value, json};

use super::Sources;

pub(super) fn facts(sources: &Sources, warnings: &mut Vec<String>) -> Value {
    let mut all = Map::new();
    for (name, text) in &sources.0 {
        let Some(name) = name.strip_prefix("local-") else {
            continue;
        };
        let value = if text.starts_with("Failure executing fact script") {
            warnings.push(text.clone());
            json!(text)
        } else if let Ok(value) = serde_json::from_str::<Value>(text) {
            value
        } else if let Some(value) = ini(text) {
            value
        } else {
            let message =
                format!("error loading facts as JSON or ini - please check content: {name}.fact");
            warnings.push(message.clone());
            json!(message)
        };
        all.insert(name.to_owned(), value);
    }
    Value::Object(all)
}

/// Python's `ConfigParser`: sections with `name = value` or `name: value`, names in lower case, lines that are indented
/// go on.
fn ini(text: &str) -> Option<Value> {
    let mut sections: Map<String, Value> = Map::new();
    let mut at: Option<(String, Option<String>)> = None;
    for line in text.lines() {
        let word = line.trim();
        if word.is_empty() || word.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = word
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            sections.entry(section).or_insert_with(|| json!({}));
            at = Some((section.to_owned(), None));
            continue;
        }
        let (section, option) = at.as_mut()?;
        if let (true, Some(option)) = (line.starts_with([' ', '\t']), option.as_ref()) {
            let before = sections[section.as_str()][option.as_str()]
                .as_str()?
                .to_owned();
            sections[section.as_str()][option.as_str()] = json!(format!("{before}\n{word}"));
            continue;
        }
        let (name, value) = word.split_once(['=', ':'])?;
        let name = name.trim().to_lowercase();
        sections[section.as_str()][name.as_str()] = json!(value.trim());
        *option = Some(name);
    }
    Some(Value::Object(sections))
}

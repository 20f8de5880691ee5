//! Lookups into INI files, properties and CSV files.

use super::files::{locate, read};
use super::{Found, Options, pattern, texts};
use crate::template::{LookupCall, LookupError, Value};

/// One value of an INI file or of properties.
pub(super) fn ini(call: &LookupCall) -> Found {
    const OPTIONS: &[&str] = &[
        "file",
        "section",
        "type",
        "re",
        "default",
        "encoding",
        "case_sensitive",
        "allow_no_value",
        "allow_none",
    ];
    let options = Options::of(call, OPTIONS)?;
    let mut found = Vec::new();
    for term in texts(call)? {
        // `key section=s file=f`, as it was written before there were options.
        let (named, key) = crate::playbook::parse_words(&term, false)?;
        let get = |name: &str, default: &str| {
            let value = named.iter().find(|(key, _)| key == name);
            value.map_or_else(|| options.text(name, default), |(_, value)| value.clone())
        };
        let is_exact = options.flag("case_sensitive", false);
        let path = locate(call, "files", &get("file", "ansible.ini"))?;
        let is_properties = get("type", "ini") == "properties";
        let section = if is_properties {
            String::new()
        } else {
            get("section", "global")
        };
        let entries = entries(&read(call, &path)?, is_exact);
        if !entries.iter().any(|entry| entry.section == section) {
            return Err(format!("No section: '{section}'").into());
        }
        let of_section = entries.iter().filter(|entry| {
            entry.section == section || (entry.section == "DEFAULT" && !is_properties)
        });
        let of_section: Vec<&Entry> = of_section.filter(|entry| !entry.key.is_empty()).collect();
        if get("re", "false").to_lowercase() == "true" {
            let regex = pattern(&key)?;
            for entry in of_section {
                let is_match = regex.is_match_at_start(&entry.key);
                if is_match.map_err(|problem| problem.to_string())? {
                    found.push(Value::from(entry.value.as_str()));
                }
            }
            continue;
        }
        let key = if is_exact { key } else { key.to_lowercase() };
        let own = of_section
            .iter()
            .rev()
            .filter(|entry| entry.key == key)
            .max_by_key(|entry| entry.section == section);
        found.push(match own {
            Some(entry) => Value::from(entry.value.as_str()),
            None => Value::from(get("default", "")),
        });
    }
    Ok(found)
}

/// A line of a section. A section alone has an entry without a key.
struct Entry {
    section: String,
    key: String,
    value: String,
}

fn entries(text: &str, is_exact: bool) -> Vec<Entry> {
    let entry = |section: &str, key: &str, value: &str| Entry {
        section: section.to_owned(),
        key: if is_exact {
            key.to_owned()
        } else {
            key.to_lowercase()
        },
        value: value.to_owned(),
    };
    let mut entries = vec![entry("", "", "")];
    let mut section = String::new();
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'))
        {
            name.clone_into(&mut section);
            entries.push(entry(&section, "", ""));
        } else if line.starts_with([' ', '\t'])
            && let Some(last) = entries.last_mut().filter(|last| !last.key.is_empty())
        {
            last.value.push('\n');
            last.value.push_str(trimmed);
        } else {
            let (key, value) = trimmed.split_once(['=', ':']).unwrap_or((trimmed, ""));
            entries.push(entry(&section, key.trim_end(), value.trim_start()));
        }
    }
    entries
}

/// A column of the row with a key.
pub(super) fn csvfile(call: &LookupCall) -> Found {
    const OPTIONS: &[&str] = &["file", "delimiter", "col", "keycol", "default", "encoding"];
    let options = Options::of(call, OPTIONS)?;
    if call.terms.is_empty() {
        return Err("Search key is required but was not found".into());
    }
    let mut found = Vec::new();
    for term in texts(call)? {
        let (named, key) = crate::playbook::parse_words(&term, false)?;
        if key.is_empty() {
            return Err("Search key is required but was not found".into());
        }
        let get = |name: &str, default: &str| {
            let value = named.iter().find(|(key, _)| key == name);
            value.map_or_else(|| options.text(name, default), |(_, value)| value.clone())
        };
        let number = |name: &str, default: &str| -> Result<usize, LookupError> {
            let text = get(name, default);
            text.parse()
                .map_err(|_| format!("`{name}` is no column: {text}").into())
        };
        let delimiter = match get("delimiter", "TAB").as_str() {
            "TAB" | "\\t" => '\t',
            other => other
                .chars()
                .next()
                .ok_or_else(|| LookupError::Text("`delimiter` is empty".to_owned()))?,
        };
        let (col, keycol) = (number("col", "1")?, number("keycol", "0")?);
        let text = read(call, &locate(call, "files", &get("file", "ansible.csv"))?)?;
        let row = rows(&text, delimiter)
            .into_iter()
            .find(|row| row.get(keycol) == Some(&key));
        match row {
            Some(row) => found.push(Value::from(
                row.get(col)
                    .ok_or_else(|| format!("the row of `{key}` has no column {col}"))?
                    .as_str(),
            )),
            None => found.extend(options.get("default").cloned()),
        }
    }
    Ok(found)
}

/// Rows of fields; a quoted field may hold delimiters, line breaks and doubled quotes.
fn rows(text: &str, delimiter: char) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    let mut is_quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => {
                field.push('"');
                chars.next();
            }
            '"' if is_quoted => is_quoted = false,
            '"' if field.is_empty() => is_quoted = true,
            c if is_quoted => field.push(c),
            c if c == delimiter => row.push(std::mem::take(&mut field)),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            c => field.push(c),
        }
    }
    if !field.is_empty() || !row.is_empty() {
        row.push(field);
        rows.push(row);
    }
    rows
}

//! `layerplay config`: every setting with its value and where it comes from.

use comfy_table::{Table, presets};
use serde_json::Value;

use super::project;
use crate::cli::args::ConfigArgs;
use crate::cli::settings::{self, Origin};
use crate::cli::{exit, printer};

pub(in crate::cli) fn run(args: &ConfigArgs) -> u8 {
    let settings = match settings::load() {
        Ok((settings, warnings)) => {
            project::show(&warnings);
            settings
        }
        Err(problems) => return project::show(&problems),
    };
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["setting", "value", "from"]);
    for (name, value, origin) in settings.rows() {
        if !args.only_changed || origin != Origin::Default {
            table.add_row([name.to_owned(), shown(&value), origin.to_string()]);
        }
    }
    printer::out(&table.to_string());
    exit::OK
}

/// Without quotes where one can do without them.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

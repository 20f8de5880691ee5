//! `layerplay doc [MODULE]`: everything shown comes from the modules' own declarations.

use std::path::Path;

use layerplay_modules::contract::ModuleInfo;
use serde_json::Value;

use crate::cli::{exit, printer};
use crate::diagnostic::nearest::nearest;
use crate::playbook::{self, Catalogue};

pub(in crate::cli) fn run(module: Option<&str>, schema: bool) -> u8 {
    let mut catalogue = match Catalogue::new() {
        Ok(catalogue) => catalogue,
        Err(problems) => return super::project::show(&problems),
    };
    if let Err(problems) = catalogue.add_project(Path::new(".")) {
        return super::project::show(&problems);
    }
    if module.is_none() && schema {
        printer::out(
            &serde_json::to_string_pretty(&playbook::schema(&catalogue)).unwrap_or_default(),
        );
        return exit::OK;
    }
    let infos: Vec<ModuleInfo> = catalogue.infos();
    let Some(name) = module else {
        let width = infos
            .iter()
            .map(|info| info.name.len())
            .max()
            .unwrap_or_default();
        for info in &infos {
            printer::out(&format!("{:<width$}  {}", info.name, info.summary));
        }
        return exit::OK;
    };
    let Some(info) = infos
        .iter()
        .find(|info| info.name == name || info.aliases.iter().any(|alias| alias == name))
    else {
        printer::err(&format!("error: no module is called `{name}`"));
        if let Some(near) = nearest(name, infos.iter().map(|info| info.name.as_str())) {
            printer::err(&format!("help: did you mean `{near}`?"));
        }
        return exit::ERROR;
    };
    if schema {
        printer::out(&serde_json::to_string_pretty(&info.schema).unwrap_or_default());
    } else {
        printer::out(&page(info));
    }
    exit::OK
}

fn page(info: &ModuleInfo) -> String {
    let mut page = format!("{}\n\n  {}\n", info.name, info.summary);
    if !info.aliases.is_empty() {
        page.push_str(&format!("  also: {}\n", info.aliases.join(", ")));
    }
    let touches = &info.touches;
    let touched: Vec<&str> = [
        (touches.machine, "a machine"),
        (touches.registry, "a registry"),
        (touches.cluster, "a cluster"),
        (touches.nodes, "its nodes"),
        (touches.reboot, "and reboots them"),
    ]
    .into_iter()
    .filter_map(|(touched, name)| touched.then_some(name))
    .collect();
    if !touched.is_empty() {
        page.push_str(&format!("  touches: {}\n", touched.join(", ")));
    }
    let yes_no = |flag: bool| if flag { "yes" } else { "no" };
    page.push_str(&format!(
        "  check mode: {}   diff: {}\n",
        yes_no(info.supports.check),
        yes_no(info.supports.diff)
    ));
    let required: Vec<&str> = info.schema["required"]
        .as_array()
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    if let Some(properties) = info.schema["properties"]
        .as_object()
        .filter(|properties| !properties.is_empty())
    {
        page.push_str("\narguments\n");
        for (name, schema) in properties {
            let kind = kind(schema, &info.schema["$defs"]);
            let must = if required.contains(&name.as_str()) {
                ", required"
            } else {
                ""
            };
            let default = match schema.get("default") {
                None | Some(Value::Null) => String::new(),
                Some(default) => format!(", default {default}"),
            };
            let others: Vec<&str> = schema["x-aliases"]
                .as_array()
                .map(|names| names.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default();
            let also = if others.is_empty() {
                String::new()
            } else {
                format!(", also {}", others.join(", "))
            };
            page.push_str(&format!("  {name} ({kind}{must}{default}{also})\n"));
            for line in schema["description"].as_str().unwrap_or_default().lines() {
                page.push_str(&format!("      {line}\n"));
            }
        }
    }
    if !info.examples.trim().is_empty() {
        page.push_str("\nexamples\n");
        for line in info.examples.trim_matches('\n').lines() {
            page.push_str(&format!("  {line}\n"));
        }
    }
    page.trim_end().to_owned()
}

/// The type of an argument in one or a few words, or its choices.
fn kind(schema: &Value, definitions: &Value) -> String {
    let named = |kinds: &[Value]| -> Vec<String> {
        let kinds = kinds.iter().filter_map(Value::as_str);
        kinds
            .filter(|kind| *kind != "null")
            .map(ToOwned::to_owned)
            .collect()
    };
    if let Some(name) = schema["$ref"]
        .as_str()
        .and_then(|name| name.strip_prefix("#/$defs/"))
    {
        return kind(&definitions[name], definitions);
    }
    if let Some(choices) = schema["enum"].as_array() {
        return named(choices).join(" or ");
    }
    if let Some(choice) = schema["const"].as_str() {
        return choice.to_owned();
    }
    for several in ["anyOf", "oneOf"] {
        if let Some(schemas) = schema[several].as_array() {
            let mut kinds: Vec<String> = Vec::new();
            for schema in schemas.iter().filter(|schema| schema["type"] != "null") {
                let kind = kind(schema, definitions);
                if !kinds.contains(&kind) {
                    kinds.push(kind);
                }
            }
            return kinds.join(" or ");
        }
    }
    match &schema["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => named(kinds).join(" or "),
        _ => "any".to_owned(),
    }
}

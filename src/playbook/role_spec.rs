//! In: a role's `meta/argument_specs.yml`, or `argument_specs` of its `meta/main.yml`. Out: the task that checks the
//! role's arguments before its own tasks.

use std::path::Path;
use std::sync::Arc;

use super::keywords::Keywords;
use super::lower::{Lowering, folder};
use super::role::{Role, RoleWish, file_of};
use super::{Arguments, Builtin, Item, Kind, Task};
use crate::diagnostic::Code;
use crate::template::Lazy;
use crate::yaml::{Mapping, Node};

impl Lowering<'_> {
    /// Entry points by name, each with what it says of its arguments. A file of its own hides that of `meta/main.yml`.
    pub(super) fn argument_specs(&mut self, dir: &Path, meta: Option<&Mapping>) -> Option<Node> {
        if file_of(dir, "meta", Some("argument_specs")).is_none() {
            return meta?.get("argument_specs").cloned();
        }
        let own = self.meta(dir, "argument_specs")?;
        own.as_mapping()?.get("argument_specs").cloned()
    }

    /// The task for the entry point: `main`, or the file of `tasks_from`.
    pub(super) fn validation(
        &mut self,
        specs: Option<&Node>,
        wish: &RoleWish,
        role: &Arc<Role>,
        parent: &Keywords,
    ) -> Option<Item> {
        let specs = specs.filter(|node| !node.is_null())?;
        let Some(by_entry) = specs.as_mapping() else {
            self.wrong_spec(specs, "`argument_specs` is a mapping of entry points");
            return None;
        };
        let entry = wish.tasks_from.as_deref().unwrap_or("main");
        let (key, spec) = by_entry.entry(entry).filter(|(_, node)| !node.is_null())?;
        let Some(spec) = spec.as_mapping() else {
            self.wrong_spec(
                spec,
                "what an entry point says of its arguments is a mapping",
            );
            return None;
        };
        if spec.is_empty() {
            return None;
        }
        let mut name = format!("Validating arguments against arg spec '{entry}'");
        if let Some(short) = spec.get("short_description").and_then(Node::as_str) {
            name.push_str(&format!(" - {short}"));
        }
        let text = |text: &str| Lazy::Data(text.into());
        let context = [
            ("type", "role".to_owned()),
            ("name", role.name.clone()),
            ("argument_spec_name", entry.to_owned()),
            ("path", role.dir.display().to_string()),
        ];
        let context = context.map(|(name, value)| (Arc::from(name), text(&value)));
        let options = spec.get("options").map(Lazy::from_node);
        let mut args = Arguments::default();
        args.named.extend([
            (
                Arc::from("argument_spec"),
                options.unwrap_or_else(|| Lazy::map([].into())),
            ),
            (
                Arc::from("provided_arguments"),
                Lazy::map((*role.params).clone()),
            ),
            (
                Arc::from("validate_args_context"),
                Lazy::map(context.into()),
            ),
        ]);
        let mut own = Keywords::default();
        own.tags.push("always".to_owned());
        let task = Task::of_engine(
            text(&name),
            "ansible.builtin.validate_argument_spec",
            Kind::Builtin(Builtin::ValidateArgumentSpec),
            args,
            own.under(parent),
            &key.span,
        );
        Some(Item::Task(Arc::new(Task {
            dir: folder(&key.span),
            role: Some(Arc::clone(role)),
            ..task
        })))
    }

    fn wrong_spec(&mut self, node: &Node, what: &str) {
        let message = format!("{what}, not {}", node.describe());
        self.error(Code::WRONG_SHAPE, &node.span, message);
    }
}

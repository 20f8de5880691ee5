//! In: a list of tasks and blocks. Out: items, each with the keywords of what is around it; of handlers one list.

use std::sync::Arc;

use super::keywords::{BELOW_PLAYS, INHERITED, Keywords};
use super::lower::Lowering;
use super::{Block, Item, Task};
use crate::diagnostic::{Code, Diagnostic};
use crate::yaml::{Mapping, Node};

pub(super) const SECTIONS: &[&str] = &["block", "rescue", "always"];

impl Lowering<'_> {
    pub(super) fn items(&mut self, node: &Node, parent: &Keywords, handlers: bool) -> Vec<Item> {
        if node.is_null() {
            return Vec::new();
        }
        let Some(entries) = node.as_sequence() else {
            self.error(
                Code::WRONG_SHAPE,
                &node.span,
                format!("expected a list of tasks, got {}", node.describe()),
            );
            return Vec::new();
        };
        let mut items = Vec::new();
        for entry in entries {
            match entry.as_mapping() {
                Some(mapping) if mapping.get("block").is_some() => {
                    items.push(self.block(mapping, parent, handlers));
                }
                Some(mapping) => items.extend(self.task(entry, mapping, parent, handlers)),
                None if entry.is_null() => {}
                None => self.error(
                    Code::WRONG_SHAPE,
                    &entry.span,
                    format!("a task is a mapping, not {}", entry.describe()),
                ),
            }
        }
        items
    }

    fn block(&mut self, mapping: &Mapping, parent: &Keywords, handlers: bool) -> Item {
        if let Some((key, _)) = mapping.entry("block").filter(|(_, tasks)| tasks.is_null()) {
            self.error(
                Code::WRONG_SHAPE,
                &key.span,
                "`block` is a list of tasks, and is empty",
            );
        }
        let mut own = Keywords::default();
        for (key, value) in mapping.iter() {
            let word = key.as_str().unwrap_or_default();
            let is_known = INHERITED.contains(&word) || BELOW_PLAYS.contains(&word);
            if is_known {
                own.take(word, value, &mut self.problems);
            } else if !SECTIONS.contains(&word) {
                let names = SECTIONS.iter().chain(INHERITED).chain(BELOW_PLAYS).copied();
                self.problems.push(
                    Diagnostic::error(
                        Code::UNKNOWN_KEYWORD,
                        format!("a block has no keyword `{word}`"),
                    )
                    .at(&key.span, "")
                    .suggest(word, names),
                );
            }
        }
        let keywords = own.under(parent);
        let mut section = |key: &str| match mapping.get(key) {
            Some(node) => self.items(node, &keywords, handlers),
            None => Vec::new(),
        };
        let mut block = Block {
            block: section("block"),
            rescue: section("rescue"),
            always: section("always"),
        };
        if handlers {
            self.handler_block(mapping, &mut block);
        }
        Item::Block(Arc::new(block))
    }

    /// Of a block among handlers the tasks of its first section are handlers, as in ansible-core; the others never run.
    fn handler_block(&mut self, mapping: &Mapping, block: &mut Block) {
        for key in SECTIONS {
            let entries = mapping.get(key).and_then(Node::as_sequence);
            for entry in entries.into_iter().flatten() {
                if entry
                    .as_mapping()
                    .is_some_and(|inner| inner.get("block").is_some())
                {
                    self.error(
                        Code::WRONG_SHAPE,
                        &entry.span,
                        "Using a block as a handler is not supported.",
                    );
                }
            }
        }
        for (key, section) in [("rescue", &mut block.rescue), ("always", &mut block.always)] {
            section.clear();
            if let Some((key_node, _)) = mapping.entry(key) {
                self.problems.push(
                    Diagnostic::warning(
                        Code::WRONG_SHAPE,
                        format!("`{key}` of a block among handlers never runs"),
                    )
                    .at(&key_node.span, "")
                    .help("handlers are single tasks: write the block into `tasks`, below the condition that something has changed"),
                );
            }
        }
    }
}

/// Handlers are one list: imported ones are handlers by themselves.
pub(super) fn flatten(item: Item, handlers: &mut Vec<Arc<Task>>) {
    match item {
        Item::Task(task) => handlers.push(task),
        Item::Block(block) => {
            for item in &block.block {
                flatten(item.clone(), handlers);
            }
        }
        Item::Role(used) => {
            for item in &used.items {
                flatten(item.clone(), handlers);
            }
        }
    }
}

//! In: a text that is being rendered. Out: the values that it prints. One value alone keeps its type, whatever
//! statements stand around it.

use std::cell::RefCell;

use minijinja::Value;

thread_local! {
    /// One list for each text that is being rendered on this thread, innermost last.
    static SEEN: RefCell<Vec<Vec<Value>>> = const { RefCell::new(Vec::new()) };
}

/// More than two settle that it is no value alone, unless all of them are null.
const ENOUGH: usize = 64;

/// Runs `render`, and collects what it prints.
pub(super) fn watch<T>(render: impl FnOnce() -> T) -> (T, Vec<Value>) {
    SEEN.with_borrow_mut(|seen| seen.push(Vec::new()));
    let rendered = render();
    let shown = SEEN.with_borrow_mut(Vec::pop).unwrap_or_default();
    (rendered, shown)
}

/// A value that is printed.
pub(super) fn seen(value: &Value) {
    SEEN.with_borrow_mut(|seen| {
        if let Some(list) = seen.last_mut()
            && list.len() < ENOUGH
        {
            list.push(value.clone());
        }
    });
}

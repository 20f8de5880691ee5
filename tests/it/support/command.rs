//! In: a command. Out: what it said, beside a runtime whose servers it talks to.

use std::process::{Command, Output};

/// Its output, and both streams as one text.
pub(crate) async fn output(mut command: Command) -> (Output, String) {
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output, text)
}

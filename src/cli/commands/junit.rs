//! In: the variables `JUNIT_*` of ansible-core's callback. Out: how a JUnit report is written, and the file that it goes to
//! besides what is shown.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use layerplay_modules::core::arguments::boolean;
use layerplay_modules::secret::Secrets;

use crate::diagnostic::{Code, Diagnostic};
use crate::report::{Junit, JunitOptions, Output};

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn flag(name: &str) -> Option<bool> {
    boolean(&variable(name)?)
}

pub(in crate::cli) fn options() -> JunitOptions {
    JunitOptions {
        fail_on_change: flag("JUNIT_FAIL_ON_CHANGE") == Some(true),
        fail_on_ignore: flag("JUNIT_FAIL_ON_IGNORE") == Some(true),
        leaves_out_setup: flag("JUNIT_INCLUDE_SETUP_TASKS_IN_REPORT") == Some(false),
        is_class_of_file: flag("JUNIT_TASK_CLASS") == Some(true),
        relative_to: variable("JUNIT_TASK_RELATIVE_PATH").map(|path| {
            // Places of tasks are whole paths.
            std::fs::canonicalize(&path).unwrap_or_else(|_| PathBuf::from(path))
        }),
    }
}

/// The file below `JUNIT_OUTPUT_DIR`, opened before the first task: a run of hours must not end without its report.
pub(in crate::cli) fn file(
    playbooks: &[PathBuf],
    secrets: &Arc<Secrets>,
) -> Result<Option<Junit>, Diagnostic> {
    let Some(dir) = variable("JUNIT_OUTPUT_DIR").map(PathBuf::from) else {
        return Ok(None);
    };
    let name = playbooks.first().and_then(|path| path.file_stem());
    let name = name.unwrap_or_default().to_string_lossy();
    let now = jiff::Timestamp::now();
    let path = dir.join(format!(
        "{name}-{}.{:09}.xml",
        now.as_second(),
        now.subsec_nanosecond().unsigned_abs()
    ));
    let file = std::fs::create_dir_all(&dir)
        .and_then(|()| File::create_new(&path))
        .map_err(|problem| {
            let message = format!(
                "the report `{}` cannot be written: {problem}",
                path.display()
            );
            Diagnostic::error(Code::COMMAND_LINE, message)
                .help("`JUNIT_OUTPUT_DIR` names a folder that you may write to")
        })?;
    let output = Output::new(Box::new(file), Arc::clone(secrets));
    Ok(Some(Junit::new(output, options())))
}

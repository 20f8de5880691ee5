//! In: a Containerfile that runs commands. Out: an image built by `buildah` or `podman`, pushed.

use std::path::Path;

use indexmap::IndexMap;

use crate::command;
use crate::error::{ErrorKind, ModuleError};
use crate::platform::{CommandSpec, Platform};
use crate::registry::{Digest, ImageRef, Registries};

/// What is built.
pub(super) struct Plan<'p> {
    pub(super) text: &'p str,
    pub(super) context: &'p Path,
    pub(super) target: &'p ImageRef,
    pub(super) base: Option<&'p ImageRef>,
    pub(super) labels: &'p IndexMap<String, String>,
    pub(super) build_args: &'p IndexMap<String, String>,
    /// `id=name,src=file`, as `--secret` takes them.
    pub(super) secrets: &'p [String],
}

/// The builder to use: the one asked for, else the first that is installed.
pub(super) fn choose(wanted: &str) -> Result<String, ModuleError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &&str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    match wanted {
        "auto" => ["buildah", "podman"].iter().find(|name| is_there(name)).map(ToString::to_string),
        name => is_there(&name).then(|| name.to_owned()),
    }
    .ok_or_else(|| {
        ModuleError::new(ErrorKind::MissingProgram, "the Containerfile needs `buildah` or `podman`, and none is installed here")
            .hint("install `buildah`; a Containerfile with only FROM, COPY, LABEL, ENV and ARG needs none")
    })
}

/// Builds and pushes; returns the digest that the registry reports.
pub(super) async fn build(
    program: &str,
    plan: &Plan<'_>,
    registries: &Registries,
    platform: &Platform,
) -> Result<Digest, ModuleError> {
    let failed =
        |what: &str, problem: std::io::Error| ModuleError::failed(format!("{what}: {problem}"));
    let dir = tempfile::tempdir().map_err(|problem| failed("no temporary folder", problem))?;
    let file = dir.path().join("Containerfile");
    std::fs::write(&file, plan.text)
        .map_err(|problem| failed("the Containerfile cannot be written", problem))?;
    let name = plan.target.to_string();
    let text = |path: &Path| path.display().to_string();
    let mut build = vec![program.to_owned(), "build".to_owned()];
    build.extend(["--format", "oci", "--layers=false", "--pull", "-f"].map(str::to_owned));
    build.extend([text(&file), "-t".to_owned(), name.clone()]);
    for (label, value) in plan.labels {
        build.push(format!("--label={label}={value}"));
    }
    for (name, value) in plan.build_args {
        build.push(format!("--build-arg={name}={value}"));
    }
    for secret in plan.secrets {
        build.push(format!("--secret={secret}"));
    }
    let mut access = Vec::new();
    if let Some(path) = registries.auth_file() {
        access.push(format!("--authfile={}", text(path)));
    }
    let plain = |image: &ImageRef| registries.is_plain(&image.registry);
    if plan.base.is_some_and(plain) {
        build.push("--tls-verify=false".to_owned());
    }
    build.extend(access.iter().cloned());
    build.push(text(plan.context));
    run(program, build, "build", platform).await?;
    let mut push = vec![program.to_owned(), "push".to_owned()];
    if plain(plan.target) {
        push.push("--tls-verify=false".to_owned());
    }
    push.extend(access);
    let digest_file = dir.path().join("digest");
    push.extend([
        format!("--digestfile={}", text(&digest_file)),
        name.clone(),
        format!("docker://{name}"),
    ]);
    run(program, push, "push", platform).await?;
    let pushed = std::fs::read_to_string(&digest_file)
        .map_err(|problem| failed("the digest of the push cannot be read", problem))?;
    let pushed: Digest = pushed.trim().parse()?;
    let reported = registries.manifest(plan.target).await?.digest;
    if reported != pushed {
        return Err(ModuleError::new(
            ErrorKind::Conflict,
            format!("`{name}` was pushed as {pushed}, and the registry now has {reported}"),
        )
        .hint("something else pushes to this tag; give every build a tag of its own"));
    }
    Ok(reported)
}

async fn run(
    program: &str,
    argv: Vec<String>,
    what: &str,
    platform: &Platform,
) -> Result<(), ModuleError> {
    let spec = CommandSpec {
        argv,
        environment: platform.environment.clone(),
        ..CommandSpec::default()
    };
    let output = command::run_with(spec, &platform.cancel, |line| {
        if !line.trim().is_empty() {
            platform.status(format!("{program}: {}", line.trim()));
        }
    })
    .await?;
    if output.rc == 0 {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = said
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .take(3)
        .collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Err(ModuleError::failed(format!(
        "`{program} {what}` ended with status {}: {}",
        output.rc,
        last.join("; ")
    ))
    .with("rc", output.rc)
    .with(
        "stdout",
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
    .with("stderr", said.clone().into_owned()))
}

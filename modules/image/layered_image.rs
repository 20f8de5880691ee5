//! `layered_image`: builds a layer on a node's base image and pushes it. Idempotent by its inputs: when the registry
//! already has an image that was made of exactly these, nothing is built.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Digest as _;

use super::containerfile::Containerfile;
use super::{engine, native};
use crate::contract::{
    Change, FieldChange, FileArgument, Module, Outcome, Part, Render, Supports, Touches,
};
use crate::error::{ErrorKind, ModuleError};
use crate::platform::Platform;
use crate::registry::{Digest, ImageInfo, ImageRef};

/// The label that holds the hash of everything that an image was made of.
pub const INPUTS: &str = "io.layerplay.inputs";
const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// The base image; buildah leaves it, too (OCI image specification, annotations).
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

pub struct LayeredImage;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Registry and repository, without a tag: `registry.example.com/os-layers/hello`.
    name: String,
    /// The tag to push to.
    tag: String,
    /// File of the Containerfile, beside the playbook; rendered as a template when its name ends in `.j2`.
    containerfile: Option<String>,
    /// The text of the Containerfile, instead of a file.
    content: Option<String>,
    /// The folder that `COPY` takes files from; the Containerfile's folder by default.
    context_dir: Option<PathBuf>,
    /// The base image by digest (`release_info`'s `os_image`); `FROM` must name the same.
    base: String,
    /// Values for `ARG`.
    #[serde(default)]
    build_args: IndexMap<String, String>,
    /// Secrets for `RUN --mount=type=secret`, as `id=name,src=file`.
    #[serde(default)]
    secrets: Vec<String>,
    /// Labels besides those of the Containerfile, such as the release's version and the revision of the sources.
    #[serde(default)]
    labels: IndexMap<String, String>,
    /// Who builds: `auto` (layerplay itself unless the Containerfile needs an engine), `native`, `buildah`, `podman`.
    #[serde(default)]
    builder: Builder,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Builder {
    #[default]
    Auto,
    Native,
    Buildah,
    Podman,
}

/// Everything that is needed to build.
pub struct Work {
    text: String,
    context: PathBuf,
    file: Containerfile,
    files: native::Files,
    base: ImageRef,
    target: ImageRef,
    labels: IndexMap<String, String>,
    inputs: String,
    program: Option<String>,
    /// The finished image, when layerplay builds it itself.
    composed: Option<native::Composed>,
}

impl Work {
    fn plan(&self) -> native::Plan<'_> {
        native::Plan {
            file: &self.file,
            files: &self.files,
            base: &self.base,
            target: &self.target,
            labels: &self.labels,
        }
    }
}

impl Args {
    fn prepare(&self, platform: &Platform) -> Result<Work, ModuleError> {
        let (base, base_digest) = ImageRef::pinned("base", &self.base)?;
        let target: ImageRef =
            format!("{}:{}", self.name, self.tag)
                .parse()
                .map_err(|problem: ModuleError| ModuleError {
                    argument: Some("name".to_owned()),
                    ..problem
                })?;
        let text = match (&self.content, &self.containerfile) {
            (Some(text), _) => text.clone(),
            (None, _) => {
                return Err(ModuleError::argument(
                    "containerfile",
                    "`layered_image` needs `containerfile` or `content`",
                ));
            }
        };
        let beside = self
            .containerfile
            .as_ref()
            .and_then(|file| Path::new(file).parent().map(Path::to_owned));
        let context = match &self.context_dir {
            Some(dir) => platform.base_dir.join(dir),
            None => beside.unwrap_or_else(|| platform.base_dir.clone()),
        };
        let file = Containerfile::parse(&text, &self.build_args)?;
        let named = file.base().unwrap_or_default();
        let same = named
            .parse::<ImageRef>()
            .ok()
            .and_then(|image| image.digest)
            .is_some_and(|digest| digest == base_digest);
        if !same {
            return Err(ModuleError::argument("containerfile", format!("the Containerfile builds on `{named}`, and `base` is `{base}`"))
                .hint("write `FROM` with the very digest of `base`: nodes of this release can only boot what is built on it"));
        }
        let program = match (self.builder, file.needs_engine()) {
            (Builder::Native, Some((line, word))) => {
                return Err(ModuleError::argument(
                    "builder",
                    format!("Containerfile, line {line}: `{word}` cannot be built natively"),
                )
                .hint("take `builder: buildah`, or leave it out"));
            }
            (Builder::Auto | Builder::Native, None) => None,
            (Builder::Auto, Some(_)) => Some(engine::choose("auto")?),
            (Builder::Buildah, _) => Some(engine::choose("buildah")?),
            (Builder::Podman, _) => Some(engine::choose("podman")?),
        };
        let files = native::collect_local(&file, &context)?;
        let mut labels = self.labels.clone();
        labels.insert(BASE_NAME.to_owned(), base.name());
        labels.insert(BASE_DIGEST.to_owned(), base_digest.to_string());
        let inputs = self.inputs(&text, &files, &labels);
        labels.insert(INPUTS.to_owned(), inputs.clone());
        Ok(Work {
            text,
            context,
            file,
            files,
            base,
            target,
            labels,
            inputs,
            program,
            composed: None,
        })
    }

    /// A hash of all that decides what comes out.
    fn inputs(
        &self,
        text: &str,
        files: &native::Files,
        labels: &IndexMap<String, String>,
    ) -> String {
        let mut hash = sha2::Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(text.as_bytes());
        for (path, entry) in files {
            part(path.as_bytes());
            part(format!("{:o} {:?}", entry.mode, entry.owner).as_bytes());
            match &entry.content {
                native::Content::File(bytes) => part(bytes),
                native::Content::Folder => part(b"/"),
                native::Content::Link(target) => part(target.to_string_lossy().as_bytes()),
            }
        }
        for map in [labels, &self.build_args] {
            for (name, value) in map {
                part(name.as_bytes());
                part(value.as_bytes());
            }
        }
        format!("sha256:{}", hex::encode(hash.finalize()))
    }
}

fn result(work: &Work, digest: &Digest, size: Option<u64>) -> Value {
    json!({
        "image": work.target.at(digest.clone()).to_string(),
        "digest": digest.as_str(),
        "base_digest": work.base.digest.as_ref().map(Digest::as_str),
        "inputs": work.inputs,
        "builder": work.program.as_deref().unwrap_or("native"),
        "size": size,
        "tag": work.target.tag,
    })
}

#[async_trait]
impl Module for LayeredImage {
    type Args = Args;
    type Work = Box<Work>;
    const NAME: &'static str = "layered_image";
    const SUMMARY: &'static str =
        "Builds a layer on a node's base image, pushes it, and asks the registry for its digest";
    const EXAMPLES: &'static str = "- layered_image:\n    name: registry.example.com/os-layers/hello\n    tag: \"{{ release.version }}-1\"\n    containerfile: layers/hello/Containerfile.j2\n    base: \"{{ release.os_image }}\"\n  register: built\n";
    const SUPPORTS: Supports = Supports {
        check: true,
        diff: true,
    };
    const TOUCHES: Touches = Touches {
        registry: true,
        ..Touches::NOTHING
    };
    const FILES: &'static [FileArgument] = &[FileArgument {
        argument: "containerfile",
        folder: "",
        render: Render::J2,
        content: Some("content"),
        part: Part::Whole,
    }];

    async fn inspect(
        &self,
        args: &Args,
        platform: &Platform,
    ) -> Result<Change<Box<Work>>, ModuleError> {
        let work = args.prepare(platform)?;
        let known: Option<ImageInfo> = match platform.registries.inspect(&work.target).await {
            Ok(info) => Some(info),
            Err(problem) if problem.kind == ErrorKind::NotFound => None,
            Err(problem) => return Err(problem),
        };
        let before = known
            .as_ref()
            .and_then(|info| info.labels.get(INPUTS).cloned());
        if let Some(info) = known
            .as_ref()
            .filter(|_| before.as_deref() == Some(&work.inputs))
        {
            return Ok(Change::None(Outcome::unchanged(result(
                &work,
                &info.digest,
                Some(info.size),
            ))));
        }
        let mut work = work;
        let mut preview = json!({
            "inputs": work.inputs, "builder": work.program.as_deref().unwrap_or("native"),
            "base_digest": work.base.digest.as_ref().map(Digest::as_str),
            "msg": format!("would build and push `{}`", work.target),
        });
        if work.program.is_none() {
            // The same files give the same bytes, so the digest is known before anything is pushed.
            let composed = native::compose(&work.plan(), &platform.registries, platform).await?;
            preview["digest"] = json!(composed.digest().as_str());
            preview["image"] = json!(work.target.at(composed.digest()).to_string());
            work.composed = Some(composed);
        }
        let preview = Outcome::changed(preview);
        let fields = vec![FieldChange {
            field: format!("{} inputs", work.target),
            before: before.map_or(Value::Null, Value::String),
            after: json!(work.inputs),
        }];
        Ok(Change::Some {
            fields,
            diff: Vec::new(),
            preview,
            work: Box::new(work),
        })
    }

    async fn apply(
        &self,
        args: &Args,
        work: Box<Work>,
        platform: &Platform,
    ) -> Result<Outcome, ModuleError> {
        let registries = &platform.registries;
        let mut work = work;
        let digest = match (&work.program, work.composed.take()) {
            (None, None) => return Err(ModuleError::failed("nothing was put together to push")),
            (None, Some(composed)) => {
                native::push(composed, &work.plan(), registries, platform).await?
            }
            (Some(program), _) => {
                let plan = engine::Plan {
                    text: &work.text,
                    context: &work.context,
                    target: &work.target,
                    base: Some(&work.base),
                    labels: &work.labels,
                    build_args: &args.build_args,
                    secrets: &args.secrets,
                };
                engine::build(program, &plan, registries, platform).await?
            }
        };
        let info = registries.inspect(&work.target.at(digest.clone())).await?;
        if info.labels.get(INPUTS) != Some(&work.inputs) {
            return Err(ModuleError::failed(format!(
                "`{}` does not have the label `{INPUTS}` that it was built with",
                info.image
            ))
            .hint(
                "the registry or the builder rewrites images; layerplay cannot vouch for this one",
            ));
        }
        Ok(Outcome::changed(result(&work, &digest, Some(info.size))))
    }
}

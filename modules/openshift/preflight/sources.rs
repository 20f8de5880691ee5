//! In: an image, the mirrors that a cluster configures, its global pull secret. Out: whether its nodes could pull the
//! image from where they will look, with the logins that they have.

use serde_json::Value;

use super::super::diagnose::Failure;
use super::super::look::pull_secret;
use super::super::objects::{self, name};
use super::{Look, Refusal, refusal};
use crate::error::ErrorKind;
use crate::platform::Platform;
use crate::registry::{ImageRef, Registries};

/// A place that nodes pull from.
#[derive(Debug, Clone, PartialEq)]
struct Source {
    image: ImageRef,
    /// The object that names it as a mirror.
    mirror_of: Option<String>,
}

/// Registries with the logins of the cluster's nodes alone; with ours where its pull secret may not be read.
pub(super) fn as_the_cluster(platform: &Platform, secret: Option<&str>) -> Registries {
    match secret {
        Some(text) => platform.registries.with_pull_secret_alone(text),
        None => platform.registries.with_pull_secret("{}"),
    }
}

impl Look<'_> {
    pub(super) async fn sources(&self, refusals: &mut Vec<Refusal>, warnings: &mut Vec<String>) {
        let mut sets = Vec::new();
        for kind in [
            objects::image_digest_mirror_set(),
            objects::image_content_source_policy(),
        ] {
            match objects::list(self.cluster, &kind).await {
                Ok(found) => sets.extend(found),
                Err(problem) => {
                    warnings.push(format!("mirrors are not looked at: {problem}"));
                }
            }
        }
        let sources = sources(self.image, &sets);
        let secret = pull_secret(self.cluster).await;
        if secret.is_none() && sources.iter().all(|source| source.mirror_of.is_none()) {
            // That it is there was seen with our own login.
            return;
        }
        let registries = as_the_cluster(self.platform, secret.as_deref());
        let mut said = Vec::new();
        let (mut is_sure, mut is_denied) = (true, false);
        for source in &sources {
            let Err(problem) = registries.manifest(&source.image).await else {
                return;
            };
            let from = match &source.mirror_of {
                Some(set) => format!("mirror `{}` ({set})", source.image.name()),
                None => format!("`{}`", source.image.name()),
            };
            let why = match problem.kind {
                ErrorKind::NotFound => "does not have the digest".to_owned(),
                ErrorKind::Forbidden => {
                    is_denied = true;
                    match registries.has_login(&source.image).await {
                        _ if secret.is_none() => "wants another login than ours".to_owned(),
                        true => {
                            "does not accept the login that the cluster's pull secret has for it"
                                .to_owned()
                        }
                        false => "wants a login, and the cluster's pull secret has none for it"
                            .to_owned(),
                    }
                }
                // A registry that only the cluster's network reaches.
                _ => {
                    is_sure = false;
                    format!("cannot be asked from here: {problem}")
                }
            };
            said.push(format!("{from} {why}"));
        }
        let said = said.join("; ");
        if !is_sure {
            warnings.push(format!(
                "whether nodes can pull `{}` cannot be told: {said}",
                self.image
            ));
        } else if is_denied {
            refusals.push(refusal(
                "pull_secret",
                format!("nodes could not pull `{}`: {said}", self.image),
                Failure::Unauthorized.remedy(),
            ));
        } else {
            refusals.push(refusal(
                "mirrors",
                format!("nodes could not pull `{}`: {said}", self.image),
                "copy the image into the mirror (`skopeo copy --all`), or let nodes ask the source: `mirrorSourcePolicy: AllowContactingSource`",
            ));
        }
    }
}

/// Where nodes look for an image that is named by its digest, in their order. Mirrors of the longest source that matches
/// count, of all objects that name it (containers-registries.conf(5); openshift/api `ImageDigestMirrorSet`).
fn sources(image: &ImageRef, sets: &[Value]) -> Vec<Source> {
    let own = image.name();
    let entries = sets.iter().flat_map(|set| {
        let lists = [
            &set["spec"]["imageDigestMirrors"],
            &set["spec"]["repositoryDigestMirrors"],
        ];
        lists
            .into_iter()
            .flat_map(|list| list.as_array().into_iter().flatten())
            .map(move |entry| (set, entry))
    });
    let matching: Vec<(&Value, &Value, &str)> = entries
        .filter_map(|(set, entry)| {
            let rest = below(entry["source"].as_str()?, &own)?;
            Some((set, entry, rest))
        })
        .collect();
    let best = matching.iter().map(|(_, _, rest)| rest.len()).min();
    let mut found = Vec::new();
    let mut asks_source = true;
    for (set, entry, rest) in matching {
        if Some(rest.len()) != best {
            continue;
        }
        asks_source &= entry["mirrorSourcePolicy"] != "NeverContactSource";
        for mirror in entry["mirrors"].as_array().into_iter().flatten() {
            let mirror = mirror.as_str().unwrap_or_default();
            let Ok(mirrored) = format!("{mirror}{rest}").parse::<ImageRef>() else {
                continue;
            };
            let source = Source {
                image: ImageRef {
                    digest: image.digest.clone(),
                    ..mirrored
                },
                mirror_of: Some(format!(
                    "{} {}",
                    set["kind"].as_str().unwrap_or("mirror set"),
                    name(set)
                )),
            };
            if !found.contains(&source) {
                found.push(source);
            }
        }
    }
    if asks_source {
        found.push(Source {
            image: image.clone(),
            mirror_of: None,
        });
    }
    found
}

/// What of a repository's name is below a source: `a.example.com`, `a.example.com/team`, or `*.example.com`.
fn below<'n>(source: &str, name: &'n str) -> Option<&'n str> {
    if let Some(domain) = source.strip_prefix('*') {
        let (host, _) = name.split_once('/')?;
        return host
            .ends_with(domain)
            .then(|| name.get(host.len()..))
            .flatten();
    }
    let rest = name.strip_prefix(source)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DIGEST: &str = "sha256:317c5a394b4187a5a4a4f32cc81d2dadd1145583ff12ee5aa8af1bc157666917";

    fn set(name: &str, source: &str, mirrors: &[&str], policy: &str) -> Value {
        json!({"kind": "ImageDigestMirrorSet", "metadata": {"name": name}, "spec": {"imageDigestMirrors": [
            {"source": source, "mirrors": mirrors, "mirrorSourcePolicy": policy},
        ]}})
    }

    fn looked_at(sets: &[Value]) -> Vec<String> {
        let image: ImageRef = format!("quay.example.com/team/os@{DIGEST}")
            .parse()
            .unwrap();
        let found = sources(&image, sets);
        assert!(
            found
                .iter()
                .all(|source| source.image.digest == image.digest)
        );
        found.iter().map(|source| source.image.name()).collect()
    }

    #[test]
    fn mirrors_of_the_longest_source_come_first_and_then_the_source() {
        let wide = set(
            "wide",
            "quay.example.com",
            &["m.example.com/all"],
            "AllowContactingSource",
        );
        let near = set(
            "near",
            "quay.example.com/team",
            &["m.example.com/t"],
            "AllowContactingSource",
        );
        let other = set(
            "other",
            "quay.example.com/te",
            &["x.example.com"],
            "NeverContactSource",
        );
        assert_eq!(looked_at(&[]), ["quay.example.com/team/os"]);
        assert_eq!(
            looked_at(&[wide.clone(), other.clone()]),
            ["m.example.com/all/team/os", "quay.example.com/team/os"]
        );
        assert_eq!(
            looked_at(&[wide, near, other]),
            ["m.example.com/t/os", "quay.example.com/team/os"]
        );
    }

    #[test]
    fn a_source_that_is_never_contacted_is_not_looked_at() {
        let one = set(
            "one",
            "quay.example.com/team/os",
            &["a.example.com/os"],
            "NeverContactSource",
        );
        let two = set(
            "two",
            "quay.example.com/team/os",
            &["b.example.com/os"],
            "AllowContactingSource",
        );
        assert_eq!(
            looked_at(&[one, two]),
            ["a.example.com/os", "b.example.com/os"]
        );
    }

    #[test]
    fn whole_domains_and_older_policies_count() {
        let domain = set(
            "domain",
            "*.example.com",
            &["m.example.org"],
            "NeverContactSource",
        );
        assert_eq!(looked_at(&[domain]), ["m.example.org/team/os"]);
        let older = json!({"kind": "ImageContentSourcePolicy", "metadata": {"name": "old"}, "spec": {"repositoryDigestMirrors": [
            {"source": "quay.example.com/team", "mirrors": ["m.example.org/team"]},
        ]}});
        assert_eq!(
            looked_at(&[older]),
            ["m.example.org/team/os", "quay.example.com/team/os"]
        );
    }
}

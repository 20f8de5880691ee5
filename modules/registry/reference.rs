//! In: text that names an image. Out: its parts, checked: registry and repository, and a tag or a digest.

use std::fmt;
use std::str::FromStr;

use crate::error::ModuleError;

/// `sha256:` and 64 hexadecimal digits: the content itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(String);

impl Digest {
    /// Of these bytes.
    pub fn of(content: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(format!(
            "sha256:{}",
            hex::encode(sha2::Sha256::digest(content))
        ))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = ModuleError;

    fn from_str(text: &str) -> Result<Self, ModuleError> {
        let is_digest = text.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
        if is_digest {
            Ok(Self(text.to_owned()))
        } else {
            Err(ModuleError::failed(format!("`{text}` is no digest"))
                .hint("a digest is `sha256:` and 64 hexadecimal digits in lower case"))
        }
    }
}

/// An image as a person or a cluster names it: `registry/repository[:tag][@digest]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageRef {
    /// Host, and port where one is given. Never guessed: layers are not pulled from a default registry.
    pub registry: String,
    /// Path in the registry, without the host.
    pub repository: String,
    pub tag: Option<String>,
    pub digest: Option<Digest>,
}

impl ImageRef {
    /// `registry/repository`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The same repository at a digest: the only form that a MachineConfig gets.
    #[must_use]
    pub fn at(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// `name@digest` and nothing else, for the argument `argument`.
    pub fn pinned(argument: &str, text: &str) -> Result<(Self, Digest), ModuleError> {
        let image: Self = text.parse().map_err(|problem: ModuleError| ModuleError {
            argument: Some(argument.to_owned()),
            ..problem
        })?;
        match (&image.digest, &image.tag) {
            (Some(digest), None) => Ok((image.clone(), digest.clone())),
            (Some(_), Some(_)) => Err(ModuleError::argument(argument, format!("`{text}` has a tag beside its digest"))
                .hint(format!("write `{}@{}`", image.name(), image.digest.as_ref().map_or("", Digest::as_str)))),
            // The operator accepts a tag without a word and never notices when it moves; nodes that join later may
            // run other content under the same name (MCO: render_controller.go, rpm-ostree.go).
            (None, _) => Err(ModuleError::argument(argument, format!("`{text}` names no digest"))
                .hint("a tag can move; give `name@sha256:...`, as `layered_image` and `image_info` return it")),
        }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for ImageRef {
    type Err = ModuleError;

    /// By the grammar of the OCI distribution specification; the registry must be named.
    fn from_str(text: &str) -> Result<Self, ModuleError> {
        let wrong = |why: &str| {
            ModuleError::failed(format!("`{text}` is no image reference: {why}"))
                .hint("write `registry/repository:tag` or `registry/repository@sha256:...`")
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        // A colon behind the last slash is a tag's; one before it is a port's.
        let path = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[path..].find(':') {
            Some(colon) => (&rest[..path + colon], Some(&rest[path + colon + 1..])),
            None => (rest, None),
        };
        let Some((registry, repository)) = name.split_once('/') else {
            return Err(wrong("it names no registry"));
        };
        if !(registry.contains(['.', ':']) || registry == "localhost") {
            return Err(wrong("its first part is no host"));
        }
        if !registry
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".:-[]".contains(&b))
        {
            return Err(wrong("the host has a character that hosts do not have"));
        }
        if !repository.split('/').all(is_path_part) {
            return Err(wrong(
                "the repository must be lower case letters, digits and `.`, `_`, `-` between them",
            ));
        }
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(wrong(
                "the tag must be up to 128 letters, digits, `_`, `.` and `-`, and start with one of the first three",
            ));
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(ToOwned::to_owned),
            digest,
        })
    }
}

fn is_path_part(part: &str) -> bool {
    let word = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.bytes().all(|b| word(b) || b"._-".contains(&b))
        && part.bytes().next().is_some_and(word)
        && part.bytes().next_back().is_some_and(word)
}

fn is_tag(tag: &str) -> bool {
    tag.len() <= 128
        && tag
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && tag
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn parts_and_back() {
        for text in [
            "registry.example.com/os-layers/hello:4.18.7-1".to_owned(),
            format!("127.0.0.1:5000/hello@{HEX}"),
            format!("localhost/a/b/c__d:x@{HEX}"),
            "[::1]:5000/hello".to_owned(),
        ] {
            let image: ImageRef = text.parse().unwrap();
            assert_eq!(image.to_string(), text);
        }
        let image: ImageRef = "registry.example.com:5000/a/b:t".parse().unwrap();
        assert_eq!(
            (image.name().as_str(), image.tag.as_deref()),
            ("registry.example.com:5000/a/b", Some("t"))
        );
    }

    #[test]
    fn what_is_no_reference() {
        for text in [
            "hello",
            "hello/world",
            "registry.example.com/",
            "registry.example.com/A",
            "registry.example.com/a:",
            "registry.example.com/a@sha256:12",
            "registry.example.com/a b",
            "https://registry.example.com/a",
            "",
            "@",
            "é.x/a",
        ] {
            assert!(text.parse::<ImageRef>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_a_digest_is_pinned() {
        let (_, digest) =
            ImageRef::pinned("image", &format!("registry.example.com/a@{HEX}")).unwrap();
        assert_eq!(digest.as_str(), HEX);
        let tag = ImageRef::pinned("image", "registry.example.com/a:latest").unwrap_err();
        assert_eq!(
            (tag.argument.as_deref(), tag.kind),
            (Some("image"), crate::ErrorKind::Argument)
        );
        assert!(ImageRef::pinned("image", &format!("registry.example.com/a:t@{HEX}")).is_err());
    }

    #[test]
    fn a_digest_is_of_its_content() {
        assert_eq!(
            Digest::of(b"").as_str(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert!(HEX.to_uppercase().parse::<Digest>().is_err());
    }
}

//! In: the text of a setting, or what a TOML file has for it. Out: a value of the setting's type, or what would be right.

use std::path::{Path, PathBuf};

use layerplay_modules::core::arguments::boolean;

use serde_json::{Value, json};

use crate::playbook::Strategy;
use crate::template::expand_path;

/// A value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Raw {
    Text(String),
    /// A list of TOML; text is cut into one where a list is wanted.
    List(Vec<String>),
}

impl Raw {
    fn text(&self) -> Result<&str, String> {
        match self {
            Self::Text(text) => Ok(text),
            Self::List(_) => Err("one value, not a list".to_owned()),
        }
    }

    /// Items of a list, or of a text with `separator`.
    fn items(&self, separator: char) -> Vec<String> {
        let items: Vec<&str> = match self {
            Self::Text(text) => text.split(separator).collect(),
            Self::List(items) => items.iter().map(String::as_str).collect(),
        };
        items
            .into_iter()
            .map(|item| item.trim().to_owned())
            .filter(|item| !item.is_empty())
            .collect()
    }
}

/// A type of settings. An error says what a value has to be.
pub(in crate::cli) trait Kind: Sized {
    /// `dir` is where relative paths begin: the folder of the file, or the working directory.
    fn read(raw: &Raw, dir: &Path) -> Result<Self, String>;
    /// As playbooks and people see it.
    fn value(&self) -> Value;
}

impl Kind for bool {
    fn read(raw: &Raw, _: &Path) -> Result<Self, String> {
        boolean(raw.text()?).ok_or_else(|| "`true` or `false`".to_owned())
    }

    fn value(&self) -> Value {
        json!(self)
    }
}

macro_rules! numbers {
    ($($kind:ty),*) => {
        $(impl Kind for $kind {
            fn read(raw: &Raw, _: &Path) -> Result<Self, String> {
                raw.text()?
                    .trim()
                    .parse()
                    .map_err(|_| format!("a whole number from {} to {}", <$kind>::MIN, <$kind>::MAX))
            }

            fn value(&self) -> Value {
                json!(self)
            }
        })*
    };
}

numbers!(u8, u16, u32, u64);

impl Kind for String {
    fn read(raw: &Raw, _: &Path) -> Result<Self, String> {
        Ok(raw.text()?.to_owned())
    }

    fn value(&self) -> Value {
        json!(self)
    }
}

impl Kind for PathBuf {
    fn read(raw: &Raw, dir: &Path) -> Result<Self, String> {
        Ok(resolve(raw.text()?, dir))
    }

    fn value(&self) -> Value {
        json!(self)
    }
}

/// Words parted by commas.
impl Kind for Vec<String> {
    fn read(raw: &Raw, _: &Path) -> Result<Self, String> {
        Ok(raw.items(','))
    }

    fn value(&self) -> Value {
        json!(self)
    }
}

/// An empty text is no value.
impl<T: Kind> Kind for Option<T> {
    fn read(raw: &Raw, dir: &Path) -> Result<Self, String> {
        match raw {
            Raw::Text(text) if text.is_empty() => Ok(None),
            given => T::read(given, dir).map(Some),
        }
    }

    fn value(&self) -> Value {
        self.as_ref().map_or(Value::Null, Kind::value)
    }
}

/// Folders parted by `:`, as in `PATH`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cli) struct Folders(pub Vec<PathBuf>);

impl Kind for Folders {
    fn read(raw: &Raw, dir: &Path) -> Result<Self, String> {
        let items = raw.items(':');
        Ok(Self(items.iter().map(|item| resolve(item, dir)).collect()))
    }

    fn value(&self) -> Value {
        json!(self.0)
    }
}

/// Inventories parted by commas: paths. A list none of which is there names hosts, as `-i` takes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cli) struct Inventories(pub Vec<String>);

impl Kind for Inventories {
    fn read(raw: &Raw, dir: &Path) -> Result<Self, String> {
        let paths: Vec<PathBuf> = raw
            .items(',')
            .iter()
            .map(|item| resolve(item, dir))
            .collect();
        if let Raw::Text(text) = raw
            && text.contains(',')
            && !paths.iter().any(|path| path.exists())
        {
            return Ok(Self(vec![text.trim().to_owned()]));
        }
        Ok(Self(
            paths
                .iter()
                .map(|path| path.display().to_string())
                .collect(),
        ))
    }

    fn value(&self) -> Value {
        json!(self.0)
    }
}

/// A setting that is one of a few words.
macro_rules! choices {
    ($kind:ty { $($word:literal => $variant:ident),+ $(,)? }) => {
        impl Kind for $kind {
            fn read(raw: &Raw, _: &Path) -> Result<Self, String> {
                match raw.text()?.trim() {
                    $($word => Ok(Self::$variant),)+
                    _ => Err([$(concat!("`", $word, "`")),+].join(" or ")),
                }
            }

            fn value(&self) -> Value {
                json!(match self {
                    $(Self::$variant => $word,)+
                })
            }
        }
    };
}

choices!(crate::vars::Gathering {
    "implicit" => Implicit,
    "explicit" => Explicit,
    "smart" => Smart,
});
choices!(crate::source::DuplicateKeys {
    "warn" => Warn,
    "error" => Error,
    "ignore" => Ignore,
});
choices!(crate::report::ResultFormat {
    "json" => Json,
    "yaml" => Yaml,
});

impl Kind for Strategy {
    fn read(raw: &Raw, _: &Path) -> Result<Self, String> {
        Self::of(raw.text()?.trim()).ok_or_else(|| "`linear`, `free` or `host_pinned`".to_owned())
    }

    fn value(&self) -> Value {
        json!(self.name())
    }
}

/// A path with `~` and `$NAME`, from a folder; `{{CWD}}` is the working directory.
pub(in crate::cli) fn resolve(text: &str, dir: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    let text = text.trim().replace("{{CWD}}", &here.display().to_string());
    let path = PathBuf::from(expand_path(&text));
    if path.is_absolute() {
        path
    } else {
        dir.join(path)
    }
}

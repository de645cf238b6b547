//! What is wrong with a URL, in words that hold nothing of it.
//!
//! Invariant: no variant carries text of the URL; names and schemes come from lists of ours.

/// What a URL looks like, for hints.
pub(super) const SHAPE: &str = "postgres://USER:PASSWORD@HOST:5432/DATABASE";

/// Why a URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("it is a Prisma URL, which is spoken to over HTTP")]
    Http,
    #[error("it is a `{0}:` URL")]
    Scheme(&'static str),
    #[error("it does not begin with `postgres://` or `postgresql://`")]
    NoScheme,
    #[error("it names no {0}")]
    Missing(&'static str),
    #[error("it has a character that needs percent-encoding, most likely in its password")]
    Unescaped,
    #[error("its {0} has a control character or is not UTF-8")]
    Unprintable(&'static str),
    #[error("its host is neither one name nor one address")]
    Host,
    #[error("its port is not a number from 1 to 65535")]
    Port,
    #[error("it has a parameter without a value")]
    Valueless,
    #[error("its parameter `{name}` must be {allowed}")]
    Value { name: &'static str, allowed: &'static str },
    #[error("its parameter `{0}` is not supported")]
    Unsupported(&'static str),
    #[error("its `options` set `search_path` to no schema, or to more than one")]
    SearchPath,
    #[error("its `schema` and the `search_path` of its `options` name different schemas")]
    TwoSchemas,
    #[error("its `options` set `{0}` otherwise than a sync does")]
    Overridden(&'static str),
    #[error("its parameter `{name}` needs `{needs}`")]
    Needs { name: &'static str, needs: &'static str },
    #[error("its parameter `{name}` names a file that cannot be read")]
    File { name: &'static str, source: std::io::Error },
    #[error("`PGOPTIONS` in the environment would be sent along with it")]
    StrayOptions,
    #[error("`{name}` in the environment would be taken for what it leaves out")]
    Stray { name: &'static str, part: &'static str },
}

impl Problem {
    /// What to change.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Http | Self::Scheme(_) | Self::NoScheme => format!("write `{SHAPE}`"),
            Self::Missing(_) => format!("write `{SHAPE}`; `PGHOST`, `PGUSER` and `PGDATABASE` are not read"),
            Self::Unescaped | Self::Unprintable(_) => {
                "in user, password and database write `%` as `%25`, `/` as `%2F`, `?` as `%3F`, `#` as `%23`, \
                 `@` as `%40`"
                    .to_owned()
            }
            Self::Host | Self::Port => {
                format!("write `{SHAPE}`, with an IPv6 address in brackets, and `?host=/DIRECTORY` for a socket")
            }
            Self::Valueless => "write `NAME=VALUE`, and `&` in a value as `%26`".to_owned(),
            Self::Value { name, .. } => format!("correct or remove `{name}=`"),
            Self::Unsupported(name @ ("search_path" | "currentSchema")) => {
                format!("write `schema=NAME` instead of `{name}=`")
            }
            Self::Unsupported(name) => format!("remove `{name}=`; user and password go before the host: `{SHAPE}`"),
            Self::SearchPath => {
                "write `schema=NAME` for the schema that has the application's tables, and remove `search_path`".to_owned()
            }
            Self::TwoSchemas => "keep `schema=NAME`, and remove `search_path` from `options`".to_owned(),
            Self::Overridden(name) => format!("remove `{name}` from `options`; every transaction of a sync sets it"),
            Self::Needs { needs, .. } => format!("add `{needs}=FILE`"),
            Self::File { name, .. } => format!("correct `{name}=`; a path is relative to the current directory"),
            Self::StrayOptions => "run `unset PGOPTIONS` first".to_owned(),
            Self::Stray { name, part } => format!("put the {part} into the URL, or run `unset {name}` first"),
        }
    }
}

//! Guard: the users who will own the books exist in the target, and no book is without one.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::book::{OwnerMap, SourceUserId, TargetUserId};
use crate::config::mapping::OwnerLines;
use crate::error::{Error, Kind, Result};
use crate::printable::value;

/// A user of the target.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, serde::Serialize)]
pub struct User {
    /// The primary key.
    pub id: i32,
    /// Unique.
    pub email: String,
    /// May be absent.
    pub name: Option<String>,
}

/// Whom the call names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerChoice {
    /// `--user-id`.
    Id(i32),
    /// `--user-email`.
    Email(String),
    /// The owner map's default.
    Default(i32),
    /// Nobody: the only user, or the one that is chosen.
    Any,
}

/// Who will own the books.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owners {
    /// Of all books, or of those whose owner in production is not named.
    pub others: Option<Owner>,
    /// By production's user.
    pub named: BTreeMap<SourceUserId, TargetUserId>,
}

impl Owners {
    /// For remapping.
    pub fn map(&self) -> OwnerMap {
        OwnerMap::new(self.named.clone(), self.others.as_ref().map(Owner::id))
    }
}

/// The chosen user and why it is that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Who.
    pub user: User,
    /// How it came to that: `the only one`, `chosen`, `--user-id`, `default`.
    pub how: &'static str,
}

impl Owner {
    /// The id for remapping.
    pub fn id(&self) -> TargetUserId {
        TargetUserId(self.user.id)
    }
}

/// What the users of the target allow without a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// One that needs no question; `None` where every owner of production is named.
    Owner(Option<Owner>),
    /// One of these has to be chosen.
    Several,
}

/// The user whom the call names, else the default of the owner map.
pub fn wanted(wanted: &OwnerChoice, lines: &OwnerLines) -> OwnerChoice {
    match (wanted, lines.others) {
        (OwnerChoice::Any, Some(TargetUserId(id))) => OwnerChoice::Default(id),
        (wanted, _) => wanted.clone(),
    }
}

/// Who owns the books that no line of the owner map is about. `candidates` are the target's users that `wanted` allows.
///
/// # Errors
/// [`Kind::Usage`] when there is none.
pub fn find(wanted: &OwnerChoice, lines: &OwnerLines, candidates: &[User]) -> Result<Found> {
    let missing = |who: String| {
        Error::new(Kind::Usage, format!("could not give the books to {who}"))
            .because("the target has no such user")
            .hint("`dewey-sync users` lists the users, `dewey-sync users add` creates one")
    };
    let owner = |how, who: String| {
        let user = candidates.first().cloned().ok_or_else(|| missing(who))?;
        Ok(Found::Owner(Some(Owner { user, how })))
    };
    match wanted {
        OwnerChoice::Id(id) => owner("--user-id", format!("the user with id {id}")),
        OwnerChoice::Email(email) => {
            owner("--user-email", format!("the user with e-mail `{}`", value(email)))
        }
        OwnerChoice::Default(id) => {
            owner("default", format!("the user with id {id}, the default of the owner map"))
        }
        OwnerChoice::Any if !lines.named.is_empty() => Ok(Found::Owner(None)),
        OwnerChoice::Any => match candidates {
            [] => Err(Error::new(Kind::Usage, "could not find an owner for the books")
                .because("the target has no users")
                .hint(
                    "log in once in the application, or run `dewey-sync users add --email you@example.org`",
                )),
            [_] => owner("the only one", "a user".into()),
            _ => Ok(Found::Several),
        },
    }
}

/// `known` are those of the users named by the owner map that the target has; `unnamed` are owners of production that no
/// line is about, with their books.
///
/// # Errors
/// [`Kind::Usage`] when a named user is missing, [`Kind::Refused`] when an owner is neither named nor covered by a default.
pub fn check(
    lines: &OwnerLines,
    found: &Found,
    known: &[TargetUserId],
    unnamed: &[(i32, u64)],
) -> Result<()> {
    let missing: BTreeSet<i32> =
        lines.named.values().filter(|user| !known.contains(user)).map(|TargetUserId(id)| *id).collect();
    if !missing.is_empty() {
        let ids: Vec<String> = missing.iter().map(i32::to_string).collect();
        return Err(Error::new(Kind::Usage, "could not give books to the users of the owner map")
            .because(format!("the target has no user {}", ids.join(", ")))
            .hint("`dewey-sync users` lists the users, `dewey-sync users add` creates one"));
    }
    if *found != Found::Owner(None) || unnamed.is_empty() {
        return Ok(());
    }
    let list = unnamed.iter().take(UNNAMED_SHOWN).map(|(id, books)| format!("user {id} with {books} books"));
    let more = if unnamed.len() > UNNAMED_SHOWN { ", and others" } else { "" };
    let (first, _) = unnamed[0];
    Err(Error::new(Kind::Refused, "could not find an owner for every book")
        .because(format!(
            "the owner map names nobody for production's {}{more}",
            list.collect::<Vec<_>>().join(", ")
        ))
        .hint(format!(
            "under `[owners]` add a line such as `{first} = N` for each, or `default = N` for all of them"
        )))
}

/// How many owners without a line an error lists.
pub(crate) const UNNAMED_SHOWN: usize = 10;

//! Guard: the user who will own the books exists in the target.

use serde::Deserialize;

use crate::book::TargetUserId;
use crate::error::{Error, Kind, Result};

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
pub enum Wanted {
    /// `--user-id`.
    Id(i32),
    /// `--user-email`.
    Email(String),
    /// Nobody: the only user, or the one that is chosen.
    Any,
}

/// The chosen user and why it is that one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Who.
    pub user: User,
    /// How it came to that: `the only one`, `chosen`, `--user-id`.
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
    /// One that needs no question.
    Owner(Owner),
    /// One of these has to be chosen.
    Several,
}

/// `candidates` are the target's users that `wanted` allows.
///
/// # Errors
/// [`Kind::Usage`] when there is none.
pub fn find(wanted: &Wanted, candidates: &[User]) -> Result<Found> {
    let missing = |who: String| {
        Error::new(Kind::Usage, format!("could not give the books to {who}"))
            .because("the target has no such user")
            .hint("`dewey-sync users` lists the users, `dewey-sync users add` creates one")
    };
    let owner = |how| {
        let found = candidates.first().cloned();
        found.map(|user| Found::Owner(Owner { user, how }))
    };
    match wanted {
        Wanted::Id(id) => owner("--user-id").ok_or_else(|| missing(format!("the user with id {id}"))),
        Wanted::Email(email) => {
            owner("--user-email").ok_or_else(|| missing(format!("the user with e-mail `{email}`")))
        }
        Wanted::Any => match candidates {
            [] => Err(Error::new(Kind::Usage, "could not find an owner for the books")
                .because("the target has no users")
                .hint(
                    "log in once in the application, or run `dewey-sync users add --email you@example.org`",
                )),
            [_] => owner("the only one").ok_or_else(|| missing("a user".into())),
            _ => Ok(Found::Several),
        },
    }
}

//! Gives a book to a user of the target. Pure.

use sea_orm::{ActiveModelTrait, IntoActiveModel, Iterable};

use crate::book::{
    Column, CopiedColumns, OwnerMap, Role, SourceBook, SourceUserId, TargetBook, UPDATED_AT, role,
};
use crate::error::{Error, Kind, Result};

/// What every book of a run is remapped with.
#[derive(Debug, Clone)]
pub struct Remap {
    /// Who owns the books in the target.
    pub owners: OwnerMap,
    /// The columns that both sides have.
    pub columns: CopiedColumns,
    /// The run's start, for an `updatedAt` that only the target has: it is NOT NULL without a default.
    pub updated_at: Option<String>,
}

impl Remap {
    /// The book as the target shall have it: a new id, the mapped owner, every column that both sides have, and the
    /// target's defaults for the others.
    ///
    /// # Errors
    /// [`Kind::NotCompleted`] when nobody in the target owns the books of its owner.
    pub fn apply(&self, SourceBook(book): SourceBook) -> Result<TargetBook> {
        let source_id = book.id;
        let owner =
            self.owners.owner_of(SourceUserId(book.owner_id)).ok_or_else(|| unmapped(Some(book.owner_id)))?;
        let mut book = book.into_active_model().reset_all();
        for column in Column::iter() {
            match role(column) {
                Role::Owner => book.set(column, owner.0.into()),
                Role::Copied | Role::CopiedIfPresent if self.columns.contains(column) => {}
                Role::Id | Role::Copied | Role::CopiedIfPresent => book.not_set(column),
            }
        }
        if let Some(updated_at) = &self.updated_at {
            book.set(UPDATED_AT, updated_at.clone().into());
        }
        Ok(TargetBook { source_id, book })
    }
}

/// The error of a book of a user in the source, if it is known which, whose books nobody owns in the target.
pub(crate) fn unmapped(owner: Option<i32>) -> Error {
    let owner = owner.map_or_else(|| "N".to_owned(), |owner| owner.to_string());
    Error::new(Kind::NotCompleted, "could not find an owner for a book")
        .because(format!("production's user {owner} came meanwhile, and nobody owns that user's books here"))
        .hint(format!(
            "add `\"{owner}\" = M` or `default = M` under `[owners]`; `dewey-sync doctor` names such users"
        ))
}

#[cfg(test)]
mod tests {
    use sea_orm::ActiveValue::{NotSet, Set};

    use std::collections::BTreeMap;

    use super::*;
    use crate::book::{ActiveModel, Model, TargetUserId, comparable_type};

    /// Of the source's user 103: `x` in each column of text.
    fn book() -> Model {
        let mut book = <ActiveModel as ActiveModelTrait>::default();
        for column in Column::iter() {
            let is_number = comparable_type(column) == "integer";
            book.set(column, if is_number { 103.into() } else { "x".into() });
        }
        book.subjects = Set(Some("{NULL}".into()));
        for absent in [&mut book.edition, &mut book.read_date] {
            *absent = Set(None);
        }
        book.try_into().unwrap()
    }

    fn check(has_times: bool, updated_at: Option<&str>) -> ActiveModel {
        let mut columns = CopiedColumns::default();
        for column in Column::iter() {
            if role(column) == Role::Copied || has_times && role(column) == Role::CopiedIfPresent {
                columns.add(column, None);
            }
        }
        let owners = OwnerMap::new(BTreeMap::from([(SourceUserId(103), TargetUserId(3))]), None);
        let remap = Remap { owners, columns, updated_at: updated_at.map(str::to_owned) };
        remap.apply(SourceBook(book())).unwrap().book
    }

    #[test]
    fn the_id_is_left_to_the_target_and_the_owner_is_the_mapped_one() {
        let book = check(true, None);
        assert_eq!((book.id, book.owner_id), (NotSet, Set(3)));
        assert_eq!((book.subjects, book.edition), (Set(Some("{NULL}".into())), Set(None)));
        assert_eq!((book.created_at, book.updated_at), (Set("x".into()), Set("x".into())));
    }

    #[test]
    fn columns_that_a_side_lacks_keep_the_targets_defaults_but_for_the_one_without() {
        let book = check(false, Some("now"));
        assert_eq!((book.created_at, book.read_date), (NotSet, NotSet));
        assert_eq!(book.updated_at, Set("now".into()));
        assert_eq!(check(false, None).updated_at, NotSet);
    }
}

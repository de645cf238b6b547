//! Gives a book to a user of the target. Pure.

use sea_orm::{ActiveModelTrait, IntoActiveModel, Iterable};

use crate::book::{Column, CopiedColumns, Role, SourceBook, TargetBook, TargetUserId, UPDATED_AT, role};

/// What every book of a run is remapped with.
#[derive(Debug, Clone)]
pub struct Remap {
    /// Who owns the books in the target.
    pub owner: TargetUserId,
    /// The columns that both sides have.
    pub columns: CopiedColumns,
    /// The run's start, for an `updatedAt` that only the target has: it is NOT NULL without a default.
    pub updated_at: Option<String>,
}

impl Remap {
    /// The book as the target shall have it: a new id, the mapped owner, every column that both sides have, and the
    /// target's defaults for the others.
    pub fn apply(&self, SourceBook(book): SourceBook) -> TargetBook {
        let source_id = book.id;
        let mut book = book.into_active_model().reset_all();
        for column in Column::iter() {
            match role(column) {
                Role::Owner => book.set(column, self.owner.0.into()),
                Role::Copied | Role::CopiedIfPresent if self.columns.contains(column) => {}
                Role::Id | Role::Copied | Role::CopiedIfPresent => book.not_set(column),
            }
        }
        if let Some(updated_at) = &self.updated_at {
            book.set(UPDATED_AT, updated_at.clone().into());
        }
        TargetBook { source_id, book }
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::ActiveValue::{NotSet, Set};

    use super::*;
    use crate::book::Model;

    fn book() -> Model {
        let text = || "x".to_owned();
        Model {
            id: 7,
            owner_id: 103,
            isbn10: text(),
            isbn13: text(),
            title: text(),
            title_long: text(),
            language: text(),
            synopsis: text(),
            image: text(),
            edition: None,
            page_count: 1,
            authors: None,
            binding: text(),
            subjects: Some("{NULL}".into()),
            date_published: text(),
            image_original: text(),
            publisher: text(),
            visibility: text(),
            created_at: text(),
            read_date: None,
            updated_at: text(),
        }
    }

    fn check(has_times: bool, updated_at: Option<&str>) -> crate::book::ActiveModel {
        let mut columns = CopiedColumns::default();
        for column in Column::iter() {
            if role(column) == Role::Copied || has_times && role(column) == Role::CopiedIfPresent {
                columns.add(column, None);
            }
        }
        let remap = Remap { owner: TargetUserId(3), columns, updated_at: updated_at.map(str::to_owned) };
        remap.apply(SourceBook(book())).book
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

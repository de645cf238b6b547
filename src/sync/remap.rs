//! Gives a book to a user of the target. Pure.

use sea_orm::{NotSet, Set};

use crate::book::{ActiveModel, Column, CopiedColumns, Model, SourceBook, TargetBook, TargetUserId};

/// What every book of a run is remapped with.
#[derive(Debug, Clone)]
pub struct Remap {
    /// Who owns the books in the target.
    pub owner: TargetUserId,
    /// The columns that both sides have.
    pub columns: CopiedColumns,
    /// The run's start, for an `updatedAt` that the source lacks: the column is NOT NULL without a default.
    pub started_at: String,
}

impl Remap {
    /// The book as the target shall have it: a new id, the mapped owner, every column that both sides have, and the
    /// target's defaults for the others.
    pub fn apply(&self, book: SourceBook) -> TargetBook {
        let travels = |column| self.columns.contains(column);
        let Model {
            id: _,
            owner_id: _,
            isbn10,
            isbn13,
            title,
            title_long,
            language,
            synopsis,
            image,
            edition,
            page_count,
            authors,
            binding,
            subjects,
            date_published,
            image_original,
            publisher,
            visibility,
            created_at,
            read_date,
            updated_at,
        } = book.0;
        TargetBook(ActiveModel {
            id: NotSet,
            owner_id: Set(self.owner.0),
            isbn10: Set(isbn10),
            isbn13: Set(isbn13),
            title: Set(title),
            title_long: Set(title_long),
            language: Set(language),
            synopsis: Set(synopsis),
            image: Set(image),
            edition: Set(edition),
            page_count: Set(page_count),
            authors: Set(authors),
            binding: Set(binding),
            subjects: Set(subjects),
            date_published: Set(date_published),
            image_original: Set(image_original),
            publisher: Set(publisher),
            visibility: Set(visibility),
            created_at: if travels(Column::CreatedAt) { Set(created_at) } else { NotSet },
            read_date: if travels(Column::ReadDate) { Set(read_date) } else { NotSet },
            updated_at: Set(if travels(Column::UpdatedAt) { updated_at } else { self.started_at.clone() }),
        })
    }
}

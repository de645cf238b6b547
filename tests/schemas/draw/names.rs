//! Names as applications have them, and names that only a quoted identifier can have.

use std::collections::BTreeSet;

use crate::dice::Dice;

const PLAIN: [&str; 12] = [
    "Review",
    "Shelf",
    "Loan",
    "Note",
    "Tag",
    "Quote",
    "Edition",
    "book_copy",
    "Wish",
    "Author",
    "Series",
    "Gift",
];

/// What a query might call something of its own.
const BUSY: [&str; 16] = [
    "stage", "replaced", "gone", "kept", "old", "new", "books", "b", "t", "row", "place", "relation",
    "tuple", "next", "lost", "key",
];

const HOSTILE: [&str; 14] = [
    "Order",
    "select",
    "a b",
    "it\"s",
    "d'oh",
    "per%cent",
    "back\\slash",
    "semi;colon",
    "--dash",
    "$1",
    "$$",
    "Kitap İı",
    "{table}",
    "a_name_of_sixty_three_bytes_which_is_as_long_as_a_name_may_be_x",
];

/// Another schema than the application's.
pub(crate) const OTHER_SCHEMAS: [&str; 2] = ["archive", "my \"schema\""];

/// The names that are taken.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// The schema and the name of a table.
    pub(super) fn table(&mut self, dice: &mut Dice) -> (&'static str, String) {
        let schema = if dice.chance(15) { *dice.pick(&OTHER_SCHEMAS) } else { "public" };
        if schema != "public" && dice.chance(25) {
            // Another table of the book table's name is none of a sync's business.
            let name = self.unused(&["Book", "User"], dice);
            return (schema, name);
        }
        let names: &[&str] = dice.weighted(&[(25, &HOSTILE[..]), (15, &BUSY[..]), (60, &PLAIN[..])]);
        (schema, self.unused(names, dice))
    }

    /// The name of a column for references.
    pub(super) fn reference(&mut self, dice: &mut Dice) -> String {
        let plain = &["ref", "parentId", "of", "bookId"][..];
        let names: &[&str] = dice.weighted(&[(12, &HOSTILE[..]), (18, &BUSY[..]), (70, plain)]);
        self.unused(names, dice)
    }

    /// No two tables or columns have the same name, so that a message can be read.
    fn unused(&mut self, names: &[&str], dice: &mut Dice) -> String {
        let name = *dice.pick(names);
        let numbered = (2..).map(|number| {
            let suffix = format!("_{number}");
            let room =
                (0..=63 - suffix.len()).rev().find(|length| name.is_char_boundary((*length).min(name.len())));
            format!("{}{suffix}", &name[..room.unwrap_or_default().min(name.len())])
        });
        let name = [name.to_owned()].into_iter().chain(numbered).find(|name| !self.0.contains(name)).unwrap();
        self.0.insert(name.clone());
        name
    }
}

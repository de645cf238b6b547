//! What is at stake in a target that nobody has marked, and whether it looks like the source.

/// How much a database holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Rows of the book table.
    pub books: u64,
    /// Rows of the table of users, where the role may count them.
    pub users: Option<u64>,
}

/// An unmarked target, before its name is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stake {
    /// The target's size.
    pub target: Size,
    /// Different owners of the target's books.
    pub owners: u64,
    /// The source's size, where it is known.
    pub source: Option<Size>,
}

impl Stake {
    /// What would be lost if the target were production, and a sign that it is.
    pub fn clauses(&self) -> Vec<String> {
        self.replaced().into_iter().chain(self.swapped()).collect()
    }

    /// `352 books of 3 users would be replaced`.
    fn replaced(&self) -> Option<String> {
        let Size { books, .. } = self.target;
        let counted = format!("{} of {} would be replaced", count(books, "book"), count(self.owners, "user"));
        (books > 0).then_some(counted)
    }

    /// Production is where the most books and users are.
    fn swapped(&self) -> Option<String> {
        let source = self.source?;
        let fewer = |here: u64, there: u64, what: &str| {
            let text = format!(
                "the source has fewer {what}s than the target ({here} and {there}): are the two swapped?"
            );
            (here < there).then_some(text)
        };
        fewer(source.books, self.target.books, "book")
            .or_else(|| fewer(source.users?, self.target.users?, "user"))
    }
}

fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_with_less_than_the_target_looks_swapped() {
        let size = |books, users| Size { books, users };
        for (source, target, says) in [
            (Some(size(352, Some(3))), size(352, Some(3)), ""),
            (Some(size(400, Some(9))), size(352, Some(3)), ""),
            (Some(size(400, None)), size(352, Some(9)), ""),
            (Some(size(400, Some(9))), size(352, None), ""),
            (None, size(352, Some(3)), ""),
            (Some(size(351, Some(9))), size(352, Some(3)), "fewer books than the target (351 and 352)"),
            (Some(size(351, None)), size(352, None), "fewer books than the target (351 and 352)"),
            (Some(size(400, Some(2))), size(352, Some(3)), "fewer users than the target (2 and 3)"),
        ] {
            let said = Stake { target, owners: 3, source }.clauses();
            assert_eq!(said[0], "352 books of 3 users would be replaced");
            let swapped = said.get(1).map_or("", String::as_str);
            assert!(swapped.contains(says) && swapped.is_empty() == says.is_empty(), "{swapped} {says}");
        }
    }

    #[test]
    fn what_is_empty_is_not_replaced() {
        let target = Size { books: 0, users: Some(1) };
        assert_eq!(Stake { target, owners: 0, source: None }.clauses(), Vec::<String>::new());
    }
}

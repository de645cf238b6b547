//! Who owns a book: in the source, and in the target.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// A user's id in the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceUserId(pub i32);

/// A user's id in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TargetUserId(pub i32);

/// Which user of the target owns the books of which user of the source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerMap {
    named: BTreeMap<SourceUserId, TargetUserId>,
    others: Option<TargetUserId>,
}

impl OwnerMap {
    /// Those that are named, and who owns the books of everybody else, if anybody does.
    pub fn new(named: BTreeMap<SourceUserId, TargetUserId>, others: Option<TargetUserId>) -> Self {
        Self { named, others }
    }

    /// Who owns the books of `owner`.
    pub fn owner_of(&self, owner: SourceUserId) -> Option<TargetUserId> {
        self.named.get(&owner).copied().or(self.others)
    }

    /// The same as an SQL expression of integer over the source's owner; NULL for nobody.
    pub fn sql(&self, owner: &str) -> String {
        let others = self.others.map_or_else(|| "NULL".to_owned(), |TargetUserId(id)| id.to_string());
        if self.named.is_empty() {
            return format!("{others}::integer");
        }
        let named = self.named.iter().map(|(from, to)| format!(" WHEN {} THEN {}", from.0, to.0));
        format!("(CASE {owner}{} ELSE {others} END)::integer", named.collect::<String>())
    }

    /// Everybody who may come to own a book.
    pub fn users(&self) -> BTreeSet<TargetUserId> {
        self.named.values().copied().chain(self.others).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_owner_is_who_is_named_and_anybody_else_the_default() {
        let named =
            BTreeMap::from([(SourceUserId(17), TargetUserId(3)), (SourceUserId(-1), TargetUserId(4))]);
        let map = OwnerMap::new(named.clone(), Some(TargetUserId(1)));
        let owners = [17, -1, 5].map(|id| map.owner_of(SourceUserId(id)).unwrap().0);
        assert_eq!(owners, [3, 4, 1]);
        assert_eq!(map.sql("o"), "(CASE o WHEN -1 THEN 4 WHEN 17 THEN 3 ELSE 1 END)::integer");
        assert_eq!(map.users().into_iter().map(|user| user.0).collect::<Vec<_>>(), [1, 3, 4]);
        let strict = OwnerMap::new(named, None);
        assert_eq!(strict.owner_of(SourceUserId(5)), None);
        assert_eq!(strict.sql("o"), "(CASE o WHEN -1 THEN 4 WHEN 17 THEN 3 ELSE NULL END)::integer");
    }
}

//! The README's table of exit codes is the code's.

use std::collections::BTreeSet;

use dewey_sync::error::Kind;

/// The codes in the first cells of the table, `130 / 143` and the like apart.
fn documented() -> Vec<u8> {
    let readme = include_str!("../../README.md");
    let first_cells = readme.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
    first_cells.flat_map(|cell| cell.split('/').filter_map(|code| code.trim().parse().ok())).collect()
}

#[test]
fn the_readme_has_a_row_for_success_and_for_each_kind_of_ending() {
    let codes: Vec<u8> = std::iter::once(0).chain(Kind::ALL.map(Kind::exit_code)).collect();
    assert_eq!(documented(), codes);
    assert_eq!(BTreeSet::from_iter(&codes).len(), codes.len(), "two endings share a code");
}

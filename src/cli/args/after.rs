//! What `--help` shows below the options.

use crate::error::{Kind, SUCCESS};

/// Below `-h`.
pub(super) const BRIEF: &str = "\
`dewey-sync --help` lists the exit codes, `dewey-sync COMMAND --help` all options of a command.";

/// Below `sync --help`.
pub(super) const SYNC_EXAMPLES: &str = "\
Examples:
  dewey-sync sync --dry-run                # check and count everything, write nothing
  dewey-sync sync                          # the first sync: asks before it changes a book
  dewey-sync sync --yes --user-id 1        # in CI: asks nothing
  dewey-sync sync --yes --allow-cascade    # also delete rows that reference deleted books
  dewey-sync sync --resume                 # complete the newest unfinished run
  dewey-sync sync --engine copy            # binary COPY: faster for many books";

/// Below `--help`: one exit code per line.
pub(super) fn exit_codes() -> String {
    let kinds = Kind::ALL.map(|kind| (kind.exit_code(), kind.meaning()));
    let lines = std::iter::once((0, SUCCESS)).chain(kinds);
    let lines = lines.map(|(code, meaning)| format!("{code:>5}  {meaning}"));
    lines.fold("Exit codes:".to_owned(), |text, line| text + "\n" + &line)
}

//! The statement log of a source, read once at the end: everything that the tool ever asked of it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::support::inspect::{queries_own, split};
use crate::world::{Failure, Harm, Verdict};

/// How many statements the tool ran.
///
/// # Errors
/// When one of them was no part of a READ ONLY transaction and did not end one.
pub(crate) fn only_read(log: &Path) -> Verdict<usize> {
    let mut reader = Reader::default();
    let mut lines = BufReader::new(File::open(log).unwrap()).split(b'\n');
    while let Some(line) = lines.next().transpose().unwrap() {
        reader.line(&String::from_utf8_lossy(&line))?;
    }
    reader.end_of_query()?;
    Ok(reader.statements)
}

#[derive(Default)]
struct Reader {
    /// Whether a session, by its process, is in a READ ONLY transaction.
    open: HashMap<String, bool>,
    /// The session and the text of the query whose lines are being read.
    query: Option<(String, String)>,
    statements: usize,
}

impl Reader {
    fn line(&mut self, line: &str) -> Verdict {
        // PostgreSQL puts a tab before each further line of a message.
        if let Some(more) = line.strip_prefix('\t') {
            if let Some((_, query)) = &mut self.query {
                query.push('\n');
                query.push_str(more);
            }
            return Ok(());
        }
        self.end_of_query()?;
        let began = queries_own(line, "");
        self.query = began.map(|(session, query)| (session.to_owned(), query.to_owned()));
        Ok(())
    }

    fn end_of_query(&mut self) -> Verdict {
        let Some((session, query)) = self.query.take() else { return Ok(()) };
        let open = self.open.entry(session).or_default();
        for statement in split(&query) {
            self.statements += 1;
            let word = statement.split_whitespace().next().unwrap_or_default();
            let right = match word {
                // Whatever another session with this process's number left open.
                "BEGIN" => statement.contains("READ ONLY"),
                "SET" | "SHOW" | "SELECT" | "WITH" | "COMMIT" | "ROLLBACK" => *open,
                "COPY" => *open && statement.contains(" TO "),
                _ => false,
            };
            if !right {
                let text = format!("the source was told, outside a READ ONLY transaction: {statement}");
                return Err(Failure { harm: Harm::Other, text });
            }
            *open = !matches!(word, "COMMIT" | "ROLLBACK");
        }
        Ok(())
    }
}

//! Which books of a sample do not fit into the target, and why: what a rehearsal that failed says.

use crate::book::{SourceBook, TABLE};
use crate::error::{Error, Kind, Result};
use crate::postgres::{Fault, Limit, Target, literal};
use crate::transfer::export::SAMPLE_MAX;

/// How many source ids a refusal names.
const IDS_SHOWN: usize = 10;

/// Where a sample was tried.
pub(super) struct Tried<'a> {
    pub(super) target: &'a Target,
    pub(super) limit: Limit,
    /// What to do without a change.
    pub(super) instead: &'static str,
}

/// What a rehearsal failed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Culprit {
    /// Some of its books.
    Book,
    /// The kind or the state of a table, a rule, or a right that a trigger lacks: the same for every book.
    Table,
    /// The server, the connection, the disk, or a right that the role lacks.
    Other,
}

impl Culprit {
    fn of(fault: &Fault) -> Self {
        let state = fault.sqlstate().unwrap_or("XX000");
        match &state[..2] {
            "0A" | "55" => Self::Table,
            "42" if state == "42501" && fault.function.is_none() => Self::Other,
            "42" if state == "42501" => Self::Table,
            "08" | "28" | "3D" | "53" | "57" | "58" | "XX" => Self::Other,
            _ => Self::Book,
        }
    }
}

impl Tried<'_> {
    /// The error of a `sample` that met `fault`; `fits` tries some of its books again. What says nothing of books or tables is the
    /// error `otherwise`.
    pub(super) async fn refused(
        &self,
        fault: Fault,
        sample: &[SourceBook],
        otherwise: impl Fn(Fault) -> Error,
        fits: impl AsyncFnMut(&[SourceBook]) -> Result<bool>,
    ) -> Error {
        let ids = match Culprit::of(&fault) {
            Culprit::Book => match do_not_fit(sample, fits).await {
                Ok(ids) => ids,
                Err(error) => return error,
            },
            Culprit::Table => Vec::new(),
            Culprit::Other => return otherwise(fault),
        };
        let mut doing = "books of production do not fit into development".to_owned();
        if !ids.is_empty() {
            let shown: Vec<String> = ids.iter().map(i32::to_string).collect();
            doing = format!("{doing}: source ids {}", shown.join(", "));
        }
        if let Some(function) = &fault.function
            && let Some(triggers) = self.triggers_of(function).await
        {
            doing = format!("{doing} (trigger {triggers})");
        }
        let mend = match fault.sqlstate() {
            Some("42501") => "grant the target's role what that function needs",
            _ if ids.is_empty() => "change development's table, rule or trigger",
            _ => "change development's constraint or trigger, or these books",
        };
        Error::new(Kind::Refused, doing).because(fault).hint(format!(
            "{mend}; a sample of {SAMPLE_MAX} books was tried and rolled back; {}",
            self.instead
        ))
    }

    /// The triggers that call `function`, of other tables with their names.
    async fn triggers_of(&self, function: &str) -> Option<String> {
        let sql = format!(
            "SELECT string_agg(DISTINCT format('`%I`', tgname) || CASE WHEN tgrelid <> to_regclass({}) THEN format(' of `%I.%I`', nspname, relname)
   ELSE '' END, ', ') FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid JOIN pg_namespace n ON n.oid = relnamespace
 WHERE NOT tgisinternal AND tgparentid = 0 AND tgfoid = to_regprocedure({})",
            literal(TABLE),
            literal(function)
        );
        let rows = self.target.read_once(self.limit, &sql).await.ok()?;
        sqlx::Row::try_get(rows.first()?, 0).ok()?
    }
}

/// The source ids of books that do not fit, found by halving.
async fn do_not_fit(
    sample: &[SourceBook],
    mut fits: impl AsyncFnMut(&[SourceBook]) -> Result<bool>,
) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    let mut suspected = vec![sample];
    while let Some(books) = suspected.pop() {
        if found.len() == IDS_SHOWN {
            break;
        }
        let (first, second) = books.split_at(books.len() / 2);
        let mut is_found = false;
        for half in [second, first].into_iter().filter(|half| !half.is_empty()) {
            let fits = books.len() > 1 && fits(half).await?;
            if !fits && half.len() == 1 {
                found.push(half[0].0.id);
            } else if !fits {
                suspected.push(half);
            }
            is_found |= !fits;
        }
        // Each half fits: it is all of them together that do not.
        if !is_found {
            found.extend(books.iter().map(|book| book.0.id));
        }
    }
    found.sort_unstable();
    found.truncate(IDS_SHOWN);
    Ok(found)
}

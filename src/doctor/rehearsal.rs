//! `doctor --rehearse`: the rehearsal of a sync, for which the ledger and a run are made in the same transaction where they are
//! absent, and rolled back with it.

use dewey_sync_migration::{LEDGER_VERSION, ledger_statements};

use super::findings::{About, Diagnosis};
use crate::book::CopiedColumns;
use crate::error::{Error, Result};
use crate::preflight::catalog::Facts;
use crate::preflight::guard::owner::{Found, Owner, Owners};
use crate::preflight::survey::TargetSurvey;
use crate::preflight::{Preflight, Sides};
use crate::sync::losses::{self, Losses};
use crate::sync::rehearsal::{Rehearsed, Stage};
use crate::sync::sample::sample;
use crate::transfer::remap::Remap;

/// Of the transaction that is rolled back; real runs are counted from 1.
const RUN_ID: i64 = -1;

/// Writes a sample of the books and rolls back.
pub(crate) async fn rehearse(
    diagnosis: &mut Diagnosis,
    sides: &Sides,
    (target, books): (&Facts, &TargetSurvey),
    columns: &CopiedColumns,
    owner: &Found,
) {
    let owners = owners(sides, books, owner);
    let remap = Remap {
        owners: owners.map(),
        columns: columns.clone(),
        updated_at: Preflight::updated_at(target, columns),
    };
    let rehearsed = tried(sides, &remap, books.ledger_version.as_deref()).await;
    match rehearsed {
        Ok(Rehearsed::Written { books, losses }) if losses.is_empty() => {
            let said = match books {
                0 => "no book of the sample differs, so that none was written".to_owned(),
                1 => "1 book of a sample was written and rolled back".to_owned(),
                _ => format!("{books} books of a sample were written and rolled back"),
            };
            diagnosis.fine(About::Both, "rehearsal", said);
        }
        Ok(Rehearsed::Written { losses, .. }) => told(diagnosis, &losses),
        Ok(Rehearsed::Undecided(text)) => diagnosis.note(About::Both, "rehearsal", text, None),
        Err(error) => diagnosis.problem(About::Both, "rehearsal", error),
    }
}

fn told(diagnosis: &mut Diagnosis, losses: &Losses) {
    let found = format!("writing a sample also changed {}", losses::describe(losses.effects()));
    let fix = "with `--yes`, a sync needs `--allow-cascade`";
    diagnosis.note(About::Both, "rehearsal", found, Some(fix.into()));
}

/// Any of several users may own the sample.
fn owners(sides: &Sides, books: &TargetSurvey, owner: &Found) -> Owners {
    let others = match owner {
        Found::Owner(owner) => owner.clone(),
        Found::Several => {
            let user = books.candidates.iter().flatten().next().cloned();
            user.map(|user| Owner { user, how: "one of several" })
        }
    };
    Owners { others, named: sides.mapping.owners.named.clone() }
}

async fn tried(sides: &Sides, remap: &Remap, ledger: Option<&str>) -> Result<Rehearsed> {
    let limit = sides.target.server().short_limit();
    let reading = |fault: crate::postgres::Fault| -> Error {
        fault.error("could not read a sample of the source's books")
    };
    let sample = sample(sides, remap, sides.source.server().short_limit()).await.map_err(reading)?;
    let books = sample.into_books().await;
    let ledger = match ledger {
        Some(LEDGER_VERSION) => String::new(),
        other => format!("{}; ", ledger_statements(other)),
    };
    let before = format!(
        "{ledger}INSERT INTO dewey_sync.run (run_id, action, state, os_user, host, tool_version, target, target_identity) \
         VALUES ({RUN_ID}, 'rehearsal', 'running', '', '', '', '', ''); "
    );
    Stage { target: &sides.target, limit, before }.rehearse(RUN_ID, remap, &books).await
}

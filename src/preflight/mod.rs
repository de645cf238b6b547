//! Reaches both sides and lets every guard look, before anything is written.
//!
//! Two round trips, both sides at the same time, in read-only transactions that overlap, because the same-database guard
//! needs the lock of either side to be held while the other one tries it.

pub mod catalog;
pub mod connect_error;
pub mod guard;
pub mod opening;
pub mod survey;
pub mod target_only;

use sea_orm::IdenStatic;

use crate::book::{Column, CopiedColumns, TABLE, UPDATED_AT};
use crate::config::Mapping;
use crate::dependents::Agreement;
use crate::dependents::uncounted::NOT_COUNTED;
use crate::error::{Error, Kind, Result};
use crate::postgres::query::Query;
use crate::postgres::{Server, Source, SourceTx, Target, Tx};
use crate::progress::{Event, Phase, Progress};
use crate::retry;
use catalog::{Facts, SideFacts};
use connect_error::{connect_error, pool_too_small};
use guard::empty_source::{self, EmptySource};
use guard::owner::{self, Found, OwnerChoice};
use guard::rights::{self, Needs};
use guard::stake::{Size, Stake};
use guard::target_identity::{Ends, Marking};
use guard::{encoding, hidden_rows, kind, same_database, schema, settings, swapped, triggers};
use opening::{asking, open};
use survey::{SourceSurvey, TargetSurvey, refuse_newer, source_books_query, target_books_query};

/// The two databases of a sync, and what becomes of their differences.
#[derive(Debug)]
pub struct Sides {
    /// Production.
    pub source: Source,
    /// Development.
    pub target: Target,
    /// `dewey-sync.toml`.
    pub mapping: Mapping,
}

impl Sides {
    /// Where both are, for the name that marks the target.
    pub fn ends(&self) -> Ends<'_> {
        Ends { target: self.target.server().endpoint(), source: Some(self.source.server().endpoint()) }
    }
}

/// What the guards need to know from the call.
#[derive(Debug, Clone)]
pub struct GuardOptions {
    /// Who shall own the books.
    pub owner: OwnerChoice,
    /// `--mark-development`.
    pub mark_development: Option<String>,
    /// How losses of dependents are agreed to.
    pub agreement: Agreement,
    /// Whether the source may have no books.
    pub empty_source: EmptySource,
}

/// Both sides as they are, told apart and able to be compared; nothing was written yet.
#[derive(Debug, Clone)]
pub struct Preflight {
    /// The source's catalogs and settings.
    pub source: Facts,
    /// The source's books.
    pub source_books: SourceSurvey,
    /// The target's catalogs and settings.
    pub target: Facts,
    /// The target's books, users and ledger.
    pub target_books: TargetSurvey,
    /// The columns that travel.
    pub columns: CopiedColumns,
}

/// A preflight that every guard of a sync has passed.
#[derive(Debug, Clone)]
pub struct Checked {
    /// Both sides.
    pub found: Preflight,
    /// How the target comes to be marked.
    pub marking: Marking,
    /// Who will own the books, or that it has to be asked.
    pub owner: Found,
}

impl Preflight {
    /// The run's start, where only the target has an `updatedAt`.
    pub(crate) fn updated_at(target: &Facts, columns: &CopiedColumns) -> Option<String> {
        (target.has(UPDATED_AT) && !columns.contains(UPDATED_AT)).then(|| target.now.clone())
    }

    /// What is at stake if the target is not marked.
    pub fn stake(&self) -> Stake {
        stake(&self.source_books, &self.target_books)
    }
}

/// What is at stake if the target is not marked.
pub(crate) fn stake(source: &SourceSurvey, target: &TargetSurvey) -> Stake {
    Stake {
        target: Size { books: target.books, users: Some(target.users) },
        owners: target.different_owners.unwrap_or_default(),
        source: Some(Size { books: source.books, users: source.users }),
    }
}

/// Opens a connection to both sides at once. Not retried, except for a server that is starting up or full, so that a wrong
/// host or password answers at once.
///
/// # Errors
/// The source's when both fail.
pub async fn connect(sides: &Sides, progress: &dyn Progress) -> Result<()> {
    progress.event(&Event::Phase { phase: Phase::Checking });
    let (source, target) = tokio::join!(reach(sides.source.server()), reach(sides.target.server()));
    source.and(target)
}

/// Opens a connection to the target that will be needed soon. Whether the server can be reached is for another one to say.
pub(crate) async fn connect_spare(target: &Target) {
    if !target.server().lacks_startup_options() && target.server().connect().await.is_err() {
        tracing::debug!("the target has no spare connection");
    }
}

/// Opens the first connection to `server`, and behind a pooler as many as a run needs.
pub async fn reach(server: &Server) -> Result<()> {
    let endpoint = server.endpoint();
    retry::while_starting(server.connect_timeout(), async || server.connect().await)
        .await
        .map_err(|fault| connect_error(fault, endpoint))?;
    server.check_pool().await.map_err(|fault| pool_too_small(fault, server))
}

/// Asks both sides and lets the guards look at the answers; with `batch_size`, also for a plan.
///
/// # Errors
/// A guard's; or that of a query, whose kind is [`Kind::Usage`] when it misses a right or a table.
pub async fn check(
    sides: &Sides,
    guards: &GuardOptions,
    batch_size: Option<u32>,
    progress: &dyn Progress,
) -> Result<Checked> {
    let found = look(sides, &guards.owner, batch_size, Needs::Writing, progress).await?;
    let Preflight { source_books, target, target_books, .. } = &found;
    let at_target = sides.target.server().endpoint();
    kind::check_keys(at_target, target, target_books.repeated_ids)?;
    rights::check_upgrade(at_target, target, target_books.ledger_is_old()?)?;
    empty_source::check(source_books.books, target_books.books, guards.empty_source)?;
    let marked = target_books.marked.as_ref();
    let name = guards.mark_development.as_deref();
    let marking = sides.ends().check(target, marked, target_books.books, name)?;
    let owner = owner_of(sides, &guards.owner, source_books, target_books)?;
    Ok(Checked { found, marking, owner })
}

/// Who will own the books, as far as the call and the owner map say.
pub fn owner_of(
    sides: &Sides,
    wanted: &OwnerChoice,
    source_books: &SourceSurvey,
    target_books: &TargetSurvey,
) -> Result<Found> {
    let lines = &sides.mapping.owners;
    let wanted = owner::wanted(wanted, lines);
    let found = owner::find(&wanted, lines, target_books.candidates.as_deref().unwrap_or_default())?;
    let known = target_books.named_users.as_deref().unwrap_or_default();
    owner::check(lines, &found, known, source_books.unnamed_owners.as_deref().unwrap_or_default())?;
    Ok(found)
}

/// Asks both sides, with the guards that concern reading as well; with `batch_size`, also for a plan.
pub async fn look(
    sides: &Sides,
    wanted: &OwnerChoice,
    batch_size: Option<u32>,
    needs: Needs,
    progress: &dyn Progress,
) -> Result<Preflight> {
    let (at_source, at_target) = (sides.source.server().endpoint(), sides.target.server().endpoint());
    let ((source_tx, source), (target_tx, target)) = open(&sides.source, &sides.target).await?;
    if let Some(text) = same_database::notice(&source, &target) {
        progress.event(&Event::Notice { text });
    }
    for (endpoint, facts) in [(at_source, &source), (at_target, &target)] {
        schema::version(SideFacts { endpoint, facts })?;
        settings::check(endpoint, facts)?;
        kind::check(endpoint, facts)?;
        hidden_rows::check(endpoint, facts)?;
    }
    triggers::check(target.foreign_keys.as_deref().unwrap_or_default())?;
    rights::check(at_source, &source, Needs::Finding)?;
    rights::check(at_target, &target, needs)?;
    let (columns, notices) = schema::check(
        SideFacts { endpoint: at_source, facts: &source },
        SideFacts { endpoint: at_target, facts: &target },
        &sides.mapping,
    )?;
    check_expressions(&source_tx, &columns, &sides.mapping).await?;
    kind::check_source(&source_tx, &source, &columns).await?;
    encoding::check(&source_tx, &source, &columns).await?;
    let (source_books, target_books) = tokio::join!(
        source_books(sides, source_tx, &source, &columns, batch_size),
        target_books(sides, wanted, target_tx, &target)
    );
    let (source_books, target_books) = (source_books?, target_books?);
    refuse_newer(target_books.ledger_version.as_deref())?;
    if let Some(text) = swapped::check(&source, &target, source_books.marked.as_ref())? {
        progress.event(&Event::Notice { text });
    }
    if !target.track_counts {
        progress.event(&Event::Notice { text: NOT_COUNTED.into() });
    }
    notice_rights(&source, progress);
    for text in notices.into_iter().chain(kind::notice(&target)) {
        progress.event(&Event::Notice { text });
    }
    Ok(Preflight { source, source_books, target, target_books, columns })
}

pub(crate) async fn source_books(
    sides: &Sides,
    source_tx: SourceTx<'_>,
    source: &Facts,
    columns: &CopiedColumns,
    batch_size: Option<u32>,
) -> Result<SourceSurvey> {
    let at_source = sides.source.server().endpoint();
    let query = source_books_query(source, columns, &sides.mapping.owners, batch_size);
    source_tx.last(Query::json(query)).await.map_err(asking(at_source))
}

pub(crate) async fn target_books(
    sides: &Sides,
    wanted: &OwnerChoice,
    target_tx: Tx<'_>,
    target: &Facts,
) -> Result<TargetSurvey> {
    let at_target = sides.target.server().endpoint();
    let lines = &sides.mapping.owners;
    let query = target_books_query(target, &owner::wanted(wanted, lines), lines);
    target_tx.last(Query::json(query)).await.map_err(asking(at_target))
}

fn notice_rights(source: &Facts, progress: &dyn Progress) {
    if source.can_write == Some(true) {
        let text = "the source's role may change books; every transaction is read-only all the same, \
                    and the README has the SQL for a role that may only SELECT";
        progress.event(&Event::Notice { text: text.into() });
    }
}

/// Lets the source parse what `dewey-sync.toml` has it compute as the one statement that it has to be: elsewhere the
/// expressions are part of a text in which a semicolon would begin another statement.
pub(crate) async fn check_expressions(
    source: &SourceTx<'_>,
    columns: &CopiedColumns,
    mapping: &Mapping,
) -> Result<()> {
    let decided: Vec<Column> = columns.decided().collect();
    if decided.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = decided.iter().map(IdenStatic::as_str).collect();
    let expressions: Vec<String> = decided.iter().map(|column| columns.at_source(*column)).collect();
    let parsed = source.parse(&format!("SELECT id, {} FROM {TABLE} LIMIT 0", expressions.join(", "))).await;
    parsed.map_err(|fault| {
        let doing =
            format!("could not compute `{}` as `{}` says", names.join("`, `"), mapping.path.display());
        Error::new(Kind::Usage, doing)
            .because(fault)
            .hint("each `sql` is one expression over the columns of production's book table")
    })
}

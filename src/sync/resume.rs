//! Finds the run that goes on, and refuses where it would not be the same run any more.

use dewey_sync_entity::ledger::run;
use dewey_sync_entity::user;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::ask::Unfinished;
use super::call::Call;
use super::request::{Request, Resume, Strategy};
use crate::error::{Error, Kind, Result};
use crate::ledger::run::compatible;
use crate::ledger::state::RunState;
use crate::postgres::Fault;
use crate::preflight::guard::owner::{Owner, OwnerChoice, User};
use crate::preflight::{Preflight, Sides};
use crate::printable::{VALUE_COLUMNS, columns, cut, value};
use crate::transfer::engine::Engine;

/// The ledger's migration from which on its runs have all columns of today.
const READABLE: &str = "m0009_run_session";

/// The run to go on with, if the call or somebody on the terminal wants that.
///
/// # Errors
/// [`Kind::Usage`] when there is none; [`Kind::Refused`] when it would not be the same run any more.
pub(super) async fn find(call: Call<'_>, found: &Preflight) -> Result<Option<Unfinished>> {
    let Call { sides, request, ask, .. } = call;
    let offered = request.resume == Resume::Offer;
    let is_old = found.target_books.ledger_is_old()?;
    if offered && (is_old || !ask.waits()) {
        return Ok(None);
    }
    // A run of an older ledger is read to say that its version began it.
    let version = found.target_books.ledger_version.as_deref();
    let run = match version.filter(|_| found.target.ledger) {
        Some(version) if version >= READABLE => read(sides, request.resume).await?,
        Some(version) => {
            let older = format!("an older version of this tool, whose ledger is at `{version}`, began it");
            return Err(refused(request.resume, &[older]));
        }
        None => None,
    };
    let Some((run, owner)) = run else {
        return if offered { Ok(None) } else { Err(nothing_to_resume(request.resume)) };
    };
    if !RunState::named(&run.state).is_some_and(RunState::is_resumable) || run.action != "sync" {
        return Err(not_resumable(&run));
    }
    let differences = differences(&run, request, sides, found);
    match unfinished(run, owner) {
        Ok(unfinished) if differences.is_empty() => {
            let wanted = !offered || ask.resume(&unfinished).await?;
            Ok(wanted.then_some(unfinished))
        }
        _ if offered => Ok(None),
        Ok(_) => Err(refused(request.resume, &differences)),
        Err(why) => Err(refused(request.resume, &[why])),
    }
}

/// The newest run that did not come to its end.
pub(crate) async fn newest_unfinished(sides: &Sides) -> Result<Option<run::Model>> {
    Ok(read(sides, Resume::Newest).await?.map(|(run, _)| run))
}

/// The run and the user whom it gives the books to, if there still is one.
async fn read(sides: &Sides, resume: Resume) -> Result<Option<(run::Model, Option<User>)>> {
    let reading = |fault: Fault| fault.error("could not read the runs from the ledger");
    let (tx, _) = sides.target.snapshot(sides.target.server().short_limit(), "").await.map_err(reading)?;
    let runs = run::Entity::find().order_by_desc(run::Column::RunId);
    let runs = match resume {
        Resume::Run(run_id) => runs.filter(run::Column::RunId.eq(run_id)),
        Resume::Newest | Resume::Offer => runs
            .filter(run::Column::State.is_in(RunState::resumable()))
            .filter(run::Column::Action.eq("sync")),
    };
    let run = runs.one(&tx).await.map_err(|error| reading(error.into()))?;
    let owner = match run.as_ref().and_then(|run| run.owner_id) {
        Some(owner) => {
            let columns = [user::Column::Id, user::Column::Email, user::Column::Name];
            let user = user::Entity::find_by_id(owner).select_only().columns(columns);
            user.into_tuple().one(&tx).await.map_err(|error| reading(error.into()))?
        }
        None => None,
    };
    tx.rollback().await;
    Ok(run.map(|run| (run, owner.map(|(id, email, name)| User { id, email, name }))))
}

fn unfinished(run: run::Model, owner: Option<User>) -> Result<Unfinished, String> {
    let strategy = run.strategy.as_deref().and_then(Strategy::named);
    let frozen = run.plan.map(serde_json::from_value).transpose();
    if let (Some(id), None) = (run.owner_id, &owner) {
        return Err(format!("its owner, user {id}, is gone"));
    }
    match (strategy, frozen) {
        (Some(strategy), Ok(frozen)) => Ok(Unfinished {
            run_id: run.run_id,
            strategy,
            engine: run.engine.as_deref().and_then(Engine::named).unwrap_or_default(),
            started_at: run.started_at.to_rfc3339(),
            state: run.state,
            others: owner.map(|user| Owner { user, how: "of the run that is resumed" }),
            frozen,
        }),
        _ => Err("another version of this tool made its plan".into()),
    }
}

/// What is not as it was when the run began, each as a clause.
fn differences(run: &run::Model, request: &Request, sides: &Sides, found: &Preflight) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |what: &str, then: Option<String>, now: String| {
        if then.as_deref() != Some(&now) {
            let then = then
                .as_deref()
                .map_or_else(|| "unknown".into(), |then| cut(then, columns(&now) + VALUE_COLUMNS));
            differences.push(format!("{what} was {then}, now it is {now}"));
        }
    };
    compare("the source database", run.source_identity.clone(), found.source.identity.to_string());
    compare("the target database", Some(run.target_identity.clone()), found.target.identity.to_string());
    let version = env!("CARGO_PKG_VERSION");
    if compatible(&run.tool_version) != compatible(version) {
        compare("the version of this tool", Some(run.tool_version.clone()), version.into());
    }
    if let Some(strategy) = request.strategy {
        compare("the strategy", run.strategy.clone(), strategy.name().into());
    }
    let named = match &request.guards.owner {
        OwnerChoice::Id(id) => Some(*id),
        OwnerChoice::Email(_) => {
            found.target_books.candidates.as_deref().unwrap_or_default().first().map(|user| user.id)
        }
        OwnerChoice::Default(_) | OwnerChoice::Any => None,
    };
    if let Some(named) = named {
        compare("the owner", run.owner_id.map(|id| format!("user {id}")), format!("user {named}"));
    }
    let mapped = |named: Vec<String>| if named.is_empty() { "empty".to_owned() } else { named.join(", ") };
    let then = run.plan.as_ref().and_then(|plan| plan.get("owners")).and_then(|owners| {
        let named = owners.get("named")?.as_object()?;
        Some(mapped(named.iter().map(|(from, to)| format!("{from} = {to}")).collect()))
    });
    if then.is_some() {
        let named = sides.mapping.owners.named.iter();
        compare(
            "the owner map",
            then,
            mapped(named.map(|(from, to)| format!("{} = {}", from.0, to.0)).collect()),
        );
    }
    let columns = run.plan.as_ref().and_then(|plan| plan.get("columns")).and_then(|columns| {
        let list: Option<Vec<&str>> = columns.as_array()?.iter().map(|column| column.as_str()).collect();
        Some(list?.join(", "))
    });
    if columns.is_some() {
        compare("the list of copied columns", columns, found.columns.names().join(", "));
    }
    differences
}

fn nothing_to_resume(resume: Resume) -> Error {
    let error = match resume {
        Resume::Run(run_id) => Error::new(Kind::Usage, format!("could not resume run {run_id}"))
            .because("the target's ledger has no such run"),
        Resume::Newest | Resume::Offer => Error::new(Kind::Usage, "could not resume a run")
            .because("the target's ledger has no unfinished run"),
    };
    error.hint("`dewey-sync history` lists the runs; without `--resume` a new one begins")
}

fn not_resumable(run: &run::Model) -> Error {
    let run::Model { run_id, state, .. } = run;
    let wrong = RunState::named(state) == Some(RunState::Differs);
    let kind = if wrong { Kind::Refused } else { Kind::Usage };
    let why = if wrong {
        "its data is known to be wrong".into()
    } else {
        format!("it ended as `{}`", value(state))
    };
    Error::new(kind, format!("could not resume run {run_id}"))
        .because(why)
        .hint("without `--resume` a new run begins")
}

fn refused(resume: Resume, differences: &[String]) -> Error {
    let which = match resume {
        Resume::Run(run_id) => format!("run {run_id}"),
        Resume::Newest | Resume::Offer => "the unfinished run".into(),
    };
    Error::new(Kind::Refused, format!("could not resume {which}"))
        .because(differences.join("; "))
        .hint("without `--resume` a new run begins")
}

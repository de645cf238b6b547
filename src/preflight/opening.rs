//! The first look at each side: a transaction on both, which tell the two databases apart.

use super::catalog::Facts;
use super::guard::{rights, same_database, schema, swapped};
use crate::book::TABLE;
use crate::config::{Endpoint, Side};
use crate::error::{Error, Result};
use crate::postgres::{Fault, Source, SourceTx, Target, Tx};

type Opened<T> = (T, Facts);

/// A transaction on each side, both open until the caller ends them, and told apart.
pub(crate) async fn open<'s>(
    source: &'s Source,
    target: &'s Target,
) -> Result<(Opened<SourceTx<'s>>, Opened<Tx<'s>>)> {
    let lock = same_database::lock(rand::random());
    let (at_source, at_target) =
        tokio::join!(Box::pin(open_source(source, &lock)), Box::pin(open_target(target, &lock)));
    let ((source_tx, source_facts), (target_tx, target_facts)) = (at_source?, at_target?);
    rights::check_identity(source.server().endpoint(), &source_facts)?;
    rights::check_identity(target.server().endpoint(), &target_facts)?;
    same_database::check(&source_facts, &target_facts)?;
    swapped::check_readable(&source_facts)?;
    Ok(((source_tx, source_facts), (target_tx, target_facts)))
}

pub(crate) async fn open_source<'s>(source: &'s Source, lock: &str) -> Result<Opened<SourceTx<'s>>> {
    let endpoint = source.server().endpoint();
    schema::version_of(source.server())?;
    let mut first = source.look(source.server().short_limit(), Facts::query(endpoint, lock)).await;
    if first.as_ref().is_err_and(rights::hides_identity) {
        let query = Facts::query_without_identity(endpoint, lock);
        first = source.look(source.server().short_limit(), query).await;
    }
    let (tx, facts) = first.map_err(asking(endpoint))?;
    source.server().expect_book(facts.table.as_ref().map(|table| table.oid));
    Ok((tx, facts))
}

pub(crate) async fn open_target<'s>(target: &'s Target, lock: &str) -> Result<Opened<Tx<'s>>> {
    let endpoint = target.server().endpoint();
    schema::version_of(target.server())?;
    let mut first = target.look(target.server().short_limit(), Facts::query(endpoint, lock)).await;
    if first.as_ref().is_err_and(rights::hides_identity) {
        let query = Facts::query_without_identity(endpoint, lock);
        first = target.look(target.server().short_limit(), query).await;
    }
    let (tx, facts) = first.map_err(asking(endpoint))?;
    target.server().expect_book(facts.table.as_ref().map(|table| table.oid));
    Ok((tx, facts))
}

pub(crate) fn asking(endpoint: &Endpoint) -> impl Fn(Fault) -> Error + '_ {
    move |fault| {
        let doing = format!("could not look at the {}, {endpoint}", endpoint.side);
        let lacks_right = fault.sqlstate() == Some("42501");
        let error = Error::new(fault.kind_at_start(), doing).because(fault);
        match endpoint.side {
            Side::Source if lacks_right => error.hint(format!(
                "grant the role `{}` SELECT on `{TABLE}`; the README has the SQL for a role that may only that",
                endpoint.user
            )),
            Side::Target if lacks_right => error.hint(format!(
                "use the application's own role in {}, which may read and write its tables",
                endpoint.origin.quoted()
            )),
            _ => error,
        }
    }
}

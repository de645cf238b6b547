//! The table covers what a server knows, and transactions have what it says.

use std::collections::BTreeMap;
use std::time::Duration;

use dewey_sync::config::{self, Locations};
use dewey_sync::demo::server::Server;
use dewey_sync::postgres::{Server as Connections, Source, Target};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::pair::{Pair, known};
use super::table::{Decision, ROWS, decision};
use crate::support::servers::execute;

const LIMIT: Duration = Duration::from_secs(20);

/// Every setting that a role, or a superuser for it, may give to a session is in a row of the table.
pub(crate) async fn check_all_known(server: &Server) {
    let settings = known(server).await;
    assert!(settings.len() > 150, "{settings:?}");
    let has_reason = |decision: Option<Decision>| match decision {
        Some(Decision::Left(why)) => !why.is_empty(),
        Some(_) => true,
        None => false,
    };
    let undecided = settings.iter().filter(|known| !has_reason(decision(&known.name, &known.category)));
    let undecided: Vec<_> = undecided.collect();
    assert!(undecided.is_empty(), "settings about which nobody has decided: {undecided:#?}");
}

/// What transactions of both sides have, where the databases have a hostile value of everything.
pub(crate) async fn check_set(pair: &Pair<'_>) {
    let set = ROWS.iter().filter_map(|(name, hostile, decision)| match decision {
        Decision::Set(value) => Some((*name, *hostile, *value)),
        _ => None,
    });
    for server in [pair.source, pair.target] {
        execute(&server.url(&pair.name), ANOTHER_METHOD).await;
        let known: Vec<String> = known(server).await.into_iter().map(|known| known.name).collect();
        let alter = set.clone().filter(|(name, ..)| known.iter().any(|known| known == name));
        let alter: Vec<String> = alter
            .map(|(name, hostile, _)| format!("ALTER DATABASE {} SET {name} = '{hostile}'", pair.name))
            .collect();
        execute(&server.url("postgres"), &alter.join(";")).await;
    }
    let names: Vec<&str> = set.clone().map(|(name, ..)| name).chain(["search_path"]).collect();
    let query = format!(
        "SELECT name, coalesce(current_setting(name, true), 'unknown') FROM unnest('{{{}}}'::text[]) name",
        names.join(",")
    );
    for (what, rows) in transactions(pair, &query).await {
        let found: BTreeMap<String, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        for (name, _, value) in set.clone().filter(|(name, ..)| found[*name] != "unknown") {
            assert_eq!(found[name], value, "{name}, {what}");
        }
        assert_eq!(found["search_path"], r#""public", pg_temp"#, "{what}");
    }
}

/// The rows of a query in each kind of transaction.
async fn transactions(pair: &Pair<'_>, query: &str) -> Vec<(&'static str, Vec<PgRow>)> {
    let keys = [
        ("DEWEY_SOURCE_DATABASE_URL", pair.url(pair.source)),
        ("DEWEY_TARGET_DATABASE_URL", pair.url(pair.target)),
    ];
    let environment = keys.into_iter().collect();
    let open = |endpoint: config::Endpoint| Connections::new(endpoint, "test".into(), None);
    let source = Source::new(open(config::source(&Locations::default(), &environment).unwrap()));
    let target = Target::new(open(config::target(&Locations::default(), &environment).unwrap()));
    let (writing, written) = target.write(LIMIT, query).await.unwrap();
    writing.rollback().await;
    let (reading, read) = source.snapshot(LIMIT, query).await.unwrap();
    reading.finish().await.unwrap();
    let once = target.read_once(LIMIT, query).await.unwrap();
    vec![("written", written), ("read", read), ("read once", once)]
}

/// A table access method that works as the usual one does, and is another one.
pub(crate) const ANOTHER_METHOD: &str = "DO $$ BEGIN
    CREATE ACCESS METHOD another TYPE TABLE HANDLER heap_tableam_handler;
    EXCEPTION WHEN duplicate_object THEN NULL; END $$";

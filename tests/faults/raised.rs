//! The target itself answers with an error: of every class, on every table that a run writes, once or too often.

use crate::case::{Case, Lane};
use crate::check::{self, texts};
use crate::record::Recording;
use crate::servers::Which;
use crate::way::{Way, Work};
use crate::world::{Harm, World, ensure};

/// After the first attempt.
const RETRIES: u32 = 3;

/// SQLSTATEs that may pass, so that one is survived.
const PASSING: [&str; 10] =
    ["40001", "40P01", "55P03", "55006", "57P01", "57P03", "53300", "08006", "57014", "53200"];

/// SQLSTATEs that stay.
const LASTING: [&str; 10] =
    ["22003", "23502", "23514", "42501", "25006", "53100", "58030", "P0001", "XX000", "0A000"];

const BOOK: &str = r#""Book""#;

/// Events of a run from which an error can come.
fn events(way: Way) -> &'static [(&'static str, &'static str)] {
    match (way.work, way.strategy) {
        (Work::Undo, _) => &[
            ("INSERT", BOOK),
            ("UPDATE", BOOK),
            ("DELETE", BOOK),
            ("INSERT", r#""BookInReadingList""#),
            ("DELETE", "dewey_sync.generation"),
        ],
        (Work::FirstFill, _) => &[
            ("INSERT", "dewey_sync.stage"),
            ("INSERT", "dewey_sync.stage_checkpoint"),
            ("INSERT", BOOK),
            ("INSERT", "dewey_sync.generation"),
        ],
        (Work::Sync, "staged") => &[
            ("INSERT", "dewey_sync.stage"),
            ("INSERT", "dewey_sync.stage_checkpoint"),
            ("INSERT", BOOK),
            ("UPDATE", BOOK),
            ("DELETE", BOOK),
        ],
        (Work::Sync, "batched") => &[("INSERT", BOOK), ("DELETE", BOOK), ("INSERT", "dewey_sync.checkpoint")],
        (Work::Sync, _) => &[("INSERT", BOOK), ("DELETE", BOOK)],
    }
}

/// An error that a trigger raises.
#[derive(Debug, Clone, Copy)]
struct Raised {
    event: &'static str,
    table: &'static str,
    sqlstate: &'static str,
    /// Of the statements, how many pass before the first one fails.
    spared: u32,
    /// How many fail.
    times: u32,
    codes: &'static [i32],
}

pub(crate) fn cases(recording: &Recording) -> Vec<Case> {
    let way = recording.way;
    let mut cases = Vec::new();
    for (event, table) in events(way).iter().copied() {
        // A table that could not be filled ahead is filled once more.
        let once = if way.work == Work::FirstFill && table == BOOK { 2 } else { 1 };
        // An undo is rehearsed before it writes its end.
        let rehearsed = way.undoes() && table != "dewey_sync.generation";
        for spared in 0..=u32::from(rehearsed) {
            let passing = Raised { event, table, sqlstate: "40001", spared, times: once, codes: &[0] };
            let raise = |kind, raised: Raised| raised.case(kind, way);
            let kind = "error raised that may pass";
            cases.extend(PASSING.map(|sqlstate| raise(kind, Raised { sqlstate, ..passing })));
            let failing = Raised { codes: &[5], ..passing };
            let kind = "error raised too often";
            cases.push(raise(kind, Raised { times: once + RETRIES, ..failing }));
            let kind = "error raised that stays";
            // What an undo puts back has to fit the constraints of today: a refusal.
            let refused = |sqlstate: &str| rehearsed && sqlstate.starts_with("23");
            let codes = |sqlstate| if refused(sqlstate) { &[3][..] } else { failing.codes };
            let lasting = |sqlstate| Raised { sqlstate, codes: codes(sqlstate), ..failing };
            cases.extend(LASTING.map(|sqlstate| raise(kind, lasting(sqlstate))));
        }
    }
    cases
}

impl Raised {
    fn case(self, kind: &'static str, way: Way) -> Case {
        let Self { event, table, sqlstate, spared, times, codes } = self;
        let later = if spared > 0 { ", not from the rehearsal's" } else { "" };
        let point = format!("{sqlstate} from {event} on {table}{later}");
        Case::new(kind, way, point, Lane::Busy, move |world: &mut World| {
            Box::pin(async move {
                // A sequence is not rolled back with what the trigger refuses.
                let trigger = format!(
                    "CREATE SEQUENCE public.raised;
                     GRANT USAGE ON SEQUENCE public.raised TO public;
                     CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
                       DECLARE n bigint := nextval('public.raised');
                       BEGIN IF n > {spared} AND n <= {spared} + {times} THEN
                         RAISE 'not now' USING ERRCODE = '{sqlstate}'; END IF;
                       RETURN NULL; END $$;
                     CREATE TRIGGER fail AFTER {event} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION public.fail()"
                );
                world.execute(Which::Target, &trigger).await;
                // A rehearsal would meet it first.
                let more: &[&str] = if way.undoes() { &[] } else { &["--no-rehearsal"] };
                let ran = world.start_with(more).end().await?;
                let fired = format!(
                    "SELECT last_value::text FROM public.raised WHERE is_called AND last_value > {spared}"
                );
                let fired = texts(&world.url(Which::Target), &fired).await;
                ensure(!fired.is_empty(), Harm::NotFired, || "the fault did not fire".into())?;
                world
                    .execute(Which::Target, "DROP FUNCTION public.fail CASCADE; DROP SEQUENCE public.raised")
                    .await;
                check::ended(world, &ran, codes).await
            })
        })
    }
}

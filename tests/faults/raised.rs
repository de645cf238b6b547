//! The target itself answers with an error: of every class, on every table that a run writes, once or too often.

use crate::case::{Case, Lane};
use crate::check::{self, texts};
use crate::record::Recording;
use crate::servers::Which;
use crate::way::Way;
use crate::world::{Harm, World, ensure};

/// An attempt and three retries.
const TOO_OFTEN: u32 = 4;

/// SQLSTATEs that may pass, so that one is survived.
const PASSING: [&str; 10] =
    ["40001", "40P01", "55P03", "55006", "57P01", "57P03", "53300", "08006", "57014", "53200"];

/// SQLSTATEs that stay.
const LASTING: [&str; 10] =
    ["22003", "23502", "23514", "42501", "25006", "53100", "58030", "P0001", "XX000", "0A000"];

pub(crate) fn cases(recording: &Recording) -> Vec<Case> {
    let tables: &[(&str, &str)] = match recording.way.strategy {
        "staged" => &[
            ("dewey_sync.stage", "INSERT"),
            ("dewey_sync.stage_checkpoint", "INSERT"),
            (r#""Book""#, "INSERT"),
            (r#""Book""#, "UPDATE"),
            (r#""Book""#, "DELETE"),
        ],
        "batched" => &[(r#""Book""#, "INSERT"), (r#""Book""#, "DELETE"), ("dewey_sync.checkpoint", "INSERT")],
        _ => &[(r#""Book""#, "INSERT"), (r#""Book""#, "DELETE")],
    };
    let mut cases = Vec::new();
    for (table, event) in tables {
        for sqlstate in PASSING {
            cases.push(raised(recording.way, table, event, sqlstate, 1, &[0]));
        }
        cases.push(raised(recording.way, table, event, "40001", TOO_OFTEN, &[5]));
        for sqlstate in LASTING {
            cases.push(raised(recording.way, table, event, sqlstate, 1, &[5]));
        }
    }
    cases
}

fn raised(
    way: Way,
    table: &'static str,
    event: &'static str,
    sqlstate: &'static str,
    times: u32,
    codes: &'static [i32],
) -> Case {
    let kind = match times {
        1 if codes == [0] => "error raised that may pass",
        1 => "error raised that stays",
        _ => "error raised too often",
    };
    let point = format!("{sqlstate} from {event} on {table}");
    Case::new(kind, way, point, Lane::Busy, move |world: &mut World| {
        Box::pin(async move {
            // A sequence is not rolled back with what the trigger refuses.
            let trigger = format!(
                "CREATE SEQUENCE public.raised;
                 GRANT USAGE ON SEQUENCE public.raised TO public;
                 CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
                   BEGIN IF nextval('public.raised') <= {times} THEN RAISE 'not now' USING ERRCODE = '{sqlstate}'; END IF;
                   RETURN NULL; END $$;
                 CREATE TRIGGER fail AFTER {event} ON {table} FOR EACH STATEMENT EXECUTE FUNCTION public.fail()"
            );
            world.execute(Which::Target, &trigger).await;
            // A rehearsal would meet it first.
            let ran = world.start_with(&["--no-rehearsal"]).end().await?;
            let fired = "SELECT last_value::text FROM public.raised WHERE is_called";
            let fired = texts(&world.url(Which::Target), fired).await;
            ensure(!fired.is_empty(), Harm::NotFired, || "the fault did not fire".into())?;
            world
                .execute(Which::Target, "DROP FUNCTION public.fail CASCADE; DROP SEQUENCE public.raised")
                .await;
            check::ended(world, &ran, codes).await
        })
    })
}

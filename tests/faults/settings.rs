//! The databases are not as a run would like them: settings of roles, a lost grant, triggers, a sequence behind its ids.

use crate::case::{Case, Lane};
use crate::check;
use crate::proxy::{Action, Seen};
use crate::record::Recording;
use crate::servers::Which;
use crate::support::servers::{DEVELOPER, READER};
use crate::way::{Way, Work};
use crate::world::World;

/// Defaults that somebody gave to a role, none of which may matter.
const SETTINGS: [&str; 16] = [
    "statement_timeout = '20ms'",
    "lock_timeout = '1ms'",
    "idle_in_transaction_session_timeout = '1ms'",
    "default_transaction_isolation = 'serializable'",
    "default_transaction_isolation = 'repeatable read'",
    "default_transaction_isolation = 'read uncommitted'",
    "default_transaction_read_only = on",
    "default_transaction_deferrable = on",
    "search_path = 'nowhere'",
    "DateStyle = 'SQL, DMY'",
    "TimeZone = 'Asia/Kathmandu'",
    "standard_conforming_strings = off",
    "row_security = off",
    "client_min_messages = 'debug5'",
    "extra_float_digits = -15",
    "IntervalStyle = 'iso_8601'",
];

pub(crate) fn cases(recording: &Recording) -> Vec<Case> {
    let way = recording.way;
    let mut cases = Vec::new();
    for which in recording.sides() {
        cases.extend(SETTINGS.iter().map(|setting| of_role(way, which, setting)));
        cases.extend(recording.phases(which).into_iter().map(|seen| grant_lost(recording, which, seen)));
    }
    cases.extend(TRIGGERS.iter().map(|trigger| with_trigger(way, trigger)));
    if way.work == Work::FirstFill {
        return cases;
    }
    for value in ["1", r#"(SELECT min(id) FROM "Book")"#, r#"(SELECT max(id) - 1 FROM "Book")"#] {
        cases.push(sequence_behind(way, value));
    }
    cases
}

fn of_role(way: Way, which: Which, setting: &'static str) -> Case {
    let point = format!("{} {setting}", which.name());
    Case::new("role with settings", way, point, Lane::Busy, move |world: &mut World| {
        Box::pin(async move {
            let role = if which == Which::Source { READER } else { DEVELOPER };
            let database = world.database(which);
            let set = format!("ALTER ROLE {role} IN DATABASE {database} SET {setting}");
            world.execute(which, &set).await;
            let ran = world.run().await?;
            world.execute(which, &format!("ALTER ROLE {role} IN DATABASE {database} RESET ALL")).await;
            check::ended(world, &ran, &[0]).await
        })
    })
}

fn grant_lost(recording: &Recording, which: Which, seen: &Seen) -> Case {
    let place = seen.place;
    let point = format!("{} {place} {}", which.name(), seen.what);
    Case::new("grants lost midway", recording.way, point, Lane::Busy, move |world: &mut World| {
        Box::pin(async move {
            let tool = world.start_until_held(which, (place, Action::Hold), &[]).await?;
            let role = if which == Which::Source { READER } else { DEVELOPER };
            let grants = if which == Which::Source { "SELECT" } else { "ALL" };
            world.execute(which, &format!(r#"REVOKE ALL ON "Book" FROM {role}"#)).await;
            world.release();
            let ran = tool.end().await?;
            world.execute(which, &format!(r#"GRANT {grants} ON "Book" TO {role}"#)).await;
            // 0: it had passed the last statement that needs them; 3: a guard asked for them before anything was written.
            check::ended(world, &ran, &[0, 2, 3, 5]).await
        })
    })
}

/// What a trigger does, when, and whether the run may succeed with it.
struct Trigger {
    name: &'static str,
    when: &'static str,
    body: &'static str,
    codes: &'static [i32],
}

const TRIGGERS: [Trigger; 7] = [
    Trigger { name: "notes inserts", when: "AFTER INSERT", body: "RETURN NULL;", codes: &[0] },
    Trigger {
        name: "writes a log of everything",
        when: "AFTER INSERT OR UPDATE OR DELETE",
        body: "INSERT INTO public.book_log VALUES (TG_OP); RETURN NULL;",
        codes: &[0],
    },
    Trigger {
        name: "changes inserted titles",
        when: "BEFORE INSERT",
        body: "NEW.title := NEW.title || '!'; RETURN NEW;",
        codes: &[4, 5],
    },
    Trigger { name: "swallows inserts", when: "BEFORE INSERT", body: "RETURN NULL;", codes: &[4, 5] },
    Trigger {
        name: "sets the time of a change",
        when: "BEFORE INSERT OR UPDATE",
        body: r#"NEW."updatedAt" := '2001-01-01'; RETURN NEW;"#,
        codes: &[4, 5],
    },
    Trigger { name: "swallows deletions", when: "BEFORE DELETE", body: "RETURN NULL;", codes: &[4, 5] },
    Trigger {
        name: "inserts a book of its own",
        when: "AFTER INSERT",
        body: r#"IF pg_trigger_depth() = 1 AND NOT EXISTS (SELECT FROM "Book" WHERE isbn13 = 'own') THEN
                 NEW.id := -1; NEW.isbn10 := 'own'; NEW.isbn13 := 'own'; INSERT INTO "Book" SELECT NEW.*; END IF; RETURN NULL;"#,
        codes: &[4, 5],
    },
];

impl Trigger {
    fn codes(&self, way: Way) -> &'static [i32] {
        match (way.work, self.when) {
            // A new book meets the key of one that stays.
            (Work::Sync, "BEFORE DELETE") if way.strategy != "atomic" => &[3],
            // Nothing is deleted from an empty table.
            (Work::FirstFill, "BEFORE DELETE") => &[0],
            // Rows that come back may find the keys of books that stay, or no book to refer to.
            (Work::Undo, _) if self.codes != [0] => &[3, 4],
            _ => self.codes,
        }
    }
}

fn with_trigger(way: Way, trigger: &'static Trigger) -> Case {
    Case::new("triggers on the books", way, trigger.name, Lane::Busy, move |world: &mut World| {
        Box::pin(async move {
            let Trigger { when, body, .. } = trigger;
            let codes = trigger.codes(way);
            let make = format!(
                r#"CREATE TABLE public.book_log (what text); GRANT ALL ON public.book_log TO public;
                   CREATE FUNCTION public.meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
                   CREATE TRIGGER meddle {when} ON "Book" FOR EACH ROW EXECUTE FUNCTION public.meddle()"#
            );
            world.execute(Which::Target, &make).await;
            let ran = world.run().await?;
            let remove = "DROP FUNCTION public.meddle CASCADE; DROP TABLE public.book_log";
            world.execute(Which::Target, remove).await;
            if way.strategy == "batched" && ran.code != Some(0) {
                // Its batches are committed as the trigger made them; what says so is the exit code.
                check::code(&ran, codes)?;
                return check::recover(world).await;
            }
            check::ended(world, &ran, codes).await
        })
    })
}

fn sequence_behind(way: Way, value: &'static str) -> Case {
    Case::new("sequence behind its ids", way, value, Lane::Busy, move |world: &mut World| {
        Box::pin(async move {
            world.execute(Which::Target, &format!(r#"SELECT setval('"Book_id_seq"', {value})"#)).await;
            let ran = world.run().await?;
            if way.undoes() {
                // Only a sync raises it.
                let raise = r#"SELECT setval('"Book_id_seq"', max(id)) FROM "Book""#;
                world.execute(Which::Target, raise).await;
            }
            check::ended(world, &ran, &[0]).await
        })
    })
}

//! Triggers with their functions, and rules.

use std::fmt::Write;

use super::{qualified, quoted};
use crate::acts::{Event, Firing, Rule, Trigger, Work};
use crate::model::{BOOK, Case, Role, Table};

/// Deeper than any chain of keys and triggers that ends by itself.
const DEEPEST: u32 = 8;

pub(super) fn trigger(sql: &mut String, case: &Case, trigger: &Trigger, number: usize) {
    let on = &case.tables[trigger.on];
    let target = trigger.work.table().map(|table| &case.tables[table]);
    if on.gone || target.is_some_and(|table| table.gone) {
        return;
    }
    let work = work(case, trigger);
    let work = if trigger.in_vain && !matches!(trigger.work, Work::Forbid | Work::AlterBook) {
        format!(
            "BEGIN\n    {work}\n    RAISE EXCEPTION 'in vain';\n  EXCEPTION WHEN raise_exception THEN\n    NULL;\n  END;"
        )
    } else {
        work
    };
    let has_id = on.id().is_some();
    let number_sql = if trigger.firing.is_row() && has_id {
        "IF TG_OP = 'INSERT' THEN number_of_it := NEW.id; ELSE number_of_it := OLD.id; END IF;"
    } else {
        ""
    };
    let last = if trigger.firing == Firing::BeforeRow {
        "IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;\n  RETURN NEW;"
    } else {
        "RETURN NULL;"
    };
    let function = format!("public.work_{number}");
    let _ = writeln!(
        sql,
        "CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $function$
DECLARE number_of_it bigint;
BEGIN
  {number_sql}
  IF pg_trigger_depth() <= {DEEPEST} THEN
  {work}
  END IF;
  {last}
END $function$;"
    );
    create(sql, trigger, on, &function, number);
}

fn create(sql: &mut String, trigger: &Trigger, on: &Table, function: &str, number: usize) {
    let events: Vec<&str> = trigger.events.iter().map(|event| name(*event)).collect();
    let events = events.join(" OR ");
    let (constraint, time, rest) = match trigger.firing {
        Firing::BeforeRow => ("", "BEFORE", "FOR EACH ROW"),
        Firing::AfterRow => ("", "AFTER", "FOR EACH ROW"),
        Firing::BeforeStatement => ("", "BEFORE", "FOR EACH STATEMENT"),
        Firing::AfterStatement => ("", "AFTER", "FOR EACH STATEMENT"),
        Firing::Transition if trigger.events == [Event::Insert] => {
            ("", "AFTER", "REFERENCING NEW TABLE AS touched FOR EACH STATEMENT")
        }
        Firing::Transition => ("", "AFTER", "REFERENCING OLD TABLE AS touched FOR EACH STATEMENT"),
        Firing::Deferred => ("CONSTRAINT ", "AFTER", "DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"),
    };
    let condition = if trigger.only_changes && trigger.on == BOOK {
        " WHEN (OLD.title IS DISTINCT FROM NEW.title)"
    } else {
        ""
    };
    let prefix = trigger.prefix;
    let _ = writeln!(
        sql,
        "CREATE {constraint}TRIGGER \"{prefix}_{number}\" {time} {events} ON {} {rest}{condition} EXECUTE FUNCTION {function}();",
        qualified(on)
    );
}

fn name(event: Event) -> &'static str {
    match event {
        Event::Insert => "INSERT",
        Event::Update => "UPDATE",
        Event::Delete => "DELETE",
    }
}

/// The statement of a trigger's function.
fn work(case: &Case, trigger: &Trigger) -> String {
    let book = "public.\"Book\"";
    let on = &case.tables[trigger.on];
    let name = trigger.work.table().map(|table| {
        let table = &case.tables[table];
        if trigger.unqualified && table.schema == "public" { quoted(&table.name) } else { qualified(table) }
    });
    let name = name.unwrap_or_default();
    let chosen = if on.id().is_none() {
        "true".to_owned()
    } else if trigger.firing.is_row() {
        "\"bookNumber\" = number_of_it".to_owned()
    } else if trigger.firing == Firing::Transition {
        "\"bookNumber\" IN (SELECT id FROM touched)".to_owned()
    } else {
        format!("\"bookNumber\" NOT IN (SELECT id FROM {book})")
    };
    match trigger.work {
        Work::Forbid => "IF number_of_it % 3 = 0 THEN RAISE EXCEPTION 'not this one'; END IF;".into(),
        Work::AlterBook => "NEW.title := NEW.title || ' altered';".into(),
        Work::TouchBooks => {
            let column = case.book().column_of(Role::Reference).map_or("edition", |column| &column.name);
            let column = quoted(column);
            format!(
                "UPDATE {book} SET {column} = NULL WHERE {column} IS NOT NULL AND id IS DISTINCT FROM number_of_it;"
            )
        }
        Work::DeleteBook => format!(
            "DELETE FROM {book} WHERE id = (SELECT min(id) FROM {book} WHERE id IS DISTINCT FROM number_of_it);"
        ),
        Work::Delete(_) => format!("DELETE FROM {name} WHERE {chosen};"),
        Work::Update(table) => {
            let set = changed(&case.tables[table]);
            format!("UPDATE {name} SET {set} WHERE {chosen};")
        }
        Work::Same(_) => format!("UPDATE {name} SET \"bookNumber\" = \"bookNumber\" WHERE {chosen};"),
        Work::Replace(table) => {
            let columns = case.tables[table].columns.iter().filter(|column| column.role != Role::Generated);
            let columns = columns.map(|column| quoted(&column.name)).collect::<Vec<_>>().join(", ");
            format!(
                "WITH removed AS (DELETE FROM {name} WHERE {chosen} RETURNING *)
    INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM removed;"
            )
        }
        Work::Insert(_) => {
            format!("INSERT INTO {name} (\"bookNumber\", note) VALUES (number_of_it, TG_OP);")
        }
        Work::Upsert(_) => format!(
            "INSERT INTO {name} AS c (\"bookNumber\") VALUES (coalesce(number_of_it, -1))
    ON CONFLICT (\"bookNumber\") DO UPDATE SET number = c.number + 1;"
        ),
        Work::Truncate { cascade, .. } => {
            format!("TRUNCATE {name}{};", if cascade { " CASCADE" } else { "" })
        }
        Work::Drop(_) => format!("DROP TABLE IF EXISTS {name} CASCADE;"),
        Work::Rewrite(_) => {
            format!(
                "ALTER TABLE {name} ADD COLUMN IF NOT EXISTS rewritten timestamptz DEFAULT clock_timestamp();"
            )
        }
    }
}

fn changed(table: &Table) -> &'static str {
    if table.column("number").is_some() {
        "number = number + 1"
    } else {
        "\"bookNumber\" = \"bookNumber\" + 1000"
    }
}

pub(super) fn rule(sql: &mut String, case: &Case, rule: Rule, number: usize) {
    let target = rule.also.and_then(Work::table).map(|table| &case.tables[table]);
    if target.is_some_and(|table| table.gone) {
        return;
    }
    let name_of_target = target.map(qualified).unwrap_or_default();
    let id = if rule.event == Event::Insert { "1" } else { "OLD.id" };
    let does = match rule.also {
        Some(Work::Insert(_)) => {
            format!("ALSO INSERT INTO {name_of_target} (\"bookNumber\", note) VALUES ({id}, 'by a rule')")
        }
        Some(Work::Update(table)) => {
            let set = changed(&case.tables[table]);
            format!("ALSO UPDATE {name_of_target} AS it SET {set} WHERE \"bookNumber\" = {id}")
        }
        Some(_) => format!("ALSO DELETE FROM {name_of_target} AS it WHERE \"bookNumber\" = {id}"),
        None => "INSTEAD NOTHING".to_owned(),
    };
    let _ =
        writeln!(sql, "CREATE RULE rule_{number} AS ON {} TO public.\"Book\" DO {does};", name(rule.event));
}

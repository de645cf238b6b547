//! What a run left behind, seen without any code of the tool.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Row};

use super::deadline::Deadline;
use super::servers::{PG_BIN, READER, SERVERS, connect};

/// All that a sync copies, in an order that no locale changes; `ownerId` is remapped, `id` regenerated.
pub(crate) const BOOKS: &str = r#"
    SELECT isbn10, isbn13, title, "titleLong", language, synopsis, image, edition, "pageCount", authors, binding,
           subjects, "datePublished", "imageOriginal", publisher, visibility, "createdAt", "readDate", "updatedAt"
    FROM "Book" ORDER BY isbn13 COLLATE "C""#;

/// The rows of `query` byte for byte, in one text form whatever the server's settings.
pub(crate) fn dump(url: &str, query: &str) -> Vec<u8> {
    psql(url, &format!("COPY ({query}) TO STDOUT"))
}

/// What psql prints for `sql`.
pub(crate) fn psql(url: &str, sql: &str) -> Vec<u8> {
    let output = Command::new(PG_BIN.join("psql"))
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql])
        .env_clear()
        .env("PGCLIENTENCODING", "UTF8")
        .env(
            "PGOPTIONS",
            "-c DateStyle=ISO -c TimeZone=UTC -c extra_float_digits=3 -c bytea_output=hex -c IntervalStyle=postgres",
        )
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What each table, sequence and catalogue of a database holds, in so few numbers that it can be asked for often. Two equal
/// results mean that nothing was written in between, not even the same values again: a row that is written has a newer `xmin`
/// than any before, so that as many rows have a greater sum.
///
/// Statistics do not count: autovacuum may gather them at any time (and writes them without a new `xmin`).
pub(crate) async fn tuples(url: &str) -> BTreeMap<String, String> {
    let mut connection = connect(url).await;
    let relations = sqlx::raw_sql(
        "SELECT c.oid::regclass::text, 'count(*), sum(xmin::text::bigint)' FROM pg_class c
         WHERE relkind IN ('r', 'm') AND NOT relisshared
           AND relnamespace::regnamespace::text !~ '^(pg_toast.*|pg_temp.*|information_schema)$'
           AND oid NOT IN ('pg_statistic'::regclass, 'pg_statistic_ext_data'::regclass)
         UNION ALL
         SELECT c.oid::regclass::text, 'max(last_value), bool_or(is_called)' FROM pg_class c WHERE relkind = 'S'",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    let looks = relations.iter().map(|relation| {
        let (name, columns): (String, String) = (relation.get(0), relation.get(1));
        format!("SELECT $name${name}$name$, concat_ws(' ', {columns}) FROM {name}")
    });
    let looks = looks.collect::<Vec<_>>().join(" UNION ALL ");
    let found = sqlx::raw_sql(AssertSqlSafe(looks)).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    found.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Every statement that the reading role ran in a database of the source, in order, those of multi-statement
/// queries and of prepared statements one by one.
pub(crate) fn statements(database: &str) -> Vec<String> {
    let log = std::fs::read_to_string(SERVERS.source.log_path()).unwrap();
    logged(&log, database).iter().flat_map(|(_, query)| split(query)).collect()
}

/// The same by session: sessions run side by side, transactions one after another.
pub(crate) fn statements_by_session(database: &str) -> BTreeMap<String, Vec<String>> {
    let log = std::fs::read_to_string(SERVERS.source.log_path()).unwrap();
    let mut sessions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (session, query) in logged(&log, database) {
        sessions.entry(session).or_default().extend(split(&query));
    }
    sessions
}

/// How much of the source's log there is by now, in bytes.
pub(crate) fn log_length() -> usize {
    usize::try_from(std::fs::metadata(SERVERS.source.log_path()).unwrap().len()).unwrap()
}

/// The ranges of ids whose books the reading role read whole in a database since the source's log had `from` bytes.
pub(crate) fn exported(database: &str, from: usize) -> Vec<Bounds> {
    let log = std::fs::read(SERVERS.source.log_path()).unwrap();
    exported_in(&String::from_utf8_lossy(&log[from..]), database)
}

/// After the first id and through the second one; `None` is without a bound.
pub(crate) type Bounds = (Option<i32>, Option<i32>);

fn exported_in(log: &str, database: &str) -> Vec<Bounds> {
    let statements = logged(log, database).into_iter().flat_map(|(_, query)| split(&query));
    let exports = statements.filter(|statement| statement.contains(r#"ORDER BY "Book"."id""#));
    let bound = |statement: &str, condition: &str| {
        let (_, rest) = statement.split_once(&format!(r#""id" {condition} "#))?;
        rest.split(|c: char| c != '-' && !c.is_ascii_digit()).next()?.parse().ok()
    };
    exports.map(|statement| (bound(&statement, ">"), bound(&statement, "<="))).collect()
}

/// The queries in a log whose line prefix is `%p|%d|%u|%a|`, each with the process of its session.
fn logged(log: &str, database: &str) -> Vec<(String, String)> {
    let mut queries: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in log.lines() {
        // PostgreSQL puts a tab before each further line of a message.
        if let Some(more) = line.strip_prefix('\t') {
            if let Some((_, query)) = queries.last_mut().filter(|_| inside) {
                query.push('\n');
                query.push_str(more);
            }
            continue;
        }
        let query = queries_own(line, database);
        inside = query.is_some();
        queries.extend(query.map(|(session, query)| (session.to_owned(), query.to_owned())));
    }
    queries
}

/// The session and the first line of a query, if this line of the log begins one of the reading role in the database,
/// or in any if it has no name.
pub(crate) fn queries_own<'a>(line: &'a str, database: &str) -> Option<(&'a str, &'a str)> {
    let mut fields = line.splitn(4, '|');
    let session = fields.next()?;
    let other = fields.next()? != database && !database.is_empty();
    if other || fields.next()? != READER {
        return None;
    }
    let message = fields.next()?.split_once("|LOG:  ")?.1;
    let query = match message.strip_prefix("statement: ") {
        Some(query) => query,
        None => message.strip_prefix("execute ")?.split_once(": ")?.1,
    };
    Some((session, query))
}

/// Cuts at each `;` that is in no literal, no quoted name and no comment.
pub(crate) fn split(query: &str) -> Vec<String> {
    let mut statements = vec![String::new()];
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        let end = |opening: usize, closing: &str| {
            rest[opening..].find(closing).map_or(rest.len(), |at| opening + at + closing.len())
        };
        let taken = match first {
            '\'' => end(1, "'"),
            '"' => end(1, "\""),
            '$' => match rest[1..].find('$').map(|at| &rest[..at + 2]) {
                Some(tag)
                    if tag[1..tag.len() - 1].chars().all(char::is_alphanumeric) && !starts_number(tag) =>
                {
                    end(tag.len(), tag)
                }
                _ => 1,
            },
            '-' if rest.starts_with("--") => end(2, "\n"),
            '/' if rest.starts_with("/*") => end(2, "*/"),
            ';' => {
                statements.push(String::new());
                rest = &rest[1..];
                continue;
            }
            other => other.len_utf8(),
        };
        statements.last_mut().unwrap().push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    statements.iter().map(|statement| statement.trim().to_owned()).filter(|s| !s.is_empty()).collect()
}

/// `$1` is a parameter, not the start of a dollar quote.
fn starts_number(tag: &str) -> bool {
    tag[1..].starts_with(|c: char| c.is_ascii_digit())
}

/// How many sessions of the tool there are in the database of a superuser's `url`.
pub(crate) async fn sessions(url: &str) -> i64 {
    let mut connection = connect(url).await;
    let row = sqlx::query(
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'dewey-sync%'",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    row.get(0)
}

/// A session ends a little after its client, also on a machine that has much else to do; one that is there after 25 s stays,
/// or is ended by the time-out of a lock.
pub(crate) async fn no_session_left(url: &str) {
    let deadline = Deadline::of(Duration::from_secs(25));
    while sessions(url).await > 0 {
        deadline.pause("a session of the tool is left");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_cut_outside_quotes_and_comments() {
        let query = "BEGIN; SELECT ';', 'it''s;', \"a;b\", $1; DO $x$ a; b $x$ -- c;\n; /* d; */ COMMIT;";
        let expected =
            ["BEGIN", "SELECT ';', 'it''s;', \"a;b\", $1", "DO $x$ a; b $x$ -- c;", "/* d; */ COMMIT"];
        assert_eq!(split(query), expected);
    }

    #[test]
    fn exported_ranges_are_read_from_both_engines_statements() {
        let order = r#"ORDER BY "Book"."id""#;
        let log = format!(
            "1|a|reader|x|LOG:  execute s_1: SELECT 1 FROM \"Book\" WHERE \"id\" > -7 AND \"id\" <= 30 {order} ASC\n\
             2|a|reader|x|LOG:  statement: COPY (SELECT 1 FROM \"Book\" WHERE \"id\" <= 3 {order}) TO STDOUT\n\
             1|a|reader|x|LOG:  execute s_2: SELECT $1\n\
             1|b|reader|x|LOG:  execute s_1: SELECT {order}\n"
        );
        assert_eq!(exported_in(&log, "a"), [(Some(-7), Some(30)), (None, Some(3))]);
    }

    #[test]
    fn the_log_is_read_for_one_role_and_database_with_its_further_lines() {
        let log = "1|a|reader|x|y|LOG:  statement: SELECT\n\t1\n2|b|reader|x|LOG:  statement: no\n\t2\n\
                   3|a|postgres|x|LOG:  statement: no\n1|a|reader|x|LOG:  execute s_1: SELECT $1\n\
                   1|a|reader|x|DETAIL:  parameters: $1 = '3'\n";
        let expected = [("1", "SELECT\n1"), ("1", "SELECT $1")];
        assert_eq!(logged(log, "a"), expected.map(|(session, query)| (session.to_owned(), query.to_owned())));
    }
}

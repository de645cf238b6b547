//! Every legal value of every column arrives byte for byte, whatever encoding, locale, time zone and date style the two
//! servers have.

#![expect(clippy::print_stdout, reason = "the seed, and the histogram for `--nocapture`")]

mod generated;

use dewey_sync::demo::books::SCHEMA;
use rand::RngExt;

use crate::guards::{check, passes};
use crate::support::inspect::{BOOKS, dump};
use crate::support::sandbox::{Sandbox, ways};
use crate::support::servers::{READER, SERVERS, connect, execute};
use generated::{Histogram, Repertoire, classes, columns, fill};

const BOOKS_GENERATED: u32 = 4_000;

/// Makes the sandbox's source anew with another encoding, and the application's tables and a user in it.
async fn encode_source(sandbox: &Sandbox, encoding: &str) {
    let name = &sandbox.database;
    execute(&SERVERS.source.url("postgres"), &format!("DROP DATABASE {name}")).await;
    let create = format!("CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0");
    execute(&SERVERS.source.url("postgres"), &create).await;
    let user =
        r#"INSERT INTO "User" (id, "clerkId", email, "updatedAt") VALUES (7, 'x', 'x@example.org', now())"#;
    let grant = format!(r#"GRANT SELECT ON "Book" TO {READER}"#);
    execute(&sandbox.source_admin_url(), &format!("{SCHEMA}; {user}; {grant}")).await;
}

/// Syncs generated books from a source of this encoding into the UTF8 target of another locale, date style and time zone.
async fn arrive(encoding: &str, repertoire: Repertoire) {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let sandbox = Sandbox::with_books(1).await;
    encode_source(&sandbox, encoding).await;
    let mut connection = connect(&sandbox.source_admin_url()).await;
    let histogram = fill(&mut connection, BOOKS_GENERATED, seed, repertoire).await;
    show(&histogram, repertoire);

    let source = dump(&sandbox.source_admin_url(), BOOKS);
    for engine in ["copy", "insert"] {
        execute(&sandbox.target_admin_url(), r#"TRUNCATE "Book" CASCADE"#).await;
        passes(&sandbox, &["sync", "--yes", "--engine", engine]).await;
        assert!(source == dump(&sandbox.target_admin_url(), BOOKS), "{engine}, seed {seed}");
    }
    assert!(source.len() > 4_000_000, "{} bytes", source.len());
    let again = passes(&sandbox, &["sync", "--yes"]).await;
    assert!(again.stdout.starts_with("unchanged nothing to do"), "seed {seed}: {again:?}");
}

/// Prints how many values of each class there were; none may be missing.
fn show(histogram: &Histogram, repertoire: Repertoire) {
    for column in columns() {
        let counted = &histogram[column];
        let classes = classes(column, repertoire);
        let shown: Vec<String> = classes
            .iter()
            .map(|class| format!("{class} {}", counted.get(class).copied().unwrap_or(0)))
            .collect();
        println!("{column}: {}", shown.join(", "));
        assert!(classes.iter().all(|class| counted.contains_key(class)), "{column} has an empty class");
    }
}

#[tokio::test]
async fn values_of_every_class_arrive_from_a_latin1_database() {
    arrive("LATIN1", Repertoire::Latin1).await;
}

#[tokio::test]
async fn values_of_every_class_and_plane_arrive_from_a_utf8_database() {
    arrive("UTF8", Repertoire::Unicode).await;
}

#[tokio::test]
async fn a_text_of_50_mb_arrives_with_every_strategy() {
    let sandbox = Sandbox::with_books(3).await;
    let long = r#"UPDATE "Book" SET synopsis = repeat(md5(id::text) || 'é', 50 * 1024 * 1024 / 34) WHERE id = (SELECT min(id) FROM "Book")"#;
    execute(&sandbox.source_admin_url(), long).await;
    let length =
        dump(&sandbox.source_admin_url(), r#"SELECT max(octet_length(synopsis)) > 50e6 FROM "Book""#);
    assert_eq!(length, b"t\n");
    let rows = r#"SELECT isbn13, md5(synopsis), title FROM "Book" ORDER BY isbn13"#;
    for (strategy, engine) in ways(0) {
        passes(&sandbox, &["sync", "--yes", "--strategy", strategy, "--engine", engine]).await;
        assert_eq!(
            dump(&sandbox.source_admin_url(), rows),
            dump(&sandbox.target_admin_url(), rows),
            "{strategy} {engine}"
        );
        execute(&sandbox.target_admin_url(), r#"UPDATE "Book" SET title = title || '!'"#).await;
    }
}

#[tokio::test]
async fn a_database_without_an_encoding_is_read_if_its_bytes_are_utf8_and_else_the_books_are_named() {
    let sandbox = Sandbox::with_books(1).await;
    encode_source(&sandbox, "SQL_ASCII").await;
    let insert = r#"INSERT INTO "Book" (id, "ownerId", isbn10, isbn13, title, "titleLong", language, synopsis, image, "pageCount",
                      binding, "datePublished", "imageOriginal", publisher, "updatedAt", authors)
                    SELECT n, 7, n, n, 'é 漢 🙂', '', '', '', '', 1, '', '', '', '', now(), ARRAY['ü']
                    FROM generate_series(1, 30) n"#;
    execute(&sandbox.source_admin_url(), insert).await;
    passes(&sandbox, &["sync", "--yes"]).await;
    let titles = r#"SELECT title, authors FROM "Book" ORDER BY isbn13 LIMIT 1"#;
    assert_eq!(dump(&sandbox.target_admin_url(), titles), "é 漢 🙂\t{ü}\n".as_bytes());

    let latin1 =
        r#"UPDATE "Book" SET title = convert_from('\x6368e274656175', 'SQL_ASCII') WHERE id IN (4, 17)"#;
    execute(&sandbox.source_admin_url(), latin1).await;
    let overlong = r#"UPDATE "Book" SET authors[1] = convert_from('\xc0af', 'SQL_ASCII') WHERE id = 9"#;
    execute(&sandbox.source_admin_url(), overlong).await;
    insta::assert_snapshot!(check(&sandbox, &["sync", "--yes"]).await, @r#"
    error: could not read the source's text as UTF-8
    caused by: the encoding of its database is `SQL_ASCII`, and books with these ids hold other bytes: 4, 9, 17

    state: `"Book"` is unchanged
    hint: correct those books; or, where they are in Latin-1 for instance, add under `[values]` in `dewey-sync.toml`: `title = { sql = "convert_from(convert(convert_to(title, 'SQL_ASCII'), 'LATIN1', 'UTF8'), 'UTF8')" }`
    "#);
}

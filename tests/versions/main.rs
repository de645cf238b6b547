//! Books travel between major versions, upwards and downwards. `just versions` fetches the servers and runs this.

#![expect(clippy::unwrap_used, reason = "support code panics for the test that called it")]

#[path = "../it/support/mod.rs"]
#[expect(dead_code, reason = "the other half is for the tests")]
mod support;

use std::path::PathBuf;

use dewey_sync::demo::books::{self, SCHEMA, add_developer};
use dewey_sync::demo::server::{Server, ServerOptions};

use crate::support::inspect::{BOOKS, dump, psql};
use crate::support::sandbox::{Run, Sandbox};
use crate::support::say;
use crate::support::servers::{
    DEVELOPER, DEVELOPER_EMAIL, READER, as_role, connect, execute, start_source, start_target,
};
use crate::support::settings::pair::Pair;
use crate::support::settings::{decided, hostile};

/// Source and target.
const PAIRS: [(u32, u32); 3] = [(13, 15), (15, 18), (18, 13)];

const BOOKS_COUNT: u32 = 1_000;

/// Makes something to do.
const OTHER_TITLES: &str = r#"UPDATE "Book" SET title = title || '!'"#;

/// Gives every book the texts, arrays and dates of one of the first thirty, of which none is like another; only the longest
/// text stays alone.
const ALL_AWKWARD: &str = r#"
    UPDATE "Book" b SET title = a.title, "titleLong" = a."titleLong", language = a.language, image = a.image,
      synopsis = CASE WHEN length(a.synopsis) < 100000 THEN a.synopsis ELSE b.synopsis END, edition = a.edition,
      "pageCount" = a."pageCount", authors = a.authors, binding = a.binding, subjects = a.subjects,
      "datePublished" = a."datePublished", "imageOriginal" = a."imageOriginal", publisher = a.publisher,
      visibility = a.visibility, "createdAt" = a."createdAt", "readDate" = a."readDate", "updatedAt" = a."updatedAt"
    FROM (SELECT row_number() OVER (ORDER BY id) - 1 AS place, id FROM "Book") numbered
      JOIN (SELECT row_number() OVER (ORDER BY id) - 1 AS place, * FROM "Book" WHERE id <= 3 * 30) a
        ON a.place = numbered.place % 30
    WHERE b.id = numbered.id"#;

/// The directory of one major version's programs.
fn programs(major: u32) -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "how `just versions` tells where it put the servers")]
    let servers = std::env::var_os("DEWEY_TEST_SERVERS").expect("run this by `just versions`");
    PathBuf::from(servers).join(major.to_string()).join("bin")
}

async fn run(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    let run = sandbox.run(&[arguments, &["--output", "json"]].concat()).await;
    assert_eq!(run.code, Some(0), "{arguments:?}: {run:?}");
    run
}

fn version(server: &Server) -> String {
    let shown = psql(&server.url("postgres"), "COPY (SELECT current_setting('server_version')) TO STDOUT");
    String::from_utf8(shown).unwrap().trim().to_owned()
}

/// Production on `source`, development on `target`; what was seen, as a line.
async fn check(source: &Server, target: &Server) -> String {
    let (production, development) = (source.url("postgres"), target.url("postgres"));
    let mut connection = connect(&production).await;
    sqlx::raw_sql(SCHEMA).execute(&mut connection).await.unwrap();
    books::fill(&mut connection, BOOKS_COUNT).await.unwrap();
    execute(&production, ALL_AWKWARD).await;
    execute(&production, &format!(r#"GRANT SELECT ON "Book" TO {READER}"#)).await;
    // Since version 15 not every role may create in `public`.
    execute(&development, &format!("CREATE DATABASE penumbra OWNER {DEVELOPER}")).await;
    let development = as_role(&target.url("penumbra"), DEVELOPER);
    execute(&development, SCHEMA).await;
    add_developer(&mut connect(&development).await, DEVELOPER_EMAIL).await.unwrap();
    let sandbox = Sandbox::with_books(1).await;
    sandbox.set_urls(&as_role(&production, READER), &development);
    let wanted = dump(&production, BOOKS);

    let first = run(&sandbox, &["sync", "--yes", "--batch-size", "100"]).await.json_end();
    assert_eq!((&first["outcome"], &first["fingerprint"]["rows"]), (&"verified".into(), &BOOKS_COUNT.into()));
    assert_eq!(dump(&development, BOOKS), wanted);
    let second = run(&sandbox, &["sync", "--yes"]).await.json_end();
    assert_eq!(second["outcome"], "unchanged", "{second}");

    execute(&development, OTHER_TITLES).await;
    let before = dump(&development, BOOKS);
    assert_ne!(before, wanted);
    run(&sandbox, &["sync", "--yes"]).await;
    assert_eq!(dump(&development, BOOKS), wanted);
    run(&sandbox, &["undo", "--yes"]).await;
    assert_eq!(dump(&development, BOOKS), before);
    for strategy in ["atomic", "batched"] {
        run(&sandbox, &["sync", "--yes", "--strategy", strategy]).await;
        assert_eq!(dump(&development, BOOKS), wanted, "{strategy}");
        execute(&development, OTHER_TITLES).await;
    }
    format!(
        "{} -> {}: {BOOKS_COUNT} awkward books synced and verified ({}), second run: {}, undone, \
         again by atomic and batched",
        version(source),
        version(target),
        first["fingerprint"]["digest"].as_str().unwrap(),
        second["outcome"].as_str().unwrap()
    )
}

#[tokio::test]
async fn awkward_books_travel_between_major_versions() {
    for (source, target) in PAIRS {
        let source = start_source(ServerOptions::new(programs(source))).unwrap();
        let target = start_target(ServerOptions::new(programs(target))).unwrap();
        let seen = check(&source, &target).await;
        say(&seen);
    }
}

/// Those that `tests/it` does not have.
const OTHERS: [u32; 2] = [13, 18];

#[tokio::test]
async fn hostile_settings_end_in_an_equal_copy_or_a_refusal_that_names_one() {
    for major in OTHERS {
        let source = start_source(ServerOptions::new(programs(major))).unwrap();
        let target = start_target(ServerOptions::new(programs(major))).unwrap();
        let began = std::time::Instant::now();
        decided::check_all_known(&source).await;
        decided::check_set(&Pair::new(&source, &target, "decided").await).await;
        hostile::check(&mut Pair::new(&source, &target, "hostile").await).await;
        let took = began.elapsed().as_secs();
        say(&format!("{}: every setting is decided and was played in {took} s", version(&target)));
    }
}

//! Physical copies of one database: both have one identity, so that the mark of a development database is in each copy
//! that was made after it.

use dewey_sync::demo::server::Server;

use crate::guards::passes;
use crate::support::inspect::{BOOKS, dump, tuples};
use crate::support::sandbox::{Sandbox, placed};
use crate::support::servers::{DEVELOPER_EMAIL, READER, as_role, execute, options};
use crate::support::standby::REPLICATED;

const SYNC: [&str; 4] = ["sync", "--yes", "--user-email", DEVELOPER_EMAIL];

const NOTE: &str = "note: source and target are physical copies of one database";

/// A database, and the same one on a server whose data was copied.
struct Copies {
    sandbox: Sandbox,
    original: String,
    copy: String,
    server: Server,
}

impl Copies {
    /// `prepare` is done with the URL of the original, before it is copied.
    async fn of(prepare: impl AsyncFnOnce(&Sandbox, &str)) -> Self {
        let sandbox = Sandbox::with_books(40).await;
        REPLICATED.create(&sandbox.database, 40).await;
        let original = REPLICATED.primary.url(&sandbox.database);
        prepare(&sandbox, &original).await;
        let server = Server::start(&options().copy_of(&REPLICATED.primary)).unwrap();
        let copy = server.url(&sandbox.database);
        Self { sandbox, original, copy, server }
    }

    /// Runs a call that a guard must refuse; what it says.
    async fn check(&self, call: &[&str]) -> String {
        let both = async || [tuples(&self.original).await, tuples(&self.copy).await];
        let before = both().await;
        let run = self.sandbox.run(call).await;
        assert_eq!((run.code, run.stdout.as_str()), (Some(3), ""), "{call:?}: {run:?}");
        assert_eq!(both().await, before, "{call:?}");
        let said = run.stderr.replace(&format!(":{}", self.server.port()), ":COPY");
        REPLICATED.redacted(&self.sandbox, &said)
    }
}

#[tokio::test]
async fn production_restored_as_development_has_to_be_named_and_is_then_told_from_production() {
    let copies = Copies::of(async |_, _| ()).await;
    let Copies { sandbox, original: production, copy: development, .. } = &copies;
    sandbox.set_urls(&as_role(production, READER), development);
    insta::assert_snapshot!(copies.check(&SYNC).await, @r#"
    note: source and target are physical copies of one database, which have the same identity
    source  DB at 127.0.0.1:PRIMARY  PostgreSQL N  read-only  DIR/.env.production
    target  DB at 127.0.0.1:COPY  PostgreSQL N             DIR/.env
    owner   ada@example.org (user 103, --user-email)
    error: DB at 127.0.0.1:COPY is not marked as a development database
    caused by: it was never marked as a development database, and `--yes` does not do that; 40 books of 7 users would be replaced

    state: `"Book"` is unchanged
    hint: run once with `--mark-development DB@127.0.0.1:COPY`, only if this is not production, or on a terminal without `--yes`
    "#);

    let name = placed(development);
    let named = [&SYNC[..], &["--mark-development", &name]].concat();
    let run = passes(sandbox, &named).await;
    assert!(run.stderr.contains(NOTE), "{run:?}");
    execute(production, r#"UPDATE "Book" SET title = title || '!'"#).await;
    passes(sandbox, &SYNC).await;
    assert!(dump(development, BOOKS) == dump(production, BOOKS));

    sandbox.set_urls(development, production);
    insta::assert_snapshot!(copies.check(&named).await, @r#"
    note: source and target are physical copies of one database, which have the same identity
    error: the source does not look like production
    caused by: it carries the mark of a development database, of which source and target are copies

    state: `"Book"` is unchanged
    hint: check the two URLs; if the source really is production, run `DROP SCHEMA dewey_sync CASCADE` in it
    "#);
}

#[tokio::test]
async fn development_restored_as_production_is_refused_until_its_mark_is_dropped() {
    let copies = Copies::of(async |sandbox, development| {
        sandbox.set_urls(&sandbox.source_url(), development);
        passes(sandbox, &[&SYNC[..], &["--mark-development", &placed(development)]].concat()).await;
    })
    .await;
    let Copies { sandbox, original: development, copy: production, .. } = &copies;
    let marked =
        "caused by: it carries the mark of a development database, of which source and target are copies";
    for (source, target) in [(production, development), (development, production)] {
        sandbox.set_urls(source, target);
        let said = copies.check(&SYNC).await;
        assert!(said.contains(marked), "{said}");
    }

    execute(production, "DROP SCHEMA dewey_sync CASCADE").await;
    let said = copies.check(&SYNC).await;
    assert!(said.contains(marked), "{said}");
    sandbox.set_urls(production, development);
    execute(production, r#"UPDATE "Book" SET title = title || '!'"#).await;
    let run = passes(sandbox, &SYNC).await;
    assert!(run.stderr.contains(NOTE), "{run:?}");
    assert!(dump(development, BOOKS) == dump(production, BOOKS));
}

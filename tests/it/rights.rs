//! A plain role needs certain rights on the target and no others; what it lacks is said before anything is written, with
//! the GRANT that helps.

use sqlx::{AssertSqlSafe, Connection};

use crate::guards::{OTHER_TITLES, check, passes};
use crate::support::inspect::{BOOKS, dump};
use crate::support::sandbox::Sandbox;
use crate::support::servers::{READER, as_role, connect, execute};

/// A target that is `developer`'s, whose URL names another role with no more rights than a sync needs.
struct Plain {
    sandbox: Sandbox,
    role: String,
}

impl Plain {
    async fn new() -> Self {
        let sandbox = Sandbox::with_books(3).await;
        let (database, role) = (&sandbox.database, format!("{}_plain", sandbox.database));
        let grants = format!(
            r#"CREATE ROLE {role} LOGIN PASSWORD '{role}'; GRANT CREATE ON DATABASE {database} TO {role};
            GRANT SELECT, INSERT, UPDATE, DELETE ON "Book" TO {role}; GRANT SELECT, UPDATE ("spotifyUrl") ON "User" TO {role};
            GRANT SELECT, UPDATE ON SEQUENCE "Book_id_seq" TO {role};
            GRANT SELECT, INSERT, DELETE ON "BookInReadingList" TO {role}"#
        );
        execute(&sandbox.target_admin_url(), &grants).await;
        let plain = Self { sandbox, role };
        plain.sandbox.set_urls(&plain.sandbox.source_url(), &plain.url());
        plain
    }

    fn url(&self) -> String {
        as_role(&self.sandbox.target_admin_url(), &self.role)
    }

    /// Runs statements as the superuser; `ROLE` and `DB` stand for names.
    async fn prepare(&self, sql: &str) {
        let sql = sql.replace("ROLE", &self.role).replace("DB", &self.sandbox.database);
        execute(&self.sandbox.target_admin_url(), &sql).await;
    }

    /// What the server answers to the role, in a transaction that is rolled back: an SQLSTATE, or nothing.
    async fn answer(&self, sql: &str) -> Option<String> {
        let mut connection = connect(&self.url()).await;
        let mut tx = connection.begin().await.unwrap();
        let answer = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await.err();
        answer.map(|error| error.as_database_error().unwrap().code().unwrap().into_owned())
    }

    /// The GRANTs that `sync` refuses with, having written nothing; `doctor` says the same.
    async fn refused(&self) -> Vec<String> {
        let said = check(&self.sandbox, &["sync", "--yes"]).await;
        let cause = said.lines().find_map(|line| line.strip_prefix("caused by: ")).unwrap();
        let doctor = self.sandbox.run(&["doctor"]).await;
        assert_eq!(doctor.code, Some(3), "{doctor:?}");
        let shown = self.sandbox.redacted(&doctor.stdout);
        assert!(shown.contains(&format!(": {cause}\n")), "{cause}: {shown}");
        let grants: Vec<String> =
            said.lines().filter_map(|line| Some(line.strip_prefix("  ")?.to_owned())).collect();
        assert!(!grants.is_empty() && grants.iter().all(|grant| shown.contains(grant)), "{said} {shown}");
        grants.iter().map(|grant| grant.replace("DB_plain", "ROLE")).collect()
    }
}

#[tokio::test]
async fn the_least_rights_are_enough_for_every_strategy_and_for_an_undo() {
    let plain = Plain::new().await;
    let sandbox = &plain.sandbox;
    let listed = r#"INSERT INTO "ReadingList" ("ownerId", title, "updatedAt") SELECT id, 'mine', now() FROM "User";
        INSERT INTO "BookInReadingList" ("bookId", "readingListId") SELECT b.id, l.id FROM "Book" b, "ReadingList" l
          ON CONFLICT DO NOTHING;
        UPDATE "Book" SET isbn10 = 'x', isbn13 = 'x' WHERE id = (SELECT max(id) FROM "Book")"#;
    for strategy in ["staged", "batched", "atomic", "staged"] {
        passes(sandbox, &["sync", "--yes", "--allow-cascade", "--strategy", strategy]).await;
        assert!(dump(&sandbox.target_admin_url(), BOOKS) == dump(&sandbox.source_admin_url(), BOOKS));
        execute(&sandbox.target_admin_url(), &format!("{OTHER_TITLES}; {listed}")).await;
    }
    let listed = || dump(&sandbox.target_admin_url(), r#"SELECT * FROM "BookInReadingList" ORDER BY id"#);
    let before = listed();
    passes(sandbox, &["sync", "--yes", "--allow-cascade"]).await;
    assert!(listed() != before);
    passes(sandbox, &["undo", "--yes"]).await;
    assert!(listed() == before);
}

/// What takes a right away, a statement that the server then refuses to the role, and the GRANT.
const TABLE: [(&str, &str, &str); 16] = [
    (
        "REVOKE CREATE ON DATABASE DB FROM ROLE",
        "CREATE SCHEMA dewey_sync",
        "GRANT CREATE ON DATABASE DB TO ROLE;",
    ),
    (
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
        r#"SELECT FROM public."Book""#,
        "GRANT USAGE ON SCHEMA public TO ROLE;",
    ),
    (
        r#"REVOKE SELECT ON "Book" FROM ROLE; GRANT SELECT (id, isbn13) ON "Book" TO ROLE"#,
        r#"SELECT b.*::text FROM "Book" b"#,
        r#"GRANT SELECT ON TABLE public."Book" TO ROLE;"#,
    ),
    (
        r#"REVOKE INSERT ON "Book" FROM ROLE"#,
        r#"INSERT INTO "Book" (isbn10) VALUES ('')"#,
        r#"GRANT INSERT ON TABLE public."Book" TO ROLE;"#,
    ),
    (
        r#"REVOKE UPDATE ON "Book" FROM ROLE"#,
        r#"UPDATE "Book" SET isbn10 = ''"#,
        r#"GRANT UPDATE ON TABLE public."Book" TO ROLE;"#,
    ),
    (
        r#"REVOKE DELETE ON "Book" FROM ROLE"#,
        r#"DELETE FROM "Book""#,
        r#"GRANT DELETE ON TABLE public."Book" TO ROLE;"#,
    ),
    (
        r#"REVOKE SELECT ON "User" FROM ROLE; GRANT SELECT (id, email) ON "User" TO ROLE"#,
        r#"SELECT name FROM "User""#,
        r#"GRANT SELECT ON TABLE public."User" TO ROLE;"#,
    ),
    (
        r#"REVOKE UPDATE ("spotifyUrl") ON "User" FROM ROLE"#,
        r#"SELECT FROM "User" FOR KEY SHARE"#,
        r#"GRANT UPDATE (name) ON TABLE public."User" TO ROLE;"#,
    ),
    (
        r#"REVOKE UPDATE ON SEQUENCE "Book_id_seq" FROM ROLE"#,
        r#"SELECT nextval('"Book_id_seq"')"#,
        r#"GRANT USAGE, UPDATE ON SEQUENCE public."Book_id_seq" TO ROLE;"#,
    ),
    (
        r#"REVOKE UPDATE ON SEQUENCE "Book_id_seq" FROM ROLE; GRANT USAGE ON SEQUENCE "Book_id_seq" TO ROLE"#,
        r#"SELECT setval('"Book_id_seq"', 7)"#,
        r#"GRANT UPDATE ON SEQUENCE public."Book_id_seq" TO ROLE;"#,
    ),
    (
        r#"REVOKE SELECT ON SEQUENCE "Book_id_seq" FROM ROLE"#,
        r#"SELECT last_value FROM "Book_id_seq""#,
        r#"GRANT SELECT ON SEQUENCE public."Book_id_seq" TO ROLE;"#,
    ),
    (
        r#"REVOKE SELECT ON "BookInReadingList" FROM ROLE"#,
        r#"SELECT FROM "BookInReadingList""#,
        r#"GRANT SELECT ON TABLE public."BookInReadingList" TO ROLE;"#,
    ),
    (
        r#"REVOKE DELETE ON "BookInReadingList" FROM ROLE"#,
        r#"LOCK TABLE "BookInReadingList" IN SHARE ROW EXCLUSIVE MODE"#,
        r#"GRANT UPDATE ON TABLE public."BookInReadingList" TO ROLE;"#,
    ),
    (
        r#"CREATE SCHEMA other; CREATE TABLE other.note (book integer REFERENCES "Book" ON DELETE SET NULL);
           GRANT ALL ON other.note TO ROLE"#,
        "SELECT FROM other.note",
        "GRANT USAGE ON SCHEMA other TO ROLE;",
    ),
    (
        r#"CREATE FUNCTION shelf() RETURNS text LANGUAGE sql AS $$SELECT 'a'$$; REVOKE EXECUTE ON FUNCTION shelf FROM PUBLIC;
           ALTER TABLE "Book" ADD shelf text DEFAULT shelf()"#,
        r#"INSERT INTO "Book" (isbn10) VALUES ('')"#,
        "GRANT EXECUTE ON FUNCTION public.shelf() TO ROLE;",
    ),
    (
        "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC",
        "DO $$ BEGIN END $$",
        "GRANT USAGE ON LANGUAGE plpgsql TO ROLE;",
    ),
];

#[tokio::test]
async fn a_right_that_is_lacking_is_asked_for_by_its_grant() {
    for (revoke, probe, grant) in TABLE {
        let plain = Plain::new().await;
        assert!(
            matches!(plain.answer(probe).await.as_deref(), None | Some("23502" | "3F000" | "42P01")),
            "{probe}"
        );
        plain.prepare(revoke).await;
        assert_eq!(plain.answer(probe).await.as_deref(), Some("42501"), "{revoke}: {probe}");
        let grants = plain.refused().await;
        assert_eq!(grants, [grant], "{revoke}");
        plain.prepare(&grants.concat()).await;
        assert_ne!(plain.answer(probe).await.as_deref(), Some("42501"), "{revoke}: {probe}");
        passes(&plain.sandbox, &["sync", "--yes"]).await;
    }
}

#[tokio::test]
async fn an_undo_could_not_bring_back_what_the_role_may_not_insert_or_change() {
    let plain = Plain::new().await;
    let lend = r#"REVOKE INSERT ON "BookInReadingList" FROM ROLE;
        CREATE TABLE "Loan" (book integer REFERENCES "Book" ON DELETE SET NULL, "to" text);
        GRANT SELECT, DELETE ON "Loan" TO ROLE;
        CREATE TABLE "Fine" (book integer REFERENCES "Book", euros int); GRANT SELECT, TRUNCATE ON "Fine" TO ROLE"#;
    plain.prepare(lend).await;
    let grants = [
        r#"GRANT INSERT ON TABLE public."BookInReadingList" TO ROLE;"#,
        r#"GRANT UPDATE ON TABLE public."Loan" TO ROLE;"#,
    ];
    assert_eq!(plain.refused().await, grants);
    // To compare, it needs none of them.
    let verified = plain.sandbox.run(&["verify"]).await;
    assert_eq!(verified.code, Some(4), "{verified:?}");
    plain.prepare(&grants.concat()).await;
    passes(&plain.sandbox, &["sync", "--yes"]).await;
}

#[tokio::test]
async fn to_compare_a_role_needs_to_read() {
    let plain = Plain::new().await;
    plain
        .prepare(
            r#"REVOKE ALL ON DATABASE DB FROM ROLE; REVOKE ALL ON ALL TABLES IN SCHEMA public FROM ROLE;
               REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM ROLE;
               GRANT SELECT ON "Book", "User", "BookInReadingList" TO ROLE"#,
        )
        .await;
    let verified = plain.sandbox.run(&["verify"]).await;
    assert_eq!(verified.code, Some(4), "{verified:?}");
    plain.prepare(r#"REVOKE SELECT ON "User" FROM ROLE"#).await;
    let said = check(&plain.sandbox, &["verify"]).await;
    insta::assert_snapshot!(said[said.find("error:").unwrap()..], @r#"
    error: the role `DB_plain` lacks rights on the target, DB at 127.0.0.1:TARGET
    caused by: it lacks SELECT on table `public."User"`

    hint: as the owner of these objects or a superuser, run there:
      GRANT SELECT ON TABLE public."User" TO DB_plain;
    "#);
}

#[tokio::test]
async fn a_ledger_of_another_role_is_used_when_its_tables_are_granted() {
    let plain = Plain::new().await;
    let sandbox = &plain.sandbox;
    plain.prepare("REVOKE CREATE ON DATABASE DB FROM ROLE").await;
    sandbox.set_urls(&sandbox.source_url(), &sandbox.target_url());
    passes(sandbox, &["sync", "--yes"]).await;
    execute(&sandbox.target_admin_url(), OTHER_TITLES).await;
    sandbox.set_urls(&sandbox.source_url(), &plain.url());

    let mut grants = plain.refused().await;
    assert_eq!(grants[0], "GRANT USAGE ON SCHEMA dewey_sync TO ROLE;");
    assert!(
        grants.contains(&"GRANT USAGE ON SEQUENCE dewey_sync.run_run_id_seq TO ROLE;".to_owned()),
        "{grants:?}"
    );
    let stage =
        "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON TABLE dewey_sync.stage TO ROLE;".to_owned();
    assert!(grants.contains(&stage), "{grants:?}");
    // The last one alone is not enough.
    let last = grants.pop().unwrap();
    plain.prepare(&grants.concat()).await;
    assert_eq!(plain.refused().await, [last.as_str()]);
    plain.prepare(&last).await;
    for strategy in ["staged", "batched", "atomic"] {
        passes(sandbox, &["sync", "--yes", "--strategy", strategy]).await;
        execute(&sandbox.target_admin_url(), OTHER_TITLES).await;
    }

    // Only its owner alters a table, however many rights another role has.
    let older = "DELETE FROM dewey_sync.ledger_migration WHERE version > 'm0010'";
    execute(&sandbox.target_admin_url(), older).await;
    assert_eq!(plain.refused().await, ["GRANT developer TO ROLE;"]);
    plain.prepare("GRANT developer TO ROLE").await;
    passes(sandbox, &["sync", "--yes"]).await;
}

#[tokio::test]
async fn a_ledger_that_is_not_whole_wants_the_right_to_complete_it() {
    let plain = Plain::new().await;
    plain
        .prepare(
            "REVOKE CREATE ON DATABASE DB FROM ROLE; CREATE SCHEMA dewey_sync; GRANT USAGE ON SCHEMA dewey_sync TO ROLE",
        )
        .await;
    let grants = plain.refused().await;
    assert_eq!(grants, ["GRANT CREATE ON SCHEMA dewey_sync TO ROLE;"]);
    plain.prepare(&grants.concat()).await;
    passes(&plain.sandbox, &["sync", "--yes"]).await;
}

/// Without it no guard could tell databases apart; some hosted services revoke it.
#[tokio::test]
async fn a_role_that_may_not_know_the_identity_is_refused_on_either_side() {
    let revoke = "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC";
    for on_source in [true, false] {
        let sandbox = Sandbox::with_books(3).await;
        let (admin, role) = if on_source {
            (sandbox.source_admin_url(), READER)
        } else {
            (sandbox.target_admin_url(), "developer")
        };
        execute(&admin, revoke).await;
        let grant = format!("GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO {role};");
        let said = check(&sandbox, &["sync", "--yes"]).await;
        if on_source {
            insta::assert_snapshot!(said, @r#"
            error: could not tell the source, DB at 127.0.0.1:SOURCE, from other databases
            caused by: the role `reader` may not EXECUTE pg_catalog.pg_control_system()

            state: `"Book"` is unchanged
            hint: as a superuser, run there:
              GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO reader;
            "#);
        }
        let calls = [&["sync", "--dry-run"][..], &["verify"], &["migrate", "up"], &["undo", "--yes"]];
        // An undo does not ask the source.
        for call in calls.into_iter().filter(|call| !on_source || call[0] != "undo") {
            let said = check(&sandbox, call).await;
            assert!(said.contains(&grant), "{call:?}: {said}");
        }
        let doctor = sandbox.run(&["doctor"]).await;
        assert_eq!(doctor.code, Some(3), "{doctor:?}");
        // The other findings of both sides are there all the same.
        let findings = doctor.stdout.matches("  ok     tables        the application's").count();
        assert!(doctor.stdout.contains(&grant) && findings == 2, "{doctor:?}");
        execute(&admin, &grant).await;
        passes(&sandbox, &["sync", "--yes"]).await;
    }
}

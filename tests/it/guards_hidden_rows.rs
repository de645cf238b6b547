//! Guard: a row-level policy that applies to the role is refused before anything is read that it could hide, on both
//! sides. No number of rows is told.

use crate::guards::{OTHER_TITLES, WRITING, check, passes, synced};
use crate::support::inspect::{BOOKS, dump};
use crate::support::sandbox::Sandbox;
use crate::support::servers::execute;

/// A policy that shows the public books; `others` follows the name of the table.
const POLICY: &str = r#"ALTER TABLE "Book" ENABLE ROW LEVEL SECURITY;
                        CREATE POLICY visible ON "Book" USING (visibility = 'PUBLIC')"#;

#[tokio::test]
async fn a_policy_on_the_sources_books_is_refused() {
    let sandbox = Sandbox::new().await;
    execute(&sandbox.source_admin_url(), POLICY).await;
    insta::assert_snapshot!(check(&sandbox, &["sync", "--yes"]).await, @r#"
    error: could not read every row of the source, DB at 127.0.0.1:SOURCE
    caused by: row-level policies of `public."Book"` apply to the role `reader` and may hide rows from it

    state: `"Book"` is unchanged
    hint: run `ALTER ROLE reader BYPASSRLS` as a superuser, or use the tables' owner, unless their policies are forced on it; a policy that shows every row to `reader` is not enough
    "#);
    for call in [&["sync", "--dry-run"][..], &["sync", "--yes", "--strategy", "batched"], &["verify"]] {
        let said = check(&sandbox, call).await;
        assert!(
            said.contains("row-level policies of `public.\"Book\"` apply to the role `reader`"),
            "{said}"
        );
    }
    // Not even one that shows everything to everybody.
    execute(&sandbox.source_admin_url(), r#"ALTER POLICY visible ON "Book" USING (true)"#).await;
    check(&sandbox, &["sync", "--yes"]).await;
}

#[tokio::test]
async fn the_hint_of_a_policy_helps() {
    let sandbox = Sandbox::new().await;
    let role = format!("{}_reader", sandbox.database);
    let policed =
        format!(r#"{POLICY}; CREATE ROLE {role} LOGIN PASSWORD '{role}'; GRANT SELECT ON "Book" TO {role}"#);
    execute(&sandbox.source_admin_url(), &policed).await;
    let url = crate::support::servers::as_role(&sandbox.source_admin_url(), &role);
    sandbox.set_urls(&url, &sandbox.target_url());
    let said = check(&sandbox, &["sync", "--yes"]).await;
    assert!(said.contains("run `ALTER ROLE DB_reader BYPASSRLS` as a superuser"), "{said}");
    execute(&sandbox.source_admin_url(), &format!("ALTER ROLE {role} BYPASSRLS")).await;
    passes(&sandbox, &["sync", "--yes"]).await;
    assert!(dump(&sandbox.target_url(), BOOKS) == dump(&sandbox.source_admin_url(), BOOKS));
}

#[tokio::test]
async fn a_policy_on_the_targets_tables_is_refused_when_it_applies_to_the_role() {
    let sandbox = synced().await;
    let (role, target) = ("developer", sandbox.target_admin_url());
    execute(
        &target,
        &format!(r#"ALTER TABLE "Book" OWNER TO postgres; GRANT ALL ON "Book" TO {role}; {POLICY}"#),
    )
    .await;
    insta::assert_snapshot!(check(&sandbox, &["sync", "--yes"]).await, @r#"
    error: could not read every row of the target, DB at 127.0.0.1:TARGET
    caused by: row-level policies of `public."Book"` apply to the role `developer` and may hide rows from it

    state: `"Book"` is unchanged
    hint: run `ALTER ROLE developer BYPASSRLS` as a superuser, or use the tables' owner, unless their policies are forced on it; a policy that shows every row to `developer` is not enough
    "#);
    for call in WRITING.iter().chain([&["undo", "--yes"][..]].iter()) {
        let said = check(&sandbox, call).await;
        assert!(
            said.contains("caused by: row-level policies of `public.\"Book\"` apply"),
            "{call:?}: {said}"
        );
    }
    // An owner reads past policies, unless they are forced on it.
    execute(
        &target,
        &format!(r#"ALTER TABLE "Book" OWNER TO {role}; ALTER TABLE "Book" FORCE ROW LEVEL SECURITY"#),
    )
    .await;
    check(&sandbox, &["sync", "--yes"]).await;
    execute(&target, r#"ALTER TABLE "Book" NO FORCE ROW LEVEL SECURITY"#).await;
    passes(&sandbox, &["sync", "--yes"]).await;
}

#[tokio::test]
async fn policies_on_users_and_on_what_hangs_on_books_are_refused_and_others_are_not() {
    let sandbox = synced().await;
    let target = sandbox.target_admin_url();
    let force = |table: &str, force: &str| {
        let sql = format!(
            r#"ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY; ALTER TABLE "{table}" {force} ROW LEVEL SECURITY"#
        );
        let target = target.clone();
        async move { execute(&target, &sql).await }
    };
    for table in ["User", "BookInReadingList"] {
        force(table, "FORCE").await;
        let said = check(&sandbox, &["sync", "--yes"]).await;
        let cause =
            format!("caused by: row-level policies of `public.\"{table}\"` apply to the role `developer`");
        assert!(said.contains(&cause), "{said}");
        force(table, "NO FORCE").await;
    }
    force("ReadingList", "FORCE").await;
    execute(&target, OTHER_TITLES).await;
    passes(&sandbox, &["sync", "--yes"]).await;
}

//! A ledger that came with a copy of another database, such as a dump: it marks nothing, and its runs are neither resumed nor undone.

use std::process::Command;

use crate::guards::{OTHER_TITLES, check, count, passes, synced};
use crate::support::inspect::{BOOKS, dump};
use crate::support::sandbox::Sandbox;
use crate::support::servers::{DEVELOPER, PG_BIN, SERVERS, execute};

/// How a database comes to be a copy with another identity.
enum Copied {
    ByDump,
    AsTemplate,
}

/// A target that is a copy of another one, and that one, whose last sync could be undone there; `prepare` is done with it
/// before. Their source is the same.
async fn copied(how: Copied, prepare: impl AsyncFnOnce(&Sandbox)) -> (Sandbox, Sandbox) {
    let original = synced().await;
    passes(&original, &["sync", "--yes"]).await;
    prepare(&original).await;
    let copy = Sandbox::with_books(1).await;
    copy.set_urls(&original.source_url(), &copy.target_url());
    let (admin, name) = (SERVERS.target.url("postgres"), &copy.database);
    execute(&admin, &format!("DROP DATABASE {name}")).await;
    let create = format!("CREATE DATABASE {name} OWNER {DEVELOPER}");
    match how {
        Copied::AsTemplate => execute(&admin, &format!("{create} TEMPLATE {}", original.database)).await,
        Copied::ByDump => {
            execute(&admin, &create).await;
            restore(&original, &copy);
        }
    }
    (copy, original)
}

fn restore(original: &Sandbox, copy: &Sandbox) {
    let dumped = Command::new(PG_BIN.join("pg_dump")).arg(original.target_admin_url()).output().unwrap();
    assert!(dumped.status.success(), "{dumped:?}");
    let file = copy.directory().join("dump.sql");
    std::fs::write(&file, dumped.stdout).unwrap();
    let mut psql = Command::new(PG_BIN.join("psql"));
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"]).arg(file).args(["-d", &copy.target_admin_url()]);
    let restored = psql.output().unwrap();
    assert!(restored.status.success(), "{restored:?}");
}

/// Its source is another sandbox's, whose database has another name.
fn named(sandbox: &Sandbox) -> [&str; 2] {
    ["--mark-development", &sandbox.database]
}

#[tokio::test]
async fn the_last_sync_of_the_original_is_not_undone_in_a_copy() {
    // In a restored dump the rows' digests already tell, because types have other oids there.
    let (sandbox, _original) = copied(Copied::AsTemplate, async |_| ()).await;
    let said = check(&sandbox, &["undo", "--yes"]).await;
    assert!(said.contains("it was never marked as a development database"), "{said}");
    let books = dump(&sandbox.target_url(), BOOKS);
    passes(&sandbox, &[&["migrate", "up"], &named(&sandbox)[..]].concat()).await;
    let undo = sandbox.run(&["undo", "--yes"]).await;
    assert_eq!(undo.code, Some(2), "{undo:?}");
    assert!(undo.stderr.contains("error: there is nothing to undo"), "{undo:?}");
    assert!(dump(&sandbox.target_url(), BOOKS) == books);
    assert_eq!(count(&sandbox, "dewey_sync.replaced").await, 0);
    // That the ledger was foreign is over: what is synced here is undone here.
    execute(&sandbox.target_url(), OTHER_TITLES).await;
    let books = dump(&sandbox.target_url(), BOOKS);
    passes(&sandbox, &["sync", "--yes"]).await;
    passes(&sandbox, &["migrate", "up"]).await;
    passes(&sandbox, &["undo", "--yes"]).await;
    assert!(dump(&sandbox.target_url(), BOOKS) == books);
}

/// What a run leaves that was killed before its end.
const UNFINISHED: &str =
    "UPDATE dewey_sync.run SET state = 'interrupted' WHERE run_id = (SELECT max(run_id) FROM dewey_sync.run)";

#[tokio::test]
async fn an_unfinished_run_of_the_original_is_not_resumed_in_a_copy() {
    let (sandbox, _original) =
        copied(Copied::ByDump, async |original| execute(&original.target_admin_url(), UNFINISHED).await)
            .await;
    let resume = ["sync", "--yes", "--resume"];
    let said = check(&sandbox, &resume).await;
    assert!(said.contains("the target database was"), "{said}");
    let said = check(&sandbox, &[&resume, &named(&sandbox)[..]].concat()).await;
    let (cause, hint) = said.split_once("caused by: the target database was ").unwrap();
    assert!(cause.ends_with("error: could not resume the unfinished run\n"), "{said}");
    assert!(hint.contains("hint: without `--resume` a new run begins"), "{said}");
    execute(&sandbox.target_url(), OTHER_TITLES).await;
    passes(&sandbox, &[&["sync", "--yes"], &named(&sandbox)[..]].concat()).await;
    let again = sandbox.run(&resume).await;
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.stderr.contains("the target's ledger has no unfinished run"), "{again:?}");
}

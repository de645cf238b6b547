//! What triggers do while an undo writes is measured and shown, as it is for a sync.

use serde_json::json;

use crate::apply::synced;
use crate::losses::{OWN, agreed, undone};
use crate::support::servers::execute;

#[tokio::test]
async fn rows_that_a_trigger_inserts_during_an_undo_are_shown() {
    let trigger = r#"CREATE TABLE audit (what text);
        CREATE TABLE mark (book int REFERENCES "Book" ON DELETE CASCADE); INSERT INTO mark SELECT max(id) FROM "Book";
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          INSERT INTO public.audit VALUES (TG_OP); RETURN NULL; END $$;
        CREATE TRIGGER note AFTER INSERT ON "Book" FOR EACH ROW EXECUTE FUNCTION note();"#;
    for json in [true, false] {
        let sandbox = synced(20).await;
        execute(&sandbox.target_url(), &format!("{OWN}; {trigger}")).await;
        agreed(&sandbox).await;
        if json {
            let end = undone(&sandbox, &[]).await.json_end();
            let audit = json!({ "table": "public.audit", "deleted": 0, "updated": 0, "inserted": 1 });
            assert_eq!((&end["outcome"], &end["elsewhere"]), (&json!("undone"), &json!([audit])), "{end}");
        } else {
            let run = sandbox.run(&["undo", "--yes"]).await;
            assert!(run.stdout.ends_with("elsewhere `public.audit`: 1 inserted\n"), "{run:?}");
        }
    }
}

//! Taking over does not wait for those who go on writing: their claims overlap, and would for ever be there first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::sandbox::Sandbox;
use crate::support::servers::{connect, execute};

/// As many claims at the same time as workers of a run.
const WRITERS: usize = 6;

#[tokio::test]
async fn overlapping_claims_of_a_lost_run_do_not_hold_up_the_next_one() {
    let sandbox = Sandbox::with_books(40).await;
    assert_eq!(sandbox.run(&["sync", "--yes"]).await.code, Some(0));
    let url = sandbox.target_admin_url();
    execute(&url, r#"UPDATE dewey_sync.run SET state = 'running'; UPDATE "Book" SET title = 'old'"#).await;
    let goes_on = Arc::new(AtomicBool::new(true));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (url, goes_on) = (url.clone(), Arc::clone(&goes_on));
            tokio::spawn(async move {
                let mut connection = connect(&url).await;
                while goes_on.load(Ordering::Acquire) {
                    let claim = "BEGIN; SELECT FROM dewey_sync.run WHERE run_id = 1 FOR SHARE; SELECT pg_sleep(0.3); COMMIT";
                    sqlx::raw_sql(claim).execute(&mut connection).await.unwrap();
                }
            })
        })
        .collect();
    let began = Instant::now();
    let run = sandbox.run(&["sync", "--yes", "--max-retries", "0"]).await;
    let took = began.elapsed();
    goes_on.store(false, Ordering::Release);
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(run.code, Some(0), "{run:?}");
    // Starved, it waits for its lock_timeout of 10 s and gives up.
    assert!(took < Duration::from_secs(9), "{took:?}");
}

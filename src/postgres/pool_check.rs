//! A pooler may lend out fewer connections than a run needs at once, or not for as long as a transaction. The run would stand
//! still in the middle, so that is tried before the first write.

use futures_util::future::{join_all, try_join_all};

use super::connect::Server;
use super::fault::Fault;
use super::tx::{SNAPSHOT, Tx};
use crate::config::Side;

impl Server {
    /// How many connections a run needs at once: for the work, for a sign of life during it, and on the target for the lock.
    /// More workers than connections take turns.
    pub fn connections_min(&self) -> usize {
        match self.endpoint().side {
            Side::Source => 2,
            Side::Target => 3,
        }
    }

    /// Opens that many transactions at once, if a pooler is seen to be there, and keeps one of their connections: a pooler
    /// that lends out whole sessions has none for others while they wait.
    ///
    /// # Errors
    /// The pooler's answer, or a deadline where it has none.
    pub async fn check_pool(&self) -> Result<(), Fault> {
        if !self.lacks_startup_options() {
            return Ok(());
        }
        let begin = |_| Tx::begin(self, SNAPSHOT, self.short_limit(), "SELECT 1");
        let open = try_join_all((0..self.connections_min()).map(begin)).await?;
        join_all(open.into_iter().map(|(tx, _)| tx.rollback())).await;
        let kept = self.take_idle();
        self.close().await;
        if let Some(opened) = kept {
            self.release(opened);
        }
        Ok(())
    }
}

//! Plays one case: dry run, sync, the sync that agrees to losses, what somebody does meanwhile, undo.

use std::collections::BTreeMap;

use crate::check::{agreed, announced, free, nothing_done};
use crate::lab::Bench;
use crate::model::{Case, Shape};
use crate::said::{Ran, run_tool};
use crate::script;
use crate::simulate::{Order, Simulated, simulate};
use crate::snapshot::{Snapshot, TableState, production};
use crate::story::{Mismatch, NO_CASE, Story, Synced, Undone, Verdict, ensure, fail};
use crate::undone;

/// A case on its databases.
pub(crate) struct Played<'a> {
    pub(crate) case: &'a Case,
    pub(crate) bench: &'a mut Bench,
    /// Production's books.
    pub(crate) expected: BTreeMap<String, String>,
    pub(crate) before: Snapshot,
    pub(crate) ran: Vec<Ran>,
    pub(crate) reasons: Vec<String>,
    pub(crate) remarks: Vec<&'static str>,
    pub(crate) meddled: bool,
}

/// Plays `case` to its end, or to the first mismatch.
pub(crate) async fn play(case: &Case, bench: &mut Bench) -> Verdict<Story> {
    if let Err(error) = bench.set_up(&script::source(case), &script::target(case)).await {
        return fail(NO_CASE, error);
    }
    let expected = production(&mut bench.source).await.unwrap();
    let before = Snapshot::take(&mut bench.target, case).await.unwrap();
    let (reasons, remarks) = (Vec::new(), Vec::new());
    let mut played =
        Played { case, bench, expected, before, ran: Vec::new(), reasons, remarks, meddled: false };
    match played.go().await {
        Ok((synced, undone)) => {
            let Played { reasons, remarks, meddled, .. } = played;
            Ok(Story { synced, undone, reasons, remarks, meddled })
        }
        Err(mismatch) => Err(Mismatch { ran: played.ran, ..mismatch }),
    }
}

impl Played<'_> {
    async fn go(&mut self) -> Verdict<(Synced, Undone)> {
        let dry = self.dry_run().await?;
        let (synced, end) = self.sync(&dry).await?;
        let undone = match (synced, end) {
            (Synced::Free | Synced::Agreed, Some(end)) => {
                self.sync_again().await?;
                undone::undo(self, &end).await?
            }
            _ => Undone::Not,
        };
        Ok((synced, undone))
    }

    pub(crate) async fn snapshot(&mut self) -> Snapshot {
        Snapshot::take(&mut self.bench.target, self.case).await.unwrap()
    }

    pub(crate) async fn run(&mut self, call: &[&str]) -> Verdict<Ran> {
        let ran = run_tool(self.bench, call).await;
        self.ran.push(ran.clone());
        ensure(ran.code.is_some(), "hung or died", String::new)?;
        Ok(ran)
    }

    async fn sync_by(&mut self, flags: &[&str]) -> Verdict<Ran> {
        let name = self.bench.target_name();
        let size = self.case.batch_size.to_string();
        let mut call = vec!["sync", "--user-id", "1", "--mark-development", &name];
        call.extend(["--engine", self.case.engine, "--batch-size", &size, "--retry-delay", "5ms"]);
        if self.case.production.is_empty() {
            call.push("--allow-empty-source");
        }
        call.extend(flags);
        self.run(&call).await
    }

    async fn dry_run(&mut self) -> Verdict<Ran> {
        let ran = self.sync_by(&["--dry-run"]).await?;
        let after = self.snapshot().await;
        let written = self.before.is_untouched_in(&after);
        ensure(written.is_ok() && !after.has_ledger, "the dry run wrote", || format!("{written:?}"))?;
        ensure(matches!(ran.code, Some(0 | 3)), "the dry run failed", || ran.reason())?;
        ensure(
            ran.code == Some(3) || !ran.event("preview").is_null(),
            "the dry run shows nothing",
            String::new,
        )?;
        Ok(ran)
    }

    /// What became of it, with the run that changed something.
    async fn sync(&mut self, dry: &Ran) -> Verdict<(Synced, Option<Ran>)> {
        let ran = self.sync_by(&["--yes"]).await?;
        match ran.code {
            Some(0) => {
                let after = self.snapshot().await;
                if ran.event("end")["outcome"] == "unchanged" {
                    nothing_done(self, &after)?;
                    return Ok((Synced::NothingToDo, None));
                }
                free(self, &ran, &after)?;
                announced(self, dry, &after)?;
                return Ok((Synced::Free, Some(ran)));
            }
            Some(3) => self.refused(dry, &ran, false).await?,
            _ => {
                self.impossible(&ran).await?;
                return Ok((Synced::Impossible, None));
            }
        }
        let ran = self.sync_by(&["--yes", "--allow-cascade"]).await?;
        match ran.code {
            Some(0) => {
                let after = self.snapshot().await;
                agreed(self, &ran, &after)?;
                announced(self, dry, &after)?;
                Ok((Synced::Agreed, Some(ran)))
            }
            Some(3) => {
                self.refused(dry, &ran, true).await?;
                Ok((Synced::Refused, None))
            }
            _ => {
                self.impossible(&ran).await?;
                Ok((Synced::Impossible, None))
            }
        }
    }

    async fn sync_again(&mut self) -> Verdict {
        if !self.case.again {
            return Ok(());
        }
        let before = self.snapshot().await;
        let ran = self.sync_by(&["--yes"]).await?;
        let after = self.snapshot().await;
        let same = before.is_untouched_in(&after);
        let unchanged = ran.code == Some(0) && ran.event("end")["outcome"] == "unchanged";
        ensure(unchanged && same.is_ok(), "the second sync did something", || format!("{same:?}"))
    }

    /// Nothing was changed, for a reason that is said and that there is.
    async fn refused(&mut self, dry: &Ran, ran: &Ran, allowed_losses: bool) -> Verdict {
        self.untouched(ran).await?;
        if allowed_losses {
            self.reasons.push(self.masked(&ran.reason()));
        }
        // Another kind of table is refused for what it is.
        if !matches!(self.case.book().shape, Shape::Plain | Shape::ByIsbn) {
            return Ok(());
        }
        let first = self.simulate(Order::DeleteUpdateInsert).await;
        let forbids = self.case.may_forbid();
        let needless = if allowed_losses { first.has_known_size() } else { first.is_free() };
        if needless && self.case.rules.is_empty() {
            // A row that forbids a deletion may be one that would be deleted before it is asked, and a copied reference
            // that is lost may be one that is changed anyway.
            let excused = (forbids && allowed_losses)
                || self.case.has_a_copied_reference()
                || self.case.forbids_by_number()
                || self.case.fires_when_given_up();
            ensure(excused, "a needless refusal", || format!("{first:?}"))?;
            self.remarks.push("refused though plain statements pass");
        }
        // What a rule forbids, a statement of another form meets.
        if self.case.rules.is_empty() {
            names_the_reason(self, &first, ran, allowed_losses)?;
        }
        let announced = dry.announced(&self.before).unwrap_or_default();
        let blocked =
            first.error.as_ref().is_some_and(|(text, _)| text.contains("update or delete on table"));
        let silent = dry.code == Some(0) && announced.values().all(|found| found.blocking == 0);
        if allowed_losses && blocked && silent && !self.case.has_triggers() {
            self.remarks.push("what forbids it was not announced");
        }
        for order in [Order::InsertUpdateDelete, Order::UpdateInsertDelete] {
            if !allowed_losses && !first.is_free() && self.simulate(order).await.is_free() {
                self.remarks.push("another order would lose nothing");
                break;
            }
        }
        Ok(())
    }

    /// Nothing was changed, and nobody could do it.
    async fn impossible(&mut self, ran: &Ran) -> Verdict {
        ensure(matches!(ran.code, Some(4 | 5)), "another exit code", || ran.reason())?;
        self.untouched(ran).await?;
        self.reasons.push(self.masked(&ran.reason()));
        if !self.case.rules.is_empty() {
            return Ok(());
        }
        let first = self.simulate(Order::DeleteUpdateInsert).await;
        if first.is_possible() && !first.has_known_size() {
            self.remarks.push("an error where a loss without a number would be refused");
            return Ok(());
        }
        if first.is_possible() && self.case.forbids_by_number() {
            self.remarks.push("an error that another number would not meet");
            return Ok(());
        }
        ensure(!first.is_possible(), "an error where plain statements pass", || format!("{first:?}"))?;
        for order in [Order::InsertUpdateDelete, Order::UpdateInsertDelete] {
            if self.simulate(order).await.is_possible() {
                self.remarks.push("an error that another order would not meet");
                break;
            }
        }
        Ok(())
    }

    /// After a run that must have changed nothing, and says why.
    pub(crate) async fn untouched(&mut self, ran: &Ran) -> Verdict {
        let after = self.snapshot().await;
        let untouched = self.before.is_untouched_in(&after);
        ensure(untouched.is_ok(), "a refusal that changed something", || format!("{untouched:?}"))?;
        ensure(ran.has_a_cause(), "a refusal without its cause", || ran.reason())
    }

    async fn simulate(&mut self, order: Order) -> Simulated {
        simulate(&mut self.bench.target, self.case, &self.before, &self.expected, order).await
    }

    /// A reason without the names and numbers that tell one case from another.
    pub(crate) fn masked(&self, reason: &str) -> String {
        let mut masked = reason.to_owned();
        let mut names: Vec<&str> = self.before.tables.values().map(|table| table.name.as_str()).collect();
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        for name in names {
            masked = masked.replace(name, "TABLE");
        }
        let digits = masked.replace(|c: char| c.is_ascii_digit(), "9");
        let mut shorter = digits.replace("99", "9");
        while shorter.contains("99") {
            shorter = shorter.replace("99", "9");
        }
        shorter
    }
}

/// The refusal names a table that would lose rows and how many, or the one that forbids it, or the one that goes.
fn names_the_reason(played: &Played<'_>, simulated: &Simulated, ran: &Ran, allowed_losses: bool) -> Verdict {
    let Played { before, case, .. } = played;
    let reason = ran.reason();
    let says = |table: &str| {
        let bare = table.strip_prefix("public.").unwrap_or(table);
        reason.contains(bare) || reason.contains(bare.trim_matches('"'))
    };
    let says_some = |bare: &str| {
        let mut tables = before.tables.values().filter(|table| table.name.contains(bare));
        let quoted = |table: &TableState| reason.contains(&format!("\"{}\"", table.bare));
        tables.any(|table| says(&table.name) || says(&table.family) || quoted(table))
    };
    let kind = "a refusal that does not name its reason";
    // Books are tried before any is deleted. So a book that is deleted with its parent and inserted again is changed in the
    // trial, which a trigger may refuse.
    let of_a_trigger = reason.contains("do not fit") && reason.contains("(trigger `");
    if of_a_trigger && (simulated.reborn > 0 || case.forbids_by_number()) {
        return Ok(());
    }
    // Where rows forbid something, it may have looked at them first.
    if case.may_forbid() && says_some("") {
        return Ok(());
    }
    let mut reasons: Vec<&str> = simulated.rewritten.iter().map(String::as_str).collect();
    if let Some((error, table)) = &simulated.error {
        // A partition by the name of the whole. Losses are refused before anything is tried.
        let right = of_a_trigger
            || reason.contains(error)
            || table.as_ref().is_none_or(|table| says_some(table))
            || (!allowed_losses && says_some(""));
        return ensure(right, kind, || format!("{error}, but: {reason}"));
    }
    if !allowed_losses {
        reasons.extend(simulated.losses.keys().map(String::as_str));
        reasons.extend((simulated.reborn > 0 || simulated.touched > 0).then_some("public.\"Book\""));
        let counted = !simulated.rewritten.is_empty() || reason.contains(|c: char| c.is_ascii_digit());
        ensure(counted, kind, || format!("no number: {reason}"))?;
    }
    let right = reasons.is_empty() || reasons.iter().any(|table| says(table) || says_some(table));
    ensure(right, kind, || format!("{reasons:?} would lose rows, but: {reason}"))
}

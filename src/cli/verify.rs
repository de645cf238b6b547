//! `verify`: compares both databases, writes nothing.

use std::time::Duration;

use super::args::shared::OwnerArgs;
use super::end::{Details, Ended, Outcome, VerifyEnd};
use super::session::Session;
use crate::book::{OwnerMap, TargetUserId};
use crate::error::{Error, Kind, Result};
use crate::postgres::{Fault, Fingerprint, Limit};
use crate::preflight::guard::owner::{self, Found, OwnerChoice};
use crate::preflight::guard::rights::Needs;
use crate::preflight::{self, Preflight, Sides};
use crate::progress::{Event, Phase, Progress};
use crate::sync::verify::{Difference, Pair};

/// A million books take tens of seconds on a healthy server.
const COMPARING: Limit = Limit::Heartbeat(Duration::from_secs(30));

pub(super) async fn run(session: &Session, args: &OwnerArgs) -> Result<Ended> {
    let sides = session.sides(args, None)?;
    session.introduce(sides.source.server().endpoint());
    session.introduce(sides.target.server().endpoint());
    let wanted = args.wanted();
    let comparing = Box::pin(compare(session, &sides, &wanted));
    let compared = session.unless_interrupted(comparing).await;
    tokio::join!(sides.source.server().close(), sides.target.server().close());
    let (expected, found, difference) = compared?;
    let changes = difference.changes(found.rows.unsigned_abs());
    Ok(if expected == found {
        let equal = VerifyEnd { fingerprint: Some(expected.into()), changes };
        Ended::new(Outcome::Verified, Details::Verify(equal))
    } else {
        let error = difference.error().hint("run `dewey-sync sync`");
        Ended::failed(error, Details::Verify(VerifyEnd { fingerprint: None, changes }))
    })
}

/// The fingerprints of both sides, and how many books are not equal.
async fn compare(
    session: &Session,
    sides: &Sides,
    wanted: &OwnerChoice,
) -> Result<(Fingerprint, Fingerprint, Difference)> {
    preflight::connect(sides, &session.screen).await?;
    let looked = preflight::look(sides, wanted, None, Needs::Reading, &session.screen).await?;
    let owners = expected_owners(sides, &looked, wanted)?;
    session.screen.event(&Event::Phase { phase: Phase::Verifying });
    let opening = |fault: Fault| fault.error("could not begin to compare");
    let source = sides.source.open(COMPARING).await.map_err(opening)?;
    let target = sides.target.open(COMPARING).await.map_err(opening)?;
    let pair = Pair { source: &source, target: &target, columns: &looked.columns, owners: &owners };
    let (expected, found) = pair.fingerprints().await?;
    let difference = if expected == found {
        Difference::default()
    } else {
        let buckets = pair.differing_buckets().await?;
        pair.difference(&buckets).await?
    };
    source.finish().await.map_err(opening)?;
    target.rollback().await;
    Ok((expected, found, difference))
}

/// Who should own the books: as the owner map says, and the others the user that the call names, the last run's owner,
/// or the only user.
fn expected_owners(sides: &Sides, looked: &Preflight, wanted: &OwnerChoice) -> Result<OwnerMap> {
    let lines = &sides.mapping.owners;
    let map = |others| OwnerMap::new(lines.named.clone(), others);
    if let (OwnerChoice::Any, Some(last)) = (owner::wanted(wanted, lines), looked.target_books.last_owner) {
        return Ok(map(Some(TargetUserId(last))));
    }
    match preflight::owner_of(sides, wanted, &looked.source_books, &looked.target_books)? {
        Found::Owner(owner) => Ok(map(owner.map(|owner| owner.id()))),
        Found::Several => Err(Error::new(Kind::Usage, "could not tell who should own the books")
            .because("the target has several users, and no sync is on record")
            .hint("add `--user-id N` or `--user-email EMAIL`")),
    }
}

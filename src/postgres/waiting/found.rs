//! The question who keeps a session waiting, and its answer in words.

use std::fmt::{self, Write as _};

use serde::Deserialize;

use crate::config::Endpoint;
use crate::postgres::awaited::Awaited;
use crate::postgres::limit::OUTSIDE;
use crate::postgres::message::name_of_stranger;
use crate::printable::value;
use crate::quote::{identifier, literal};

/// A session is waited for that waits for another one, and so on.
const DEPTH: u32 = 4;

/// Sessions and prepared transactions that are named.
const NAMED_MAX: usize = 5;

/// PostgreSQL's modes of locks on tables from the weakest on, and for each of them a bit for every one that conflicts with it.
const MODES: &str = "ARRAY['AccessShareLock', 'RowShareLock', 'RowExclusiveLock', 'ShareUpdateExclusiveLock', \
    'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock']";
const CONFLICTS: &str = "ARRAY[256, 384, 480, 496, 472, 504, 508, 510]";

/// A query whose answer is [`Found`] as JSON. A prepared transaction has no process: it is found by the lock that it has,
/// and named by the lock that it has on its own number.
pub(super) fn question(name: &str) -> String {
    let utc = |time: &str| format!("to_char({time} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS \"UTC\"')");
    format!(
        "{OUTSIDE};
WITH RECURSIVE waiter AS MATERIALIZED (SELECT pid, wait_event_type, wait_event FROM pg_stat_activity
  WHERE application_name = {name} AND datname = current_database() AND usename = session_user LIMIT 1),
edge (waiter, holder, depth) AS (
  SELECT pid, unnest(pg_blocking_pids(pid)), 1 FROM waiter WHERE wait_event_type = 'Lock'
  UNION
  SELECT holder, unnest(pg_blocking_pids(holder)), depth + 1 FROM edge WHERE holder > 0 AND depth < {DEPTH}),
locks AS MATERIALIZED (SELECT * FROM pg_locks WHERE EXISTS (SELECT FROM edge))
SELECT json_build_object(
  'pid', (SELECT pid FROM waiter),
  'standbys', (SELECT current_setting('synchronous_standby_names') FROM waiter WHERE wait_event = 'SyncRep'),
  'lock', (SELECT json_build_array(locktype, quote_ident(nspname) || '.' || quote_ident(relname)) FROM waiter JOIN locks USING (pid)
     LEFT JOIN pg_class c ON c.oid = relation LEFT JOIN pg_namespace n ON n.oid = relnamespace
     WHERE NOT granted LIMIT 1),
  'sessions', coalesce((SELECT json_agg(json_build_object('waiter', waiter, 'pid', a.pid, 'application', application_name,
       'kind', backend_type, 'is_shown', backend_start IS NOT NULL, 'is_idle', state LIKE 'idle%',
       'transaction_since', {transaction}, 'query_since', {query}, 'state_since', {state},
       'awaits_standby', wait_event IS NOT DISTINCT FROM 'SyncRep') ORDER BY depth, a.pid)
     FROM (SELECT waiter, holder, min(depth) AS depth FROM edge GROUP BY 1, 2) e JOIN pg_stat_activity a ON a.pid = holder), '[]'),
  'prepared', coalesce((SELECT json_agg(DISTINCT jsonb_build_object('waiter', waiter, 'gid', gid, 'owner', owner, 'since', {prepared}))
     FROM edge JOIN locks w ON w.pid = waiter AND NOT w.granted
     JOIN locks h ON h.pid IS NULL AND h.granted
       AND (h.locktype, h.database, h.relation, h.page, h.tuple, h.transactionid, h.classid, h.objid, h.objsubid)
         IS NOT DISTINCT FROM (w.locktype, w.database, w.relation, w.page, w.tuple, w.transactionid, w.classid, w.objid, w.objsubid)
       AND ({CONFLICTS})[array_position({MODES}, w.mode)] & (1 << array_position({MODES}, h.mode)) <> 0
     JOIN locks own ON own.pid IS NULL AND own.locktype = 'transactionid' AND own.virtualtransaction = h.virtualtransaction
     JOIN pg_prepared_xacts x ON x.transaction = own.transactionid
     WHERE holder = 0), '[]'))::text;
COMMIT",
        name = literal(name),
        transaction = utc("xact_start"),
        query = utc("query_start"),
        state = utc("state_change"),
        prepared = utc("prepared"),
    )
}

/// What the server says of a session and of those before it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Found {
    /// Its process, if it is there.
    pid: Option<i32>,
    /// The setting, where the session waits for one of them.
    standbys: Option<String>,
    /// The kind of the lock that it waits for, and its table if that is one.
    lock: Option<(String, Option<String>)>,
    sessions: Vec<Session>,
    prepared: Vec<Prepared>,
}

/// Has what `waiter` waits for, or comes before it.
#[derive(Debug, Deserialize)]
struct Session {
    waiter: i32,
    pid: i32,
    application: Option<String>,
    kind: Option<String>,
    /// Whether our role may see more than that.
    is_shown: bool,
    is_idle: Option<bool>,
    transaction_since: Option<String>,
    query_since: Option<String>,
    state_since: Option<String>,
    awaits_standby: bool,
}

/// Has what `waiter` waits for, and no session.
#[derive(Debug, Deserialize)]
struct Prepared {
    waiter: i32,
    gid: String,
    owner: Option<String>,
    since: String,
}

impl Found {
    pub(super) fn awaited(&self, endpoint: &Endpoint) -> Option<Awaited> {
        if let Some(names) = &self.standbys {
            let names = name_of_stranger(names);
            let text = format!(
                "a synchronous standby: none answers of `synchronous_standby_names`, which is {names}"
            );
            return Some(Awaited { text, whom: "standby".into() });
        }
        let mut named = Vec::new();
        let holders = self.holders(self.pid?, &mut named);
        if holders.is_empty() {
            return None;
        }
        let mut text = format!("{}, blocked by {holders}", self.what());
        if self.sessions.iter().any(|session| !session.is_shown) {
            let role = value(&identifier(&endpoint.user));
            let _ = write!(text, "; `GRANT pg_read_all_stats TO {role}` shows since when");
        }
        Some(Awaited { text, whom: named.join(", ") })
    }

    fn what(&self) -> String {
        match &self.lock {
            Some((_, Some(table))) => format!("a lock on {}", name_of_stranger(table)),
            Some((kind, None)) if kind == "transactionid" => {
                "a row that another transaction has written".into()
            }
            Some((kind, None)) if kind == "advisory" => "an advisory lock".into(),
            _ => "a lock".into(),
        }
    }

    /// Who keeps `waiter` waiting, each with who keeps it waiting; nobody is `named` twice.
    fn holders(&self, waiter: i32, named: &mut Vec<String>) -> String {
        let mut holders = Vec::new();
        for Prepared { gid, owner, since, .. } in self.prepared.iter().filter(|held| held.waiter == waiter) {
            let of = owner
                .as_ref()
                .map(|owner| format!(" of user {}", name_of_stranger(owner)))
                .unwrap_or_default();
            let holder = format!("prepared transaction {}{of}, since {since}", name_of_stranger(gid));
            Self::add(&mut holders, named, gid.clone(), holder);
        }
        for session in self.sessions.iter().filter(|session| session.waiter == waiter) {
            if Self::add(&mut holders, named, session.pid.to_string(), session.to_string()) {
                let others = self.holders(session.pid, named);
                if let Some(holder) = holders.last_mut().filter(|_| !others.is_empty()) {
                    let _ = write!(holder, ", which waits for {others}");
                }
            }
        }
        holders.join("; ")
    }

    /// Whether `holder`, who is called `name`, is to be named.
    fn add(holders: &mut Vec<String>, named: &mut Vec<String>, name: String, holder: String) -> bool {
        let is_new = named.len() < NAMED_MAX && !named.contains(&name);
        if is_new {
            named.push(name);
            holders.push(holder);
        }
        is_new
    }
}

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid {}", self.pid)?;
        if let Some(kind) = self.kind.as_deref().filter(|kind| *kind != "client backend") {
            write!(f, ", {}", name_of_stranger(kind))?;
        }
        if let Some(application) = self.application.as_deref().filter(|name| !name.is_empty()) {
            write!(f, ", application {}", name_of_stranger(application))?;
        }
        if let Some(since) = &self.transaction_since {
            write!(f, ", transaction since {since}")?;
        }
        match (self.is_idle, &self.state_since, &self.query_since) {
            (Some(true), Some(since), _) => write!(f, ", idle since {since}")?,
            (Some(false), _, Some(since)) => write!(f, ", query since {since}")?,
            _ => {}
        }
        if self.awaits_standby {
            f.write_str(", which waits for a synchronous standby")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config;
    use crate::config::Environment;
    use crate::config::Locations;

    fn session(waiter: i32, pid: i32, application: &str) -> serde_json::Value {
        json!({
            "waiter": waiter, "pid": pid, "application": application, "kind": "client backend", "is_shown": true,
            "is_idle": true, "transaction_since": "10:00", "query_since": "10:01", "state_since": "10:02",
            "awaits_standby": false,
        })
    }

    fn hidden(waiter: i32, pid: i32) -> serde_json::Value {
        json!({
            "waiter": waiter, "pid": pid, "application": "psql", "kind": null, "is_shown": false, "is_idle": null,
            "transaction_since": null, "query_since": null, "state_since": null, "awaits_standby": false,
        })
    }

    fn prepared(waiter: i32, gid: &str) -> serde_json::Value {
        json!({ "waiter": waiter, "gid": gid, "owner": "ada", "since": "09:00" })
    }

    fn check(
        lock: &serde_json::Value,
        sessions: &[serde_json::Value],
        prepared: &[serde_json::Value],
    ) -> Option<(String, String)> {
        let found =
            json!({ "pid": 1, "standbys": null, "lock": lock, "sessions": sessions, "prepared": prepared });
        awaited(found)
    }

    fn awaited(found: serde_json::Value) -> Option<(String, String)> {
        let url = "postgres://ada:p@127.0.0.1/db";
        let environment: Environment = [("DEWEY_TARGET_DATABASE_URL", url)].into_iter().collect();
        let endpoint = config::target(&Locations::default(), &environment).unwrap();
        let found: Found = serde_json::from_value(found).unwrap();
        found.awaited(&endpoint).map(|Awaited { text, whom }| (text, whom))
    }

    #[test]
    fn each_is_named_by_what_may_be_seen_of_it() {
        let table = json!(["relation", "public.\"Book\""]);
        let (text, whom) = check(&table, &[session(1, 7, "psql")], &[]).unwrap();
        insta::assert_snapshot!(text, @r#"a lock on `public."Book"`, blocked by pid 7, application `psql`, transaction since 10:00, idle since 10:02"#);
        assert_eq!(whom, "7");
        let (text, _) = check(&table, &[hidden(1, 7)], &[]).unwrap();
        insta::assert_snapshot!(text, @r#"a lock on `public."Book"`, blocked by pid 7, application `psql`; `GRANT pg_read_all_stats TO "ada"` shows since when"#);
        let (text, whom) = check(&json!(["transactionid", null]), &[], &[prepared(1, "forgotten")]).unwrap();
        insta::assert_snapshot!(text, @"a row that another transaction has written, blocked by prepared transaction `forgotten` of user `ada`, since 09:00");
        assert_eq!(whom, "forgotten");
    }

    #[test]
    fn who_waits_for_somebody_else_is_named_with_them() {
        let sessions = [session(1, 7, "psql"), session(7, 8, "app"), session(8, 7, "psql")];
        let (text, whom) = check(&json!(null), &sessions, &[prepared(8, "gid")]).unwrap();
        let idle = "transaction since 10:00, idle since 10:02";
        let expected = format!(
            "a lock, blocked by pid 7, application `psql`, {idle}, which waits for pid 8, application `app`, {idle}, \
             which waits for prepared transaction `gid` of user `ada`, since 09:00"
        );
        assert_eq!((text, whom.as_str()), (expected, "7, 8, gid"));
        let many: Vec<_> = (2..20).map(|pid| session(1, pid, "")).collect();
        assert_eq!(check(&json!(["advisory", null]), &many, &[]).unwrap().1, "2, 3, 4, 5, 6");
    }

    #[test]
    fn who_waits_for_nobody_says_nothing() {
        assert_eq!(check(&json!(["relation", "x"]), &[], &[]), None);
        let gone = json!({ "pid": null, "standbys": null, "lock": null, "sessions": [], "prepared": [] });
        assert_eq!(awaited(gone), None);
        let standby =
            json!({ "pid": 1, "standbys": "\u{1b}east", "lock": null, "sessions": [], "prepared": [] });
        insta::assert_snapshot!(awaited(standby).unwrap().0, @r"a synchronous standby: none answers of `synchronous_standby_names`, which is `\u{1b}east`");
    }
}

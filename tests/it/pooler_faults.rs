//! The way between a pooler and its server breaks: the pooler has one SQLSTATE for that and for all that it refuses.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::retries::{BATCHES, check_verified, rehearsed, retries, sandbox_with_ledger, writing};
use crate::support::inspect::{BOOKS, dump};
use crate::support::pooler::Pooler;
use crate::support::proxy::Proxy;
use crate::support::sandbox::{Run, Sandbox, WAYS};
use crate::support::servers::{SERVERS, execute};

const BOOKS_COPIED: u32 = 120;

/// Which side is behind the pooler.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Behind {
    Source,
    Target,
}

/// One side behind a pooler, and that one before a proxy.
struct World {
    sandbox: Sandbox,
    proxy: Proxy,
    _pooler: Pooler,
}

impl World {
    async fn new(behind: Behind) -> Self {
        let sandbox = sandbox_with_ledger(BOOKS_COPIED).await;
        let (source, target) = (sandbox.source_url(), sandbox.target_url());
        let server = if behind == Behind::Source { &SERVERS.source } else { &SERVERS.target };
        let proxy = Proxy::start(server.port()).await;
        let pooler = Pooler::before(server, proxy.port(), "transaction", "server_login_retry = 1");
        match behind {
            Behind::Source => sandbox.set_urls(&pooler.through(&source), &target),
            Behind::Target => sandbox.set_urls(&source, &pooler.through(&target)),
        }
        Self { sandbox, proxy, _pooler: pooler }
    }

    async fn sync(&self, strategy: &str, engine: &str) -> Run {
        let run = rehearsed(&self.sandbox, strategy, &[&BATCHES[..], &["--engine", engine]].concat()).await;
        check_verified(&self.sandbox, &run).await;
        run
    }

    /// Where a run reads what it copies, in messages from its start. A look at both sides is not tried again.
    async fn reading(&self, strategy: &str, engine: &str) -> (u64, u64) {
        let before = self.proxy.messages();
        let looked = self.sandbox.run(&["sync", "--dry-run"]).await;
        assert_eq!(looked.code, Some(0), "{looked:?}");
        let looking = self.proxy.messages() - before;
        self.sync(strategy, engine).await;
        let all = self.proxy.messages() - before - looking;
        assert!(all > looking, "{strategy} {engine}: {all} messages, {looking} to look");
        (looking, all)
    }
}

/// Whether the pooler's answer is what was tried again.
fn is_of_pooler(retry: &Value) -> bool {
    retry["cause"].as_str().unwrap().contains("08P01")
}

async fn check_cut(behind: Behind) {
    const PARTS: u64 = 5;
    let world = World::new(behind).await;
    let mut tried_again = 0;
    for (strategy, engine) in WAYS {
        let (from, to) = match behind {
            Behind::Source => world.reading(strategy, engine).await,
            Behind::Target => writing(&world.sandbox, &world.proxy, strategy).await,
        };
        for part in 2..PARTS {
            let cut = world.proxy.messages() + from + (to - from) * part / PARTS;
            world.proxy.cut_at(cut);
            let run = world.sync(strategy, engine).await;
            assert!(world.proxy.messages() > cut, "{strategy} {engine}, part {part} was not cut");
            tried_again += retries(&run).iter().filter(|retry| is_of_pooler(retry)).count();
        }
    }
    // What the cut meets between two transactions concerns nobody.
    assert!(tried_again >= WAYS.len(), "{behind:?}: {tried_again}");
}

#[tokio::test]
async fn a_target_that_is_lost_behind_a_pooler_is_asked_again() {
    check_cut(Behind::Target).await;
}

#[tokio::test]
async fn a_source_that_is_lost_behind_a_pooler_is_asked_again() {
    check_cut(Behind::Source).await;
}

#[tokio::test]
async fn a_commit_that_a_pooler_has_no_answer_to_is_not_repeated() {
    let world = World::new(Behind::Target).await;
    for (strategy, commits) in [("staged", &[1, 6, 7][..]), ("atomic", &[1]), ("batched", &[1, 2, 7])] {
        for commit in commits {
            execute(&world.sandbox.target_admin_url(), r#"DELETE FROM "Book""#).await;
            world.proxy.lose_answer_to_commit(world.proxy.commits() + commit);
            let run = world.sync(strategy, "insert").await;
            let [retry] = &retries(&run)[..] else { panic!("{strategy}, COMMIT {commit}: {run:?}") };
            assert_eq!(retry["class"], "ambiguous", "{strategy}, COMMIT {commit}: {run:?}");
            assert!(is_of_pooler(retry), "{retry}");
            assert_eq!(run.json_end()["counts"]["inserted"], BOOKS_COPIED, "{run:?}");
        }
    }
}

#[tokio::test]
async fn an_undo_whose_server_is_lost_behind_a_pooler_is_asked_again() {
    let world = World::new(Behind::Target).await;
    let old = dump(&world.sandbox.target_admin_url(), BOOKS);
    world.sync("staged", "insert").await;
    // In place of the answer, what `undo` ends with is done and not known of.
    world.proxy.lose_answer_to_commit(world.proxy.commits() + 1);
    let run = world.sandbox.run(&["undo", "--yes", "--output", "json", "--retry-delay", "20ms"]).await;
    assert_eq!((run.code, &run.json_end()["retries"]), (Some(0), &json!(1)), "{run:?}");
    assert!(retries(&run).iter().all(is_of_pooler), "{run:?}");
    assert!(dump(&world.sandbox.target_admin_url(), BOOKS) == old);
}

#[tokio::test]
async fn a_url_that_a_pooler_refuses_answers_at_once() {
    let sandbox = Sandbox::with_books(1).await;
    let pooler = Pooler::start(&SERVERS.target, "transaction", "");
    let target = pooler.through(&sandbox.target_url());
    for (wrong, causes) in [
        (
            target.replace(":developer@", ":wrong@"),
            &["SASL authentication failed", "password authentication failed"][..],
        ),
        (target.replace(&sandbox.database, "missing"), &["does not exist"]),
    ] {
        assert_ne!(wrong, target);
        sandbox.set_urls(&sandbox.source_url(), &wrong);
        let run = sandbox.run(&["sync", "--yes", "--output", "json", "--connect-timeout", "1m"]).await;
        assert_eq!((run.code, retries(&run).len()), (Some(2), 0), "{run:?}");
        assert!(causes.iter().any(|cause| run.stdout.contains(cause)), "{run:?}");
    }
}

/// Says to `refusals` connections that it starts up, and is the server from then on; its port.
async fn starting_up(server_port: u16, refusals: u32) -> u16 {
    const ANSWER: &[u8] = b"E\0\0\0\x3eSFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0";
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut client, _) = listener.accept().await.unwrap();
            if number < refusals {
                let mut startup = [0; 1024];
                assert!(client.read(&mut startup).await.unwrap() > 0);
                client.write_all(ANSWER).await.unwrap();
                continue;
            }
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", server_port)).await.unwrap();
                // How a connection ends concerns its two ends only.
                copy_bidirectional(&mut client, &mut server).await.ok();
            });
        }
    });
    port
}

#[tokio::test]
async fn a_server_that_starts_up_behind_a_pooler_is_waited_for() {
    let sandbox = Sandbox::with_books(40).await;
    let port = starting_up(SERVERS.target.port(), 2).await;
    let pooler = Pooler::before(&SERVERS.target, port, "transaction", "server_login_retry = 1");
    sandbox.set_urls(&sandbox.source_url(), &pooler.through(&sandbox.target_url()));
    let run = sandbox.run(&["sync", "--yes", "--connect-timeout", "30s"]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(dump(&sandbox.target_url(), BOOKS) == dump(&sandbox.source_url(), BOOKS));

    let port = starting_up(SERVERS.target.port(), u32::MAX).await;
    let pooler = Pooler::before(&SERVERS.target, port, "transaction", "server_login_retry = 1");
    sandbox.set_urls(&sandbox.source_url(), &pooler.through(&sandbox.target_url()));
    let run = sandbox.run(&["sync", "--yes", "--connect-timeout", "2s"]).await;
    assert_eq!(run.code, Some(6), "{run:?}");
}

//! `demo`: a walk through a sync on two temporary servers.

use std::path::{Path, PathBuf};

use clap::Parser;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};

use super::args::{Cli, Command, DemoArgs, Global};
use super::end::{Details, Ended, KeptServer, Outcome};
use super::output::print_all;
use super::session::Session;
use super::{sync, undo, verify};
use crate::book::TABLE;
use crate::config::{self, Locations, Side};
use crate::demo::server::{Server, ServerOptions};
use crate::demo::{binaries, books};
use crate::error::{Error, Kind, Result};
use crate::postgres::literal;

const DATABASE: &str = "penumbra";

/// Production's role, which may SELECT from the book table and nothing else.
const READER: &str = "reader";

/// Production and development, gone when dropped.
struct Servers {
    source: Server,
    target: Server,
}

pub(super) async fn run(session: &Session, args: &DemoArgs) -> Result<Ended> {
    let binaries = binaries::find(session.environment.get("PG_BIN").map(PathBuf::from))?;
    tell(session, ["Two temporary PostgreSQL servers are started."]);
    let servers = session.unless_interrupted(start(binaries)).await?;
    let books = args.books;
    tell(
        session,
        [
            format!("Production gets {books} books, development gets the application's tables and a user.")
                .as_str(),
            "",
        ],
    );
    session.unless_interrupted(Box::pin(fill(&servers, args.books))).await?;
    let directory = tempfile::tempdir().map_err(|error| failed(error, "could not make a directory"))?;
    write_env_files(directory.path(), &servers)?;
    let played = Box::pin(play_all(session, directory.path(), &servers)).await;
    played?;
    let servers = if args.keep { keep(session, servers, &directory.keep())? } else { Vec::new() };
    if !args.keep {
        tell(
            session,
            [
                "",
                "Both servers have been stopped. For your own databases, run `just sync` in the application's folder.",
            ],
        );
    }
    Ok(Ended::new(Outcome::Demonstrated, Details::Demo { servers }))
}

/// The story, for a person.
fn tell<'a>(session: &Session, lines: impl IntoIterator<Item = &'a str>) {
    if !session.screen.is_json() {
        print_all(lines);
    }
}

async fn start(binaries: PathBuf) -> Result<Servers> {
    let options = ServerOptions::new(binaries);
    let start = |options: ServerOptions| tokio::task::spawn_blocking(move || Server::start(&options));
    let (source, target) = tokio::join!(start(options.clone()), start(options));
    let joined = |error| failed(error, "could not start a server");
    Ok(Servers { source: source.map_err(joined)??, target: target.map_err(joined)?? })
}

async fn fill(servers: &Servers, count: u32) -> Result<()> {
    let mut source =
        database(&servers.source).await.map_err(|error| failed(error, "could not make production"))?;
    books::fill(&mut source, count).await?;
    let role = format!(
        "CREATE ROLE {READER} LOGIN PASSWORD {}; GRANT SELECT ON {TABLE} TO {READER}",
        literal(servers.source.password())
    );
    let granted = source.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(role))).await;
    granted.map_err(|error| failed(error, "could not make a role that may only read books"))?;
    let mut target =
        database(&servers.target).await.map_err(|error| failed(error, "could not make development"))?;
    books::add_developer(&mut target, "ada@example.org").await?;
    Ok(())
}

/// A database with the application's tables.
async fn database(server: &Server) -> Result<PgConnection, sqlx::Error> {
    let mut any = connect(server, "postgres").await?;
    any.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {DATABASE}")))).await?;
    any.close().await?;
    let mut database = connect(server, DATABASE).await?;
    database.execute(sqlx::raw_sql(books::SCHEMA)).await?;
    Ok(database)
}

/// With nothing of the caller's environment in between, which the driver would read.
async fn connect(server: &Server, database: &str) -> Result<PgConnection, sqlx::Error> {
    let variables = [("DEWEY_TARGET_DATABASE_URL", server.url(database))];
    let endpoint = config::target(&Locations::default(), &variables.into_iter().collect());
    let endpoint = endpoint.map_err(|error| sqlx::Error::Configuration(error.into()))?;
    endpoint.connect_options("dewey-sync demo").connect().await
}

fn write_env_files(directory: &Path, servers: &Servers) -> Result<()> {
    let Servers { source, target } = servers;
    let reader = source.url(DATABASE).replace("//postgres:", &format!("//{READER}:"));
    for (name, url) in [(".env.production", reader), (".env", target.url(DATABASE))] {
        let line = format!("DEWEY_DB_DATABASE_URL={url}\n");
        std::fs::write(directory.join(name), line)
            .map_err(|error| failed(error, "could not write an env file"))?;
    }
    Ok(())
}

/// Each command with a line of explanation, run as a user would run it from the application's folder.
async fn play_all(session: &Session, directory: &Path, servers: &Servers) -> Result<()> {
    let play = async |explanation: &str, call: &str| {
        let call_line = format!("$ dewey-sync {call}");
        tell(session, [""].into_iter().chain(explanation.lines()).chain([call_line.as_str()]));
        Box::pin(play(session, directory, call)).await
    };
    play("A dry run checks both sides, counts, and writes nothing anywhere.", "sync --dry-run").await?;
    play(
        "The sync stages production's books beside development's, verifies every row of them, and then makes\n\
         development equal in one short transaction.",
        "sync --yes",
    )
    .await?;
    play("Verifying alone reads both sides and compares every row.", "verify").await?;

    let mut target = reconnect(&servers.target).await?;
    books::add_reading_list(&mut target, 1, 50).await?;
    books::go_on(&mut reconnect(&servers.source).await?).await?;
    tell(
        session,
        [
            "",
            "Meanwhile development's user put 50 books on a reading list, and production went on: of those 50, three",
            "have another title, two swapped their ISBN-10s, one was deleted.",
        ],
    );
    play(
        "Books on both sides keep their ids, so the reading list stays. Deleting the entry of the book that production\nno longer has must be agreed to.",
        "sync --yes --allow-cascade",
    )
    .await?;
    say_listed(session, &mut target).await?;
    play("A second sync finds nothing to do.", "sync --yes").await?;
    play("Undo restores what the last sync replaced.", "undo --yes").await?;
    say_listed(session, &mut target).await
}

async fn say_listed(session: &Session, target: &mut PgConnection) -> Result<()> {
    let listed = books::on_reading_lists(target).await?;
    tell(session, ["", format!("The reading list has {listed} books.").as_str()]);
    Ok(())
}

/// Runs one command of the story.
async fn play(session: &Session, directory: &Path, call: &str) -> Result<()> {
    let words = std::iter::once("dewey-sync").chain(call.split(' '));
    let wrong = |_| Error::new(Kind::Internal, "the demonstration's own call is wrong");
    let command = Cli::try_parse_from(words).map_err(wrong)?.command;
    let story = story(session, directory, command.name());
    let done = match command {
        Command::Sync(args) => sync::run(&story, &args).await,
        Command::Verify(args) => verify::run(&story, &args).await,
        Command::Undo(args) => undo::run(&story, &args).await,
        _ => Err(Error::new(Kind::Internal, "the demonstration plays no such command")),
    };
    story.end(done)
}

async fn reconnect(server: &Server) -> Result<PgConnection> {
    connect(server, DATABASE).await.map_err(|error| failed(error, "could not go on with the story"))
}

/// The same session, in the demonstration's directory and without the caller's environment.
fn story(session: &Session, directory: &Path, command: &'static str) -> Session {
    let global = Global {
        dir: directory.to_owned(),
        source_env: None,
        target_env: None,
        config: None,
        ..session.global
    };
    Session::new(global, crate::config::Environment::default(), session.interruption.clone(), command)
}

fn keep(session: &Session, servers: Servers, directory: &Path) -> Result<Vec<KeptServer>> {
    let Servers { source, target } = servers;
    tell(session, ["", "Both servers go on:"]);
    let mut kept = Vec::new();
    for (side, name, server) in [(Side::Source, "production ", source), (Side::Target, "development", target)]
    {
        let url = server.url(DATABASE);
        let pid = server.keep()?.pid;
        tell(session, [format!("{name}  {url}  (end it with `kill -INT {pid}`)").as_str()]);
        kept.push(KeptServer { side, url, pid });
    }
    let directory = directory.display();
    tell(
        session,
        [format!("Their env files are in {directory}: try `dewey-sync --dir {directory} sync`.").as_str()],
    );
    Ok(kept)
}

fn failed(cause: impl std::error::Error + Send + Sync + 'static, doing: &str) -> Error {
    Error::new(Kind::Internal, doing).because(cause)
}

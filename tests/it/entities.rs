//! The recipe of `entity/src`, and proof that a book of any value passes through it.
//!
//! Run with `DEWEY_UPDATE_ENTITIES=1` it writes the entities instead of comparing them.

use std::fs;
use std::path::Path;
use std::process::Command;

use clap::Parser;
use dewey_sync::book::comparable_type;
use dewey_sync_entity::{book, user};
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, Database, DatabaseConnection, EntityTrait, Iterable, QueryOrder,
    TransactionTrait,
};
use sea_orm_cli::{Cli, Commands, GenerateSubcommands};

use crate::support::servers::SERVERS;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

const GENERATED: [&str; 10] = [
    "book.rs",
    "user.rs",
    "ledger/mod.rs",
    "ledger/checkpoint.rs",
    "ledger/generation.rs",
    "ledger/identity.rs",
    "ledger/replaced.rs",
    "ledger/run.rs",
    "ledger/stage.rs",
    "ledger/stage_checkpoint.rs",
];

/// Of the schema `dewey_sync`.
const LEDGER: &str = "run,checkpoint,identity,stage,stage_checkpoint,generation,replaced";

/// The type that the generator gives to a column, the one that carries all its values as text, and the SQL type to
/// which the server casts that text.
const AS_TEXT: [(&str, &str, &str); 4] = [
    ("Option<Vec<String>>", "Option<String>", r#""text[]""#),
    ("DateTime", "String", r#""timestamp(3)""#),
    ("Option<DateTime>", "Option<String>", r#""timestamp(3)""#),
    ("BookVisibility", "String", r#""\"BookVisibility\"""#),
];

#[tokio::test]
async fn entities_are_what_the_generator_makes() {
    let url = SERVERS.create_empty_target().await;
    migrated(&url).await;
    let dir = tempfile::tempdir().unwrap();
    generate(&url, None, "Book,User", dir.path()).await;
    generate(&url, Some("dewey_sync"), LEDGER, &dir.path().join("ledger")).await;
    for name in ["book.rs", "user.rs", "ledger/stage.rs"] {
        let path = dir.path().join(name);
        fs::write(&path, adapted(&fs::read_to_string(&path).unwrap())).unwrap();
    }
    format(dir.path());

    let update = update_is_wanted();
    for name in GENERATED {
        let generated = fs::read_to_string(dir.path().join(name)).unwrap();
        let kept = Path::new(ROOT).join("entity/src").join(name);
        if update {
            fs::write(kept, generated).unwrap();
        } else {
            let kept = fs::read_to_string(kept).unwrap();
            assert!(kept == generated, "entity/src/{name} is not what `just entities` makes:\n{generated}");
        }
    }
}

#[tokio::test]
async fn a_book_of_any_value_round_trips() {
    let db = migrated(&SERVERS.create_empty_target().await).await;
    db.execute_unprepared(r#"alter type "BookVisibility" add value 'LENT'"#).await.unwrap();
    let owner = user::ActiveModel { id: NotSet, ..ada().into() };
    let owner_id = user::Entity::insert(owner).exec_with_returning(&db).await.unwrap().id;
    let mut books = [
        (Some(r#"{NULL,"a b"}"#), Some("infinity"), "PRIVATE"),
        (Some("{}"), Some("-infinity"), "PUBLIC"),
        (None, None, "FRIENDS"),
        (Some("[0:1]={NULL,x}"), Some("294276-12-31 23:59:59.999"), "UNLISTED"),
        (Some("{{a,NULL},{b,c}}"), Some("0044-03-15 00:00:00 BC"), "LENT"),
    ]
    .map(|(subjects, read_date, visibility)| book::Model {
        owner_id,
        subjects: subjects.map(str::to_owned),
        authors: subjects.map(str::to_owned),
        visibility: visibility.to_owned(),
        read_date: read_date.map(str::to_owned),
        ..plain_book()
    });
    for (id, book) in (1..).zip(&mut books) {
        book.id = id;
        book.isbn10 = format!("{id:010}");
        book.isbn13 = format!("{id:013}");
    }
    let inserts = books.clone().map(|book| book::ActiveModel { id: NotSet, ..book.into() });

    book::Entity::insert_many(inserts).exec_without_returning(&db).await.unwrap();

    assert_eq!(book::Entity::find().order_by_asc(book::Column::Id).all(&db).await.unwrap(), books);
    assert_eq!(user::Entity::find().all(&db).await.unwrap(), [user::Model { id: owner_id, ..ada() }]);
}

/// Fields as the generator writes them, columns that need it as text.
fn adapted(generated: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in generated.lines().filter(|line| !line.starts_with("use super::sea_orm_active_enums")) {
        let field = line.strip_prefix("    pub ").and_then(|field| field.strip_suffix(',')?.split_once(": "));
        let rule = field.and_then(|(name, is)| Some((name, AS_TEXT.iter().find(|(from, ..)| *from == is)?)));
        let Some((name, (_, carrier, sql_type))) = rule else {
            lines.push(line.to_owned());
            continue;
        };
        let casts = format!(r#"select_as = "text", save_as = {sql_type})]"#);
        match lines.last_mut().filter(|above| above.starts_with("    #[")) {
            Some(attribute) => {
                let open = attribute.strip_suffix(")]").unwrap();
                *attribute = format!("{open}, {casts}");
            }
            None => lines.push(format!("    #[sea_orm({casts}")),
        }
        lines.push(format!("    pub {name}: {carrier},"));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// `schema` is written into the entities; without it they are found by the `search_path`.
async fn generate(url: &str, schema: Option<&str>, tables: &str, dir: &Path) {
    // The generator would install a subscriber that prints past the test's capture.
    let _ = tracing::subscriber::set_global_default(tracing::subscriber::NoSubscriber::default());
    let arguments = ["sea-orm-cli", "generate", "entity", "--database-url", url, "--tables", tables];
    let format = ["--entity-format", "compact", "--with-prelude", "none", "--banner-version", "off"];
    let output = ["--output-dir", dir.to_str().unwrap()];
    let Commands::Generate { mut command } =
        Cli::try_parse_from(arguments.into_iter().chain(format).chain(output)).unwrap().command
    else {
        unreachable!("`generate` was asked for")
    };
    // The argument would fall back to a variable of the developer's environment.
    let GenerateSubcommands::Entity { database_schema, .. } = &mut command;
    *database_schema = schema.map(str::to_owned);
    sea_orm_cli::run_generate_command(command, false).await.unwrap();
}

fn format(dir: &Path) {
    let files = GENERATED.map(|name| dir.join(name));
    let config = Path::new(ROOT).join(".rustfmt.toml");
    let status = Command::new("rustfmt").arg("--config-path").arg(config).args(files).status().unwrap();
    assert!(status.success());
}

async fn migrated(url: &str) -> DatabaseConnection {
    let db = Database::connect(url).await.unwrap();
    let tx = db.begin().await.unwrap();
    dewey_sync_migration::up(&tx, "public").await.unwrap();
    tx.commit().await.unwrap();
    db
}

fn ada() -> user::Model {
    user::Model {
        id: 1,
        clerk_id: "clerk-ada".to_owned(),
        email: "ada@example.org".to_owned(),
        name: None,
        created_at: "infinity".to_owned(),
        profile_image_url: None,
        updated_at: "2024-02-29 12:34:56.789".to_owned(),
        github_url: None,
        instagram_url: None,
        letterboxd_url: None,
        linkedin_url: None,
        spotify_url: None,
    }
}

fn plain_book() -> book::Model {
    let mut book = <book::ActiveModel as ActiveModelTrait>::default();
    for column in book::Column::iter() {
        let value = match comparable_type(column) {
            "integer" => 1.into(),
            "text[]" => "{}".into(),
            "timestamp" => "2024-02-29 12:34:56.789".into(),
            _ => "text".into(),
        };
        book.set(column, value);
    }
    book.edition = Set(None);
    book.updated_at = Set("infinity".to_owned());
    book.try_into().unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a switch of this test, not of the tool")]
fn update_is_wanted() -> bool {
    std::env::var_os("DEWEY_UPDATE_ENTITIES").is_some()
}

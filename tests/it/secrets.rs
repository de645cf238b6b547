//! Whatever a secret looks like, wherever in a URL it stands and however a run ends: it is in no output and not in the
//! ledger. Nor is a value of a book, whatever a server says of it. What needs no server has its own property test in
//! `src/config/secrets.rs`.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::inspect::{dump, psql};
use crate::support::sandbox::{Run, Sandbox};
use crate::support::say;
use crate::support::servers::{SERVERS, execute};

const ROUNDS: usize = 3;

/// Shorter pieces are in ordinary words.
const PIECE_CHARS: usize = 6;

fn secret(random: &mut StdRng) -> String {
    let letters: Vec<char> = r#"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@:/?#%&=+$'"\ äß日"#.chars().collect();
    (0..random.random_range(10..24)).map(|_| letters[random.random_range(0..letters.len())]).collect()
}

fn percent_encoded(secret: &str) -> String {
    secret.bytes().fold(String::new(), |mut text, byte| {
        write!(text, "%{byte:02X}").unwrap();
        text
    })
}

/// How a run ends with a URL of each shape: `SECRET` stands for the secret, `AT` for `host:port/database` of the side,
/// `ROLE` for a role whose password the secret is.
const SOURCES: [(&str, &[i32]); 16] = [
    ("postgres://ROLE:SECRET@AT", &[0, 2]),
    ("postgres://ROLE:SECRET@AT?application_name=SECRET&x=SECRET", &[0, 2]),
    ("postgres://ROLE:SECRET@AT?options=SECRET", &[2]),
    ("postgres://ROLE:SECRET@AT?schema=none", &[2]),
    ("postgres://reader:SECRET@AT", &[2]),
    ("postgres://ROLE:SECRET@ATnot", &[2]),
    ("postgres://ROLE:SECRET@no-such-host.invalid/db", &[2, 6]),
    ("postgres://ROLE:SECRET@127.0.0.1:1/db", &[2, 6]),
    ("postgres://ROLE:SECRET@AT?sslmode=require", &[2]),
    ("postgres://ROLE@AT?password=SECRET", &[2]),
    ("postgres://ROLE:p@AT?sslmode=SECRET", &[2]),
    ("prisma://accelerate.prisma-data.net/?api_key=SECRET", &[2]),
    ("prisma+postgres://accelerate.prisma-data.net/?api_key=SECRET", &[2]),
    ("http://ROLE:SECRET@AT", &[2]),
    ("ROLE:SECRET@AT", &[2]),
    ("SECRET", &[2]),
];

struct Checked {
    secret: String,
    encoded: String,
    seed: u64,
}

impl Checked {
    fn not_in(&self, what: &str, shown: &str) {
        let Self { secret, encoded, seed } = self;
        for text in [secret, encoded] {
            let chars: Vec<char> = text.chars().collect();
            for piece in chars.windows(PIECE_CHARS) {
                let piece = String::from_iter(piece);
                let escaped = piece.escape_debug().to_string();
                let found = [piece, escaped].into_iter().find(|piece| shown.contains(piece.as_str()));
                assert_eq!(found, None, "seed {seed}: {what} shows a piece of {secret}: {shown}");
            }
        }
    }

    fn not_in_run(&self, what: &str, run: &Run) {
        self.not_in(what, &run.stdout);
        self.not_in(what, &run.stderr);
    }
}

/// Every row of the ledger as text, without the books that it keeps for a sync and for `undo`.
fn ledger(sandbox: &Sandbox) -> String {
    let everything = psql(
        &sandbox.target_admin_url(),
        "SELECT query_to_xml(format('SELECT * FROM %s', oid::regclass), true, false, '') FROM pg_class
         WHERE relnamespace = to_regnamespace('dewey_sync') AND relkind = 'r'
           AND relname NOT IN ('stage', 'replaced')",
    );
    String::from_utf8(everything).unwrap()
}

#[tokio::test]
async fn no_output_and_no_ledger_holds_a_piece_of_a_secret() {
    let seed = rand::random();
    say(&format!("seed {seed}"));
    let mut random = StdRng::seed_from_u64(seed);
    let sandbox = Sandbox::with_books(1).await;
    let role = format!("{}_secret", sandbox.database);
    for (url, grants) in [
        (sandbox.source_admin_url(), r#"GRANT SELECT ON "Book" TO"#),
        (sandbox.target_admin_url(), "GRANT developer TO"),
    ] {
        execute(&url, &format!("CREATE ROLE {role} LOGIN; {grants} {role}")).await;
    }
    let at = |port| format!("127.0.0.1:{port}/{}", sandbox.database);
    let (source_at, target_at) = (at(SERVERS.source.port()), at(SERVERS.target.port()));
    let mut endings = std::collections::BTreeMap::<i32, usize>::new();
    for round in 0..ROUNDS {
        let secret = secret(&mut random);
        let checked = Checked { encoded: percent_encoded(&secret), secret, seed };
        let password = checked.secret.replace('\'', "''");
        for url in [sandbox.source_admin_url(), sandbox.target_admin_url()] {
            execute(&url, &format!("ALTER ROLE {role} PASSWORD '{password}'")).await;
        }
        let target = format!("postgres://{role}:{}@{target_at}", checked.encoded);
        for (number, (shape, codes)) in SOURCES.into_iter().enumerate() {
            let raw = (round + number) % 2 == 1;
            let text = if raw { &checked.secret } else { &checked.encoded };
            let source = shape.replace("SECRET", text).replace("ROLE", &role).replace("AT", &source_at);
            sandbox.set_urls(&source, &target);
            let output = if random.random() { "human" } else { "json" };
            let strategy = ["staged", "atomic", "batched"][random.random_range(0..3)];
            execute(&sandbox.target_admin_url(), r#"DELETE FROM "Book""#).await;
            let run =
                sandbox.run(&["sync", "--yes", "-vv", "--output", output, "--strategy", strategy]).await;
            let code = run.code.unwrap();
            // A raw secret may be refused for its characters; a run that ends otherwise would look at another path.
            assert!(
                codes.contains(&code) || (raw && code == 2),
                "seed {seed}: {shape} ended with {code}: {run:?}"
            );
            *endings.entry(code).or_default() += 1;
            checked.not_in_run(shape, &run);
        }
        // The same role on the way to a statement that fails, and to a target that refuses.
        let source = format!("postgres://{role}:{}@{source_at}", checked.encoded);
        execute(
            &sandbox.target_admin_url(),
            r#"DELETE FROM "Book"; ALTER TABLE "Book" ADD CONSTRAINT no CHECK (id < 0) NOT VALID"#,
        )
        .await;
        sandbox.set_urls(&source, &target);
        for (what, arguments) in [
            ("a batch", &["sync", "--yes", "-vv", "--strategy", "batched"][..]),
            ("a transaction", &["sync", "--yes", "-vv", "--strategy", "atomic"]),
            ("an apply", &["sync", "--yes", "-vv"]),
            ("a resumed run", &["sync", "--yes", "-vv", "--resume"]),
            ("a question", &["sync", "-vv"]),
            ("a comparison", &["verify", "-vv"]),
            ("the history", &["history", "-vv"]),
            ("the users", &["users", "-vv"]),
        ] {
            let run = sandbox.run(arguments).await;
            *endings.entry(run.code.unwrap()).or_default() += 1;
            checked.not_in_run(what, &run);
        }
        execute(&sandbox.target_admin_url(), r#"ALTER TABLE "Book" DROP CONSTRAINT no"#).await;
        sandbox.set_urls(&source, &target.replace(&role, "developer"));
        let run = sandbox.run(&["sync", "--yes", "-vv"]).await;
        assert_eq!(run.code, Some(2), "seed {seed}: {run:?}");
        checked.not_in_run("a wrong password", &run);
        checked.not_in("the ledger", &ledger(&sandbox));
    }
    assert!(ledger(&sandbox).contains("verified") && endings.contains_key(&0), "{endings:?}");
    for code in [2, 5, 6, 8] {
        assert!(endings.contains_key(&code), "no run ended with {code}: {endings:?}");
    }
}

/// In every text of every book of the next test, and in no other text.
const MARK: &str = "Qx7jz";

/// What a server may say of a book that is written, as the body of a trigger.
const SAYINGS: [&str; 10] = [
    "RAISE EXCEPTION 'no %', NEW.title",
    "RAISE EXCEPTION 'no %', NEW.isbn13 USING ERRCODE = '23505', DETAIL = NEW.title, HINT = NEW.synopsis, \
     COLUMN = NEW.title, CONSTRAINT = NEW.title, TABLE = NEW.title, DATATYPE = NEW.title",
    "RAISE EXCEPTION 'no %', NEW.title USING ERRCODE = 'XX000'",
    "RAISE WARNING 'hm %', NEW.title; RAISE NOTICE 'hm %', NEW.isbn10; RAISE INFO 'hm %', NEW.synopsis; \
     PERFORM 1 / 0",
    "NEW.\"pageCount\" = NEW.title",
    "PERFORM ('{' || NEW.title)::json",
    "EXECUTE 'SELECT ' || NEW.title",
    "EXECUTE format('SELECT %I', NEW.title)",
    "EXECUTE format('SELECT 1 FROM %I', NEW.title)",
    "EXECUTE format('SELECT %I()', NEW.isbn13)",
];

/// Stops a run at every table that books are written to.
const DENYING: &str =
    "CREATE FUNCTION deny() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN SAYING; RETURN NEW; END $$;
    CREATE TRIGGER deny BEFORE INSERT OR UPDATE ON \"Book\" FOR EACH ROW EXECUTE FUNCTION deny()";

#[tokio::test]
async fn no_output_and_no_ledger_holds_a_value_of_a_book() {
    let sandbox = Sandbox::with_books(40).await;
    let marked = format!(
        r#"UPDATE "Book" SET title = '{MARK} ' || CASE WHEN id <= 6 THEN '' ELSE isbn13 END, "titleLong" = title || '{MARK}',
             synopsis = '{MARK}' || synopsis, publisher = '{MARK}', edition = '{MARK}', authors = ARRAY['{MARK}'],
             subjects = ARRAY['{MARK}', NULL], language = '{MARK}', image = '{MARK}', binding = '{MARK}',
             "datePublished" = '{MARK}', "imageOriginal" = '{MARK}'"#
    );
    execute(&sandbox.source_admin_url(), &marked).await;
    let isbns = dump(&sandbox.source_url(), r#"SELECT isbn10 FROM "Book" UNION SELECT isbn13 FROM "Book""#);
    let isbns = String::from_utf8(isbns).unwrap();
    let not_in = |what: &str, text: &str| {
        for value in isbns.lines().chain([MARK]) {
            assert!(!text.contains(value), "{what} shows {value}: {text}");
        }
    };
    let denials = SAYINGS.map(|saying| {
        let mend = r#"DROP TRIGGER deny ON "Book"; DROP FUNCTION deny"#;
        (DENYING.replace("SAYING", saying), mend)
    });
    let refusals = [
        // The details of these answers hold the row or the key.
        (
            r#"ALTER TABLE "Book" ADD CONSTRAINT no CHECK (id < 0) NOT VALID"#,
            r#"ALTER TABLE "Book" DROP CONSTRAINT no"#,
        ),
        (r#"CREATE UNIQUE INDEX one_title ON "Book" (title)"#, "DROP INDEX one_title"),
    ];
    let refusals = refusals.map(|(refuse, mend)| (refuse.to_owned(), mend));
    let mut refused = 0;
    for (number, (deny, mend)) in denials.into_iter().chain(refusals).enumerate() {
        execute(&sandbox.target_admin_url(), &format!(r#"DELETE FROM "Book"; {deny}"#)).await;
        let ways = [(true, "staged"), (false, "staged"), (false, "atomic"), (false, "batched")];
        for (place, (is_rehearsed, strategy)) in ways.into_iter().enumerate() {
            let output = ["human", "json"][(number + place) % 2];
            let arguments = ["sync", "--yes", "-vv", "--max-retries", "0", "--strategy", strategy];
            let more = ["--output", output, "--no-rehearsal"];
            let more = if is_rehearsed { &more[..2] } else { &more[..] };
            let run = sandbox.run(&[&arguments[..], more].concat()).await;
            let is_refused = run.code == Some(3) && (is_rehearsed || deny.starts_with("CREATE UNIQUE INDEX"));
            refused += u32::from(is_rehearsed && is_refused);
            assert!(is_refused || matches!(run.code, Some(4 | 5)), "{deny}, {strategy}: {run:?}");
            assert!(run.stderr.contains("SQLSTATE"), "{deny}, {strategy}: {run:?}");
            not_in(&deny, &run.stdout);
            not_in(&deny, &run.stderr);
        }
        execute(&sandbox.target_admin_url(), mend).await;
    }
    assert!(refused > 3, "the rehearsal refused {refused}");
    for arguments in [
        &["sync", "--yes", "-vv", "--resume"][..],
        &["sync", "--yes", "-vv", "--strategy", "batched"],
        &["sync", "--yes", "-vv"],
        &["verify", "-vv"],
        &["undo", "-vv", "--yes"],
        &["history", "-vv"],
        &["history", "1", "-vv"],
        &["history", "1", "-vv", "--output", "json"],
    ] {
        let run = sandbox.run(arguments).await;
        not_in(arguments[0], &run.stdout);
        not_in(arguments[0], &run.stderr);
    }
    let ledger = ledger(&sandbox);
    assert!(ledger.contains("SQLSTATE"), "{ledger}");
    not_in("the ledger", &ledger);
}

/// The driver trusts a server not to send less than a message needs, and panics where it does.
#[tokio::test]
async fn a_panic_says_where_and_not_what() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    // Whoever comes, as long as the test runs; a client may be gone before it is answered.
    std::thread::spawn(move || {
        while let Ok((mut client, _)) = listener.accept() {
            let _ = client.read(&mut [0; 1000]);
            let _ = client.write_all(b"R\0\0\0\x04");
            let _ = client.read(&mut [0; 1000]);
        }
    });
    let sandbox = Sandbox::with_books(1).await;
    let url = format!("postgres://developer:hunter2@127.0.0.1:{port}/db?sslmode=disable");
    sandbox.set_urls(&sandbox.source_url(), &url);
    let run = sandbox.run(&["sync", "--yes"]).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert_eq!(run.stdout, "");
    let said = run.stderr.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let place = said.lines().next().unwrap().strip_prefix("panicked at ").unwrap().to_owned();
    insta::assert_snapshot!(said.replace(&place, "PLACE"), @"
    panicked at PLACE
    error: stopped by a bug in dewey-sync VERSION
    caused by: panicked at PLACE

    state: unknown; what was not committed is rolled back, and `dewey-sync verify` compares both databases
    hint: report the first two lines and the command; a sync goes on with `--resume`, or starts anew without
    ");
    assert!(!place.starts_with('/'), "{place}");

    let run = sandbox.run(&["sync", "--yes", "--output", "json"]).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    let end = run.json_end();
    assert_eq!((&end["exit_code"], &end["outcome"]), (&1.into(), &"failed".into()), "{end}");
    assert_eq!(end["error"]["causes"][0], format!("panicked at {place}"));
    for said in [run.stdout, run.stderr] {
        assert!(!said.contains("advance"), "the message of the panic is in {said}");
    }
}

//! No secret is shown, whatever it looks like and wherever in a URL it stands.

use std::fmt::Write as _;
use std::fs;

use proptest::prelude::*;
use sqlx::postgres::PgConnectOptions;

use super::{Endpoint, Environment, Locations, source, target};
use crate::error::{Error, Result};

/// Shorter pieces are in ordinary words.
const PIECE_CHARS: usize = 6;

fn percent_encoded(secret: &str) -> String {
    secret.bytes().fold(String::new(), |mut text, byte| {
        write!(text, "%{byte:02X}").unwrap();
        text
    })
}

/// Everything that anybody could print.
fn shown(answer: &Result<Endpoint>) -> String {
    match answer {
        Ok(endpoint) => {
            format!("{endpoint}\n{endpoint:?}\n{}\n{:?}", endpoint.origin, endpoint.ignored_parameters())
        }
        Err(error) => {
            let Error { doing, cause, state, hint, .. } = error;
            format!("{error:?}\n{doing}\n{cause:?}\n{state:?}\n{hint:?}\n{:?}", error.causes())
        }
    }
}

fn no_piece_of(secret: &str, shown: &str) -> Result<(), TestCaseError> {
    let chars: Vec<char> = secret.chars().collect();
    for piece in chars.windows(PIECE_CHARS) {
        let piece = String::from_iter(piece);
        prop_assert!(!shown.contains(&piece), "{piece} of {secret} in {shown}");
        // `Debug` writes quotes and backslashes another way.
        let escaped = piece.escape_debug().to_string();
        prop_assert!(!shown.contains(&escaped), "{escaped} of {secret} in {shown}");
    }
    Ok(())
}

/// Both sides' answers to `url` in the environment and in files with the usual quotes.
fn answers(url: &str) -> Vec<Result<Endpoint>> {
    let keys = ["DEWEY_SOURCE_DATABASE_URL", "DEWEY_TARGET_DATABASE_URL"].map(|key| (key, url));
    let environment: Environment = keys.into_iter().collect();
    let nowhere = Locations::default();
    let mut answers = vec![source(&nowhere, &environment), target(&nowhere, &environment)];
    let dir = tempfile::tempdir().unwrap();
    let locations = Locations { dir: dir.path().to_path_buf(), ..Locations::default() };
    for quote in ["", "'", "\""] {
        let text = format!("A=1\nDEWEY_DB_DATABASE_URL={quote}{url}{quote}\nDIRECT_URL={url}\n");
        fs::write(dir.path().join(".env"), text).unwrap();
        answers.push(target(&locations, &Environment::default()));
    }
    answers
}

proptest! {
    // A found case becomes a row of a table test, not a file at the top level.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_piece_of_a_secret_is_shown(
        secret in prop_oneof![
            r#"[@:/?#%&=+$'"\\ a-zA-Z0-9äßπ日🦀]{8,24}"#,
            // What a lenient parser takes for a host and a database.
            "[a-z]{2}@[a-z]{6,9}[/?#][a-z]{6,9}",
        ],
        shape in prop::sample::select(vec![
            "postgres://u:SECRET@db.example.org/books?schema=public",
            "postgres://u:SECRET@db.example.org:5433/books?x=y",
            "postgresql://u:SECRET@/books?host=/tmp",
            "postgres://u:SECRET@[::1]/books",
            "postgres://u:SECRET@db.example.org",
            "postgres://u:SECRET@:x/books",
            "postgres://u@db.example.org/books?password=SECRET",
            "postgres://u:p@db.example.org/books?sslmode=SECRET",
            "postgres://u:p@db.example.org/books?sslpassword=SECRET&sslmode=require",
            "prisma://accelerate.prisma-data.net/?api_key=SECRET",
            "mysql://u:SECRET@db.example.org/books",
            "u:SECRET@db.example.org/books",
            "SECRET",
        ]),
    ) {
        for text in [secret.clone(), percent_encoded(&secret)] {
            let url = shape.replace("SECRET", &text);
            let environment: Environment = [("DEWEY_TARGET_DATABASE_URL", url.as_str())].into_iter().collect();
            no_piece_of(&secret, &format!("{environment:?}"))?;
            for answer in answers(&url) {
                let shown = shown(&answer);
                no_piece_of(&secret, &shown)?;
                no_piece_of(&text, &shown)?;
            }
        }
    }

    #[test]
    fn a_percent_encoded_password_arrives(secret in r#"[@:/?#%&=+$'"\\ a-zäßπ日🦀]{1,24}"#) {
        let url = format!("postgres://u:{}@db.example.org/books", percent_encoded(&secret));
        for answer in answers(&url) {
            prop_assert_eq!(password(&answer.unwrap().connect_options("us")), format!("{:?}", Some(&secret)));
        }
    }

    #[test]
    fn a_raw_password_arrives_whole_or_not_at_all(secret in r#"[@:/?#&=+$'"\\ a-zäßπ日🦀]{1,24}"#) {
        let url = format!("postgres://u:{secret}@db.example.org/books");
        // In a file, `\$` is the way to write `$`.
        let wanted = [secret.replace(r"\$", "$"), secret].map(|secret| format!("{:?}", Some(secret)));
        for endpoint in answers(&url).into_iter().flatten() {
            let password = password(&endpoint.connect_options("us"));
            prop_assert!(wanted.contains(&password), "{password}");
            prop_assert_eq!(endpoint.to_string(), "books at db.example.org");
        }
    }
}

/// The password as `Debug` writes it; there is no getter.
fn password(options: &PgConnectOptions) -> String {
    let text = format!("{options:?}");
    let (_, rest) = text.split_once("password: ").unwrap();
    rest.split_once(", database: ").unwrap().0.to_owned()
}

//! Any text as a URL: it is used or refused without a panic, and what is shown of it does not depend on the secrets in it.
//!
//! To look for the password in the output would cry wolf (`postgres://u:host@host/db`) and miss a piece of it. Instead
//! every letter and digit of the password is changed for another of its kind: not a character of what is shown may change.

#![no_main]

use std::fmt::Write as _;

use dewey_sync::config::{Endpoint, Environment, Locations, source, target};
use dewey_sync::error::{Error, Result};
use libfuzzer_sys::fuzz_target;
use url::form_urlencoded;

/// Parameters whose values are nobody's business, whatever they are.
const SECRET_PARAMETERS: [&str; 5] = ["application_name", "options", "password", "sslpassword", "x"];

fuzz_target!(|url: &str| {
    if names_a_file(url) {
        return;
    }
    let first = shown(url);
    assert_eq!(shown(&with_another_password(url)), first, "the password of {url:?} shows");
    assert_eq!(shown(&with_other_parameters(url)), first, "a parameter of {url:?} shows");
});

/// Whether a file elsewhere would be opened; some of those never answer.
fn names_a_file(url: &str) -> bool {
    let (_, query) = url.split_once('?').unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).any(|(name, value)| name.starts_with("ssl") && value.contains('/'))
}

/// All that anybody could print of it, as either side's URL.
fn shown(url: &str) -> String {
    let mut text = String::new();
    for (key, read) in [
        ("DEWEY_SOURCE_DATABASE_URL", source as fn(&Locations, &Environment) -> Result<Endpoint>),
        ("DEWEY_TARGET_DATABASE_URL", target),
        ("DEWEY_DB_DATABASE_URL", target),
    ] {
        let environment: Environment = [(key, url)].into_iter().collect();
        match read(&Locations::default(), &environment) {
            Ok(endpoint) => {
                // Whether it can be handed to the driver; the options themselves hold the password.
                drop(endpoint.connect_options("fuzz"));
                let Endpoint { origin, .. } = &endpoint;
                write!(text, "{endpoint}\n{endpoint:?}\n{origin}\n{:?}\n", endpoint.ignored_parameters()).unwrap();
            }
            Err(error) => {
                let causes = error.causes();
                let Error { doing, state, hint, .. } = &error;
                write!(text, "{error:?}\n{error}\n{doing}\n{causes:?}\n{state:?}\n{hint:?}\n").unwrap();
            }
        }
    }
    text
}

/// What may be a password to any reader: from the first colon after the scheme to the last `@` of all.
fn with_another_password(url: &str) -> String {
    let changed = || {
        let start = url.find("://")? + 3;
        let start = start + url[start..].find(':')? + 1;
        let end = url.rfind('@').filter(|end| *end > start)?;
        Some(format!("{}{}{}", &url[..start], other_letters(&url[start..end]), &url[end..]))
    };
    changed().unwrap_or_else(|| url.to_owned())
}

fn with_other_parameters(url: &str) -> String {
    let Some((before, query)) = url.split_once('?') else { return url.to_owned() };
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if SECRET_PARAMETERS.contains(&name) => format!("{name}={}", other_letters(value)),
        _ => pair.to_owned(),
    };
    format!("{before}?{}", query.split('&').map(pair).collect::<Vec<_>>().join("&"))
}

/// Each letter and digit that is not part of an escape becomes another one, hexadecimal digits hexadecimal ones.
fn other_letters(text: &str) -> String {
    let mut since_percent = 2;
    text.chars()
        .map(|letter| {
            since_percent = if letter == '%' { 0 } else { since_percent + 1 };
            match letter {
                _ if since_percent <= 2 => letter,
                'f' => 'a',
                'F' => 'A',
                'z' => 'g',
                'Z' => 'G',
                '9' => '0',
                'a'..='y' | 'A'..='Y' | '0'..='8' => char::from(letter as u8 + 1),
                other => other,
            }
        })
        .collect()
}

//! A call that could not be parsed, or asked for help.

use clap::error::{ContextKind, ContextValue};

use super::args::Color;
use super::end::End;
use super::output::{Stream, print_json};
use crate::config::Environment;
use crate::error::{Error, Kind};
use crate::printable::value;

/// Shows it; the exit code.
pub(super) fn show(mut error: clap::Error, words: &[String], environment: &Environment) -> u8 {
    quote(&mut error, words);
    let stream = if error.use_stderr() { Stream::Err } else { Stream::Out };
    let shown = error.render();
    let text = if environment.allows_color(Color::of_call(words), stream.is_terminal()) {
        shown.ansi().to_string()
    } else {
        shown.to_string()
    };
    stream.write_styled(&without_urls(&text, words));
    if stream == Stream::Out {
        return 0;
    }
    if words.iter().any(|word| word == "--output=json")
        || words.windows(2).any(|pair| pair == ["--output", "json"])
    {
        let shown = without_urls(&shown.to_string(), words);
        let message = shown.lines().next().unwrap_or_default();
        let error = Error::new(Kind::Usage, message.strip_prefix("error: ").unwrap_or(message));
        print_json(&End::usage(&error));
    }
    Kind::Usage.exit_code()
}

/// Makes what the error takes from the call a value in a line, before it stands between colours and line breaks of ours.
fn quote(error: &mut clap::Error, words: &[String]) {
    let quoted = |text: &str| value(&without_urls(text, words));
    let plain = words.iter().all(|word| value(word) == *word);
    let quoted: Vec<(ContextKind, ContextValue)> = error
        .context()
        .filter_map(|(kind, found)| {
            let found = match found {
                ContextValue::String(text) => ContextValue::String(quoted(text)),
                ContextValue::Strings(texts) => {
                    ContextValue::Strings(texts.iter().map(|text| quoted(text)).collect())
                }
                // Suggestions, in which words of the call cannot be told from colours.
                ContextValue::StyledStrs(texts) if !plain => {
                    let texts = texts.iter().map(|text| quoted(&text.to_string()).into());
                    ContextValue::StyledStrs(texts.collect())
                }
                _ => return None,
            };
            Some((kind, found))
        })
        .collect();
    for (kind, value) in quoted {
        error.insert(kind, value);
    }
}

/// `text` without what follows `://` in a word of the call: a URL does not belong there, and may hold a password.
fn without_urls(text: &str, words: &[String]) -> String {
    let rests =
        words.iter().filter_map(|word| Some(word.split_once("://")?.1)).filter(|rest| !rest.is_empty());
    rests.fold(text.to_owned(), |text, rest| text.replace(rest, "…"))
}

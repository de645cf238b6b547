//! The only code that prints: results on stdout, everything else on stderr. A closed stream ends the output, not the run.

use std::io::{IsTerminal, Write};

use serde::Serialize;
use serde_json::json;

use super::args::{Color, Global, Output};
use crate::error::Error;
use crate::progress::{Bars, Event, Json, Lines, Progress};

/// Where results and progress go.
pub(super) enum Screen {
    Json(Json),
    Bars(Bars),
    Lines(Lines),
    Quiet,
}

impl Screen {
    pub(super) fn new(global: &Global) -> Self {
        match global.output {
            Output::Json => Self::Json(Json),
            Output::Human if global.quiet => Self::Quiet,
            Output::Human if std::io::stderr().is_terminal() => Self::Bars(Bars::default()),
            Output::Human => Self::Lines(Lines::default()),
        }
    }

    pub(super) fn is_json(&self) -> bool {
        matches!(self, Self::Json(_))
    }

    /// A line of context for a person, on stderr; nothing for a program.
    pub(super) fn note(&self, text: &str) {
        match self {
            Self::Json(_) | Self::Quiet => {}
            Self::Bars(bars) => bars.suspend(|| say(text)),
            Self::Lines(_) => say(text),
        }
    }

    /// Whether [`Screen::note`] shows anything.
    pub(super) fn shows_notes(&self) -> bool {
        matches!(self, Self::Bars(_) | Self::Lines(_))
    }

    /// Takes the bars away until the next phase, so that a question or a result stands alone.
    pub(super) fn clear(&self) {
        if let Self::Bars(bars) = self {
            bars.rest();
        }
    }
}

impl Progress for Screen {
    fn event(&self, event: &Event) {
        match self {
            Self::Json(json) => json.event(event),
            Self::Bars(bars) => bars.event(event),
            Self::Lines(lines) => lines.event(event),
            Self::Quiet => {}
        }
    }
}

/// A line on stderr.
pub(super) fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Part of a line on stderr, for an answer to follow.
pub(super) fn ask(text: &str) {
    let mut stderr = std::io::stderr();
    drop(write!(stderr, "{text}").and_then(|()| stderr.flush()));
}

/// A line of results on stdout.
pub(super) fn print(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// A JSON object as a line of results.
pub(super) fn print_json(object: &impl Serialize) {
    Json::line(object);
}

/// Whether errors and results may be coloured.
pub(super) fn colored(color: Color, no_color: bool) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => !no_color && std::io::stderr().is_terminal(),
    }
}

/// The error in its form: what, each cause once, a blank line, the state, the hint.
pub(super) fn render_error(error: &Error, colored: bool) -> String {
    let label = |text: &str, code: &str| {
        if colored { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    };
    let mut lines = vec![format!("{} {}", label("error:", "1;31"), error.doing)];
    lines.extend(error.causes().iter().map(|cause| format!("{} {cause}", label("caused by:", "1"))));
    let state = error.state.as_ref().map(|state| format!("{} {state}", label("state:", "1")));
    let hint = error.hint.as_ref().map(|hint| format!("{} {hint}", label("hint:", "1;36")));
    if state.is_some() || hint.is_some() {
        lines.push(String::new());
    }
    lines.extend(state.into_iter().chain(hint));
    lines.join("\n")
}

/// The error as JSON.
pub(super) fn error_json(error: &Error) -> serde_json::Value {
    json!({
        "message": error.doing,
        "causes": error.causes(),
        "state": error.state,
        "hint": error.hint,
    })
}

/// `1190` as `1,190`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 batch`, `2 batches`.
pub(super) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn an_error_has_its_state_and_hint_after_a_blank_line() {
        let error = Error::new(Kind::Unreachable, "could not read batch 3 of 4 from the source")
            .because("connection reset by peer")
            .state("`\"Book\"` is unchanged")
            .hint("run `just sync`");
        insta::assert_snapshot!(render_error(&error, false), @r#"
        error: could not read batch 3 of 4 from the source
        caused by: connection reset by peer

        state: `"Book"` is unchanged
        hint: run `just sync`
        "#);
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}

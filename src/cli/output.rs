//! What goes where: results on stdout, everything else on stderr.

use serde::Serialize;

use super::args::{Global, Output};
use crate::config::Environment;
use crate::error::Error;
use crate::printable::Printable;
pub(super) use crate::progress::streams::{Stream, ask, print, print_all, say, say_all};
use crate::progress::{Bars, Event, Json, Lines, Progress};

/// Where results and progress go.
pub(super) enum Screen {
    Json(Json),
    Bars(Bars),
    Lines(Lines),
    Quiet,
}

impl Screen {
    pub(super) fn new(global: &Global, environment: &Environment) -> Self {
        match global.output {
            Output::Json => Self::Json(Json),
            Output::Human if global.quiet => Self::Quiet,
            // A bar moves the cursor.
            Output::Human if Stream::Err.is_terminal() && !environment.has_dumb_terminal() => {
                Self::Bars(Bars::default())
            }
            Output::Human => Self::Lines(Lines::default()),
        }
    }

    pub(super) fn is_json(&self) -> bool {
        matches!(self, Self::Json(_))
    }

    /// A line of context for a person, on stderr; nothing for a program.
    pub(super) fn note(&self, line: &str) {
        self.note_all(&[line]);
    }

    /// [`Screen::note`] with several lines.
    pub(super) fn note_all(&self, lines: &[impl AsRef<str>]) {
        match self {
            Self::Json(_) | Self::Quiet => {}
            Self::Bars(bars) => bars.suspend(|| say_all(lines)),
            Self::Lines(_) => say_all(lines),
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

/// A JSON object as a line of results.
pub(super) fn print_json(object: &impl Serialize) {
    Json::line(object);
}

/// The error on stderr in its form: what, each cause once, a blank line, the state, the hint.
pub(super) fn say_error(error: &Error, colored: bool) {
    Stream::Err.write_styled(&render_error(error, colored));
}

fn render_error(error: &Error, colored: bool) -> String {
    let line = |label: &str, code: &str, text: &str| {
        let text = Printable(text);
        if colored { format!("\x1b[{code}m{label}\x1b[0m {text}") } else { format!("{label} {text}") }
    };
    let mut lines = vec![line("error:", "1;31", &error.doing)];
    lines.extend(error.causes().iter().map(|cause| line("caused by:", "1", cause)));
    if error.state.is_some() || error.hint.is_some() {
        lines.push(String::new());
    }
    lines.extend(error.state.iter().map(|state| line("state:", "1", state)));
    lines.extend(error.hint.iter().map(|hint| line("hint:", "1;36", hint)));
    lines.extend(error.lines.iter().map(|line| format!("  {}", Printable(line))));
    lines.join("\n") + "\n"
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
            .hint("run `just sync`")
            .lines(["[columns]".into(), "a = false".into()]);
        insta::assert_snapshot!(render_error(&error, false), @r#"
        error: could not read batch 3 of 4 from the source
        caused by: connection reset by peer

        state: `"Book"` is unchanged
        hint: run `just sync`
          [columns]
          a = false
        "#);
    }

    #[test]
    fn no_part_of_an_error_ends_a_line_or_sets_a_colour() {
        let forged = "a\nerror: b\u{1b}[0m";
        let error =
            Error::new(Kind::Refused, forged).because(format!("c{forged}")).state(forged).hint(forged);
        let rendered = render_error(&error.lines([forged.to_owned()]), true);
        assert_eq!(rendered.lines().count(), 6, "{rendered}");
        assert_eq!(rendered.matches('\u{1b}').count(), 8, "{rendered:?}");
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}

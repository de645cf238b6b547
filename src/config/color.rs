//! Whether text may be coloured: one rule for errors, usage errors and the log.
//!
//! The rule is that of <https://no-color.org> and <https://bixense.com/clicolors>. The crates that know it read the
//! environment themselves, and colour a dumb terminal where `CI` or `CLICOLOR` is set.

use super::Environment;

impl Environment {
    /// As the call `wanted`; without a wish as the variables say, and at last as the stream is.
    pub fn allows_color(&self, wanted: Option<bool>, is_terminal: bool) -> bool {
        if let Some(wanted) = wanted {
            return wanted;
        }
        if self.get("NO_COLOR").is_some() {
            return false;
        }
        if self.get("CLICOLOR_FORCE").is_some_and(|forced| forced != "0") {
            return true;
        }
        self.get("CLICOLOR") != Some("0") && !self.has_dumb_terminal() && is_terminal
    }

    /// Whether a terminal, if there is one, understands no sequences.
    pub fn has_dumb_terminal(&self) -> bool {
        self.get("TERM").is_none_or(|term| term == "dumb")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_then_the_variables_then_the_stream() {
        const TERMINAL: (&str, &str) = ("TERM", "xterm");
        for (wanted, variables, [on_terminal, in_pipe]) in [
            (None, &[TERMINAL][..], [true, false]),
            (None, &[], [false, false]),
            (None, &[("TERM", "dumb")], [false, false]),
            (None, &[("TERM", "dumb"), ("CLICOLOR", "1")], [false, false]),
            (None, &[TERMINAL, ("CLICOLOR", "0")], [false, false]),
            (None, &[TERMINAL, ("CLICOLOR", "1")], [true, false]),
            (None, &[TERMINAL, ("CLICOLOR_FORCE", "0")], [true, false]),
            (None, &[("TERM", "dumb"), ("CLICOLOR", "0"), ("CLICOLOR_FORCE", "1")], [true, true]),
            (None, &[TERMINAL, ("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], [false, false]),
            (None, &[TERMINAL, ("NO_COLOR", "")], [true, false]),
            (Some(true), &[("TERM", "dumb"), ("NO_COLOR", "1")], [true, true]),
            (Some(false), &[TERMINAL, ("CLICOLOR_FORCE", "1")], [false, false]),
        ] {
            let environment: Environment = variables.iter().copied().collect();
            for (is_terminal, colored) in [(true, on_terminal), (false, in_pipe)] {
                let allowed = environment.allows_color(wanted, is_terminal);
                assert_eq!(allowed, colored, "{wanted:?} {variables:?} {is_terminal}");
            }
        }
    }
}

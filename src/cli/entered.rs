//! What a call may say of a new user: the application shows it to others, in browsers and in mails.

use email_address::{EmailAddress, Options};

use crate::printable::is_printable;

/// An address with nothing around it. Whether mail arrives there is not asked.
pub(super) fn email(text: &str) -> Result<String, &'static str> {
    let text = one_line(text)?;
    let options = Options::default().without_display_text().without_domain_literal();
    match EmailAddress::parse_with_options(&text, options) {
        Ok(_) => Ok(text),
        Err(_) => Err("it is no e-mail address, such as `ada@example.org`"),
    }
}

/// Any text in which every character is seen.
pub(super) fn one_line(text: &str) -> Result<String, &'static str> {
    if is_printable(text) {
        return Ok(text.to_owned());
    }
    Err(
        "it has a character that is not seen, such as a control character, a mark of direction or a zero-width space",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_is_an_address_and_nothing_else() {
        for text in [
            "ada@example.org",
            "ada@localhost",
            "a.b+c@sub.example.org",
            "o'neil@example.org",
            "用户@例子.广告",
        ] {
            assert_eq!(email(text).as_deref(), Ok(text));
        }
        for text in [
            "",
            "ada",
            "@example.org",
            "ada@",
            "ada@example..org",
            "ada@exa mple.org",
            " ada@example.org",
            "ada@example.org\n",
            "Ada <ada@example.org>",
            "<ada@example.org>",
            "ada@[127.0.0.1]",
            "ada@example.org, bob@example.org",
            "ada\u{200b}@example.org",
            "ada\u{202e}@example.org",
            "ada@example.org\u{1b}[2J",
        ] {
            assert!(email(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_are_seen_whole() {
        for name in ["Ada Lovelace", "Þórr", "山田 太郎", "❤\u{fe0f}"] {
            assert_eq!(one_line(name).as_deref(), Ok(name));
        }
        for name in ["Ada\nadmin", "Ada\u{9b}2J", "A\u{2066}da", "\u{feff}Ada", "Ada\u{7f}", "Ada\u{ad}"] {
            assert!(one_line(name).is_err(), "{name:?}");
        }
    }
}

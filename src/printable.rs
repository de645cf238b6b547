//! Text of strangers on its way to a person: e-mails, names of tables and databases, titles, answers of servers,
//! arguments of the call.
//!
//! Invariant: what [`Printable`] shows is one line, in which each character is seen where it stands. One that ends a
//! line, moves the cursor, turns the order of others round or is not seen at all is shown by its number, such as
//! `\u{202e}`. So a text can neither steer a terminal nor pass for a line of ours or for another text. Letters of all
//! scripts and emoji stay as they are.
//!
//! Everything that leaves for a terminal passes through here in `progress::streams`, line by line. Whoever puts a value
//! of unknown length into a line [`cut`]s it there.

use std::fmt::{self, Display, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns for a value in a sentence or in a row of a list; no name of PostgreSQL is longer.
pub const VALUE_COLUMNS: usize = 64;

const ELLIPSIS: char = '…';

/// Marks on one letter, or parts of one syllable. More are in no script, and could cover the lines above and below.
const MARKS_MAX: usize = 8;

/// One line of a terminal, whatever the text is.
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a>(pub &'a str);

impl Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        shown(self.0).try_for_each(|shown| shown.fmt(f))
    }
}

/// At most so many columns of `text` as [`Printable`] shows it, the last one an ellipsis where more was to come.
pub fn cut(text: &str, columns: usize) -> String {
    let mut kept = String::new();
    // How much of it leaves a column for the ellipsis.
    let mut leaves_one = 0;
    for shown in shown(text) {
        // Writing to a string does not fail.
        let _ = write!(kept, "{shown}");
        let width = kept.width();
        if width > columns {
            kept.truncate(leaves_one);
            kept.push(ELLIPSIS);
            return kept;
        }
        if width < columns {
            leaves_one = kept.len();
        }
    }
    kept
}

/// [`cut`] to the columns of a value.
pub fn value(text: &str) -> String {
    cut(text, VALUE_COLUMNS)
}

/// `text` as [`Printable`] shows it, with `escape` of each character that cannot stand as it is.
pub fn escaped(text: &str, escape: impl Fn(char) -> String) -> String {
    let piece = |shown| match shown {
        Shown::AsIs(c) => c.to_string(),
        Shown::Escaped(c) => escape(c),
    };
    shown(text).map(piece).collect()
}

/// Columns that `text` takes.
pub fn columns(text: &str) -> usize {
    text.width()
}

/// `text` with spaces up to so many columns.
pub fn padded(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(text.width());
    format!("{text}{:missing$}", "")
}

/// Whether a text holds only what is shown as it is, and no line of it ends.
pub fn is_printable(text: &str) -> bool {
    shown(text).all(|shown| matches!(shown, Shown::AsIs(_)))
}

/// Whether a character cannot be shown as it is: control characters, the default-ignorable ones of Unicode (marks of
/// direction and joiners among them), separators of lines, annotations, and numbers that are no characters.
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || u32::from(c) & 0xfffe == 0xfffe
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

enum Shown {
    AsIs(char),
    Escaped(char),
}

impl Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsIs(c) => f.write_char(*c),
            Self::Escaped('\n') => f.write_str(r"\n"),
            Self::Escaped('\r') => f.write_str(r"\r"),
            Self::Escaped('\t') => f.write_str(r"\t"),
            Self::Escaped(c) => write!(f, "{}", c.escape_unicode()),
        }
    }
}

fn shown(text: &str) -> impl Iterator<Item = Shown> {
    // The letter that marks are on, and how many.
    let (mut base, mut marks) = (None, 0);
    text.char_indices().map(move |(at, c)| {
        let follows = is_unseen(c) || c.width() == Some(0);
        base = match base {
            _ if !follows => Some(c),
            Some(_) if is_unseen(c) && marks > 0 => None,
            Some(base) if is_unseen(c) => Some(base).filter(|base| is_styled(*base, &text[at..])),
            base => base.filter(|_| marks < MARKS_MAX),
        };
        marks = if follows { marks + 1 } else { 0 };
        if base.is_some() { Shown::AsIs(c) } else { Shown::Escaped(c) }
    })
}

/// Whether `rest` begins with the selector that makes an emoji of the letter `base`, or a letter of an emoji.
fn is_styled(base: char, rest: &str) -> bool {
    let Some(selector @ ('\u{fe0e}' | '\u{fe0f}')) = rest.chars().next() else { return false };
    if base.is_ascii() {
        return rest.starts_with("\u{fe0f}\u{20e3}");
    }
    String::from_iter([base, selector]).width() != base.width().unwrap_or_default()
}

/// JSON with the same values, in which whatever is not shown as it is stands as `\uXXXX`. Outside of texts JSON has no
/// such character; line breaks between its lines stay.
pub fn json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unseen(c) && c > ' ' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string does not fail.
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_seen_is_shown_by_its_number() {
        for (text, shown) in [
            ("a\nerror: b", r"a\nerror: b"),
            ("\r\t\0\u{7}\u{8}\u{7f}", r"\r\t\u{0}\u{7}\u{8}\u{7f}"),
            ("\u{1b}[2J\u{1b}]0;x\u{7}", r"\u{1b}[2J\u{1b}]0;x\u{7}"),
            ("\u{85}\u{9b}31m", r"\u{85}\u{9b}31m"),
            ("a\u{202e}b\u{2066}c\u{61c}\u{200f}", r"a\u{202e}b\u{2066}c\u{61c}\u{200f}"),
            ("a\u{200b}b\u{200d}c\u{2060}\u{feff}\u{ad}", r"a\u{200b}b\u{200d}c\u{2060}\u{feff}\u{ad}"),
            ("\u{2028}\u{2029}\u{e0041}\u{ffff}", r"\u{2028}\u{2029}\u{e0041}\u{ffff}"),
            ("a\u{fe0f} a\u{fe0f}1\u{fe01}", r"a\u{fe0f} a\u{fe0f}1\u{fe01}"),
            ("\u{301}a", r"\u{301}a"),
        ] {
            assert_eq!(Printable(text).to_string(), shown);
            assert_eq!(is_printable(text), text == shown, "{text:?}");
        }
    }

    #[test]
    fn letters_of_all_scripts_and_emoji_stay() {
        for text in [
            "Penumbra's 24-Hour Bookstore",
            "Le Petit\u{a0}Prince, cœur, e\u{301}t\u{e9}",
            "مرحبا שלום हिन्दी ไทย 한국어 각 日本語 ᠮᠣᠩᠭᠣᠯ",
            "Thế giới \u{1a0}\u{323}\u{301}",
            "👍🏽 🇩🇪 ❤\u{fe0f} 1\u{fe0f}\u{20e3} ⏳\u{fe0e}",
            r"C:\books\u{41}",
        ] {
            assert_eq!(Printable(text).to_string(), text);
        }
    }

    #[test]
    fn a_letter_carries_no_tower_of_marks() {
        let tower = format!("a{}", "\u{301}".repeat(9));
        assert_eq!(Printable(&tower).to_string(), format!("a{}\\u{{301}}", "\u{301}".repeat(8)));
    }

    #[test]
    fn a_long_text_is_cut_where_its_columns_end() {
        for (text, columns, cut_text) in [
            ("abcdef", 6, "abcdef"),
            ("abcdefg", 6, "abcde…"),
            ("日本語日本語", 6, "日本…"),
            ("日本語", 6, "日本語"),
            ("a\u{202e}b", 6, r"a…"),
            ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…"),
            ("ab", 1, "…"),
        ] {
            assert_eq!(cut(text, columns), cut_text, "{text:?}");
        }
    }

    #[test]
    fn columns_are_those_of_a_terminal() {
        assert_eq!(padded("日本", 6), "日本  ");
        assert_eq!(padded("abc", 2), "abc");
    }

    #[test]
    fn json_keeps_its_values_and_lines() {
        let value = serde_json::json!({ "a\u{202e}": "\u{9b}\u{7f}\u{e0041}é日\n" });
        let text = json(&format!("{value:#}"));
        assert_eq!(text, "{\n  \"a\\u202e\": \"\\u009b\\u007f\\udb40\\udc41é日\\n\"\n}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    /// Texts of which half is not seen.
    fn texts() -> impl Strategy<Value = String> {
        let unseen: Vec<char> = ('\0'..=char::MAX).filter(|c| is_unseen(*c)).collect();
        let unseen = prop::sample::select(unseen);
        let some = prop_oneof![Just('\n'), Just('\u{1b}'), Just('\u{9b}'), Just('\u{202e}'), Just('\u{301}')];
        prop::collection::vec(prop_oneof![any::<char>(), unseen, some], 0..40).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn whatever_is_shown_once_is_shown_the_same_again(text in texts(), columns in 1..30_usize) {
            let shown = Printable(&text).to_string();
            prop_assert!(is_printable(&shown));
            prop_assert_eq!(Printable(&shown).to_string(), shown.as_str());
            let selects = |c| matches!(c, '\u{fe0e}' | '\u{fe0f}');
            prop_assert!(!shown.contains(|c| is_unseen(c) && !selects(c)), "{:?}", shown);
            let cut = cut(&text, columns);
            prop_assert!(cut.width() <= columns && is_printable(&cut), "{:?}", cut);
        }

        #[test]
        fn json_of_any_text_has_only_what_is_seen(text in texts()) {
            let written = json(&serde_json::to_string(&text).unwrap());
            prop_assert!(!written.contains(is_unseen));
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }
    }
}

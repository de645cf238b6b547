//! The start-up options that a URL's `options` holds: what they say about the schema is honoured, and what contradicts the
//! settings of every transaction is refused, because it would be sent and then overridden.
//!
//! Invariant: as in [`problem`](super::problem), nothing of the text is shown but names from lists of ours.

use super::decided;
use super::problem::Problem;

/// The words of `options`, as PostgreSQL cuts them; those of the search path taken out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// What is left to be sent.
    pub(super) rest: Option<String>,
    /// The schema of its search path.
    pub(super) schema: Option<String>,
    /// Whether transactions shall write nothing.
    pub(super) read_only: bool,
}

/// Reads the text of `options`.
pub(super) fn parse(text: &str) -> Result<Options, Problem> {
    let words = words(text);
    let mut options = Options::default();
    let mut kept: Vec<&str> = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut raw = vec![word.raw];
        // Other words are a proxy's, such as `endpoint=…`, or switches without a meaning here.
        let setting = match (&*word.text, word.text.strip_prefix("-c"), word.text.strip_prefix("--")) {
            ("-c", _, _) => words.next().map(|next| {
                raw.push(next.raw);
                &*next.text
            }),
            ("-e", _, _) => return Err(Problem::Overridden("DateStyle")),
            (_, Some(setting), _) | (_, None, Some(setting)) => Some(setting),
            _ => None,
        };
        let named = setting.and_then(|setting| setting.split_once('='));
        match named.map(|(name, value)| (name.trim().replace('-', "_"), value)) {
            Some((name, value)) if name.eq_ignore_ascii_case("search_path") => {
                options.schema = Some(one_schema(value)?);
            }
            Some((name, value)) => {
                if name.eq_ignore_ascii_case("default_transaction_read_only") {
                    options.read_only = plain(value) == "on";
                }
                contradicts_nothing(&name, value)?;
                kept.extend(raw);
            }
            None => kept.extend(raw),
        }
    }
    options.rest = (!kept.is_empty()).then(|| kept.join(" "));
    Ok(options)
}

/// The setting of a parameter that is called `options[NAME]`.
pub(super) fn named_in_brackets(parameter: &str) -> Option<&str> {
    parameter.strip_prefix("options[")?.strip_suffix(']')
}

/// One setting as a word to be appended.
pub(super) fn word(name: &str, value: &str) -> String {
    let escape =
        |c: char| if c == '\\' || c.is_ascii_whitespace() { format!("\\{c}") } else { c.to_string() };
    format!(" -c {}", format!("{name}={value}").chars().map(escape).collect::<String>())
}

/// A word as it is written, and what it says.
#[derive(Debug)]
struct Word<'a> {
    raw: &'a str,
    text: String,
}

/// Cuts at white space; a backslash takes the next character for itself.
fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start_matches(|c: char| c.is_ascii_whitespace());
    while !rest.is_empty() {
        let mut said = String::new();
        let mut escaped = false;
        let end = rest.find(|c: char| {
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
                return false;
            } else if c.is_ascii_whitespace() {
                return true;
            }
            said.push(c);
            false
        });
        let (raw, more) = rest.split_at(end.unwrap_or(rest.len()));
        words.push(Word { raw, text: said });
        rest = more.trim_start_matches(|c: char| c.is_ascii_whitespace());
    }
    words
}

/// The only schema of a search path, as PostgreSQL reads identifiers.
fn one_schema(path: &str) -> Result<String, Problem> {
    let path = path.trim();
    let Some(quoted) = path.strip_prefix('"') else {
        let is_name = |c: char| !c.is_ascii_whitespace() && !matches!(c, ',' | '"' | '$');
        let is_one = !path.is_empty() && path.chars().all(is_name);
        return if is_one { Ok(path.to_ascii_lowercase()) } else { Err(Problem::SearchPath) };
    };
    let name = quoted.strip_suffix('"').filter(|name| !name.replace("\"\"", "").contains('"'));
    let name = name.map(|name| name.replace("\"\"", "\"")).filter(|name| !name.is_empty() && name != "$user");
    name.ok_or(Problem::SearchPath)
}

/// Whether a setting may be sent: what it asks for is what every transaction has, or nothing that changes a meaning.
fn contradicts_nothing(name: &str, value: &str) -> Result<(), Problem> {
    let Some((name, decided)) = decided::decided(name) else { return Ok(()) };
    let parts = |text: &str| -> Vec<String> { text.split(',').map(plain).collect() };
    let decided = parts(decided);
    if parts(value).iter().all(|part| decided.contains(part)) {
        Ok(())
    } else {
        Err(Problem::Overridden(name))
    }
}

/// Without case and punctuation, and with one word for each truth.
fn plain(value: &str) -> String {
    let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
    match plain.to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => "on".into(),
        "false" | "no" => "off".into(),
        plain => plain.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, rest: Option<&str>, schema: Option<&str>) {
        let expected =
            Options { rest: rest.map(Into::into), schema: schema.map(Into::into), read_only: false };
        assert_eq!(parse(text).unwrap(), expected, "{text}");
    }

    #[test]
    fn one_schema_is_taken_out_of_whatever_the_options_look_like() {
        check("-c search_path=books", None, Some("books"));
        check("-csearch_path=books", None, Some("books"));
        check("--search_path=books", None, Some("books"));
        check("--search-path=books", None, Some("books"));
        check("  -c  SEARCH_PATH=Books ", None, Some("books"));
        check(r#"-c search_path="Books""#, None, Some("Books"));
        check(r#"-c search_path="my\ ""own""\ books""#, None, Some(r#"my "own" books"#));
        check(r"-c search_path=\ books\ ", None, Some("books"));
        check("endpoint=ep-1 -c search_path=books -c a=b", Some("endpoint=ep-1 -c a=b"), Some("books"));
        check("-c search_path=old --search_path=new", None, Some("new"));
    }

    #[test]
    fn everything_else_stays_as_it_is_written() {
        check("endpoint=ep-1 -c a=b", Some("endpoint=ep-1 -c a=b"), None);
        check(r"-c a=b\ c   -S 64", Some(r"-c a=b\ c -S 64"), None);
        check("-c", Some("-c"), None);
        check(
            "-c statement_timeout=5min -c work_mem=1GB",
            Some("-c statement_timeout=5min -c work_mem=1GB"),
            None,
        );
        check("", None, None);
    }

    #[test]
    fn a_single_option_is_a_word_whatever_it_holds() {
        let text = word(named_in_brackets("options[search_path]").unwrap(), r#""my books\""#);
        assert_eq!(parse(&text).unwrap().schema.as_deref(), Some(r"my books\"));
        assert_eq!(named_in_brackets("options"), None);
    }

    #[test]
    fn transactions_that_shall_only_read_are_told() {
        for (text, read_only) in [("=on", true), ("=true", true), ("=off", false)] {
            assert_eq!(
                parse(&format!("-c default_transaction_read_only{text}")).unwrap().read_only,
                read_only
            );
        }
    }

    #[test]
    fn a_list_of_schemas_or_none_is_refused() {
        for path in
            ["a,b", r"a,\ b", "", r#""$user",public"#, r#""$user""#, "$user", r#""a","b""#, r#""a"#, r#""""#]
        {
            let said = parse(&format!("-c search_path={path}")).unwrap_err().to_string();
            assert_eq!(said, "its `options` set `search_path` to no schema, or to more than one", "{path}");
        }
    }

    #[test]
    fn settings_that_would_be_overridden_are_refused_unless_they_say_the_same() {
        for same in [
            "TimeZone=utc",
            "timezone=UTC",
            r"datestyle=ISO,\ MDY",
            "DateStyle=iso",
            "client_encoding=utf-8",
            "row_security=false",
            "array_nulls=1",
            "session_replication_role=origin",
            "jit=on",
        ] {
            assert!(parse(&format!("-c {same}")).is_ok(), "{same}");
        }
        for (other, name) in [
            ("TIMEZONE=Europe/Berlin", "TimeZone"),
            ("datestyle=German", "DateStyle"),
            ("row_security=on", "row_security"),
            ("session_replication_role=replica", "session_replication_role"),
            ("restrict_nonsystem_relation_kind=view", "restrict_nonsystem_relation_kind"),
        ] {
            let said = parse(&format!("-c {other}")).unwrap_err().to_string();
            assert_eq!(said, format!("its `options` set `{name}` otherwise than a sync does"), "{other}");
        }
        assert!(parse("-e").is_err());
    }
}

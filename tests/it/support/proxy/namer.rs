//! Names for what a client says, short enough for a list and without values.

use std::collections::HashMap;

/// Names what a client says, by its first SQL or else the kind of its first message.
#[derive(Default)]
pub(super) struct Namer {
    /// The texts of the prepared statements.
    prepared: HashMap<Vec<u8>, String>,
    name: Option<(String, bool)>,
}

impl Namer {
    /// A message of the start-up, which has no type.
    pub(super) fn start(&mut self, encryption: bool) {
        self.offer(if encryption { "ask for encryption" } else { "start-up" }.to_owned(), false);
    }

    pub(super) fn message(&mut self, message: &[u8]) {
        let Some((kind, body)) = message.split_at_checked(5) else { return };
        let mut texts = body.split(|&byte| byte == 0);
        let (first, second) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
        match kind[0] {
            b'Q' => self.offer(opening(first), true),
            b'P' => {
                self.prepared.insert(first.to_owned(), opening(second));
                self.offer(format!("prepare {}", opening(second)), true);
            }
            // A portal's name comes first.
            b'B' => {
                let text = self.prepared.get(second).cloned().unwrap_or_default();
                self.offer(format!("execute {text}"), true);
            }
            b'p' => self.offer("password".to_owned(), false),
            b'd' | b'c' => self.offer("rows of a COPY".to_owned(), false),
            kind => self.offer(format!("message {}", char::from(kind)), false),
        }
    }

    /// The name of all that was named since the last call.
    pub(super) fn take(&mut self) -> String {
        self.name.take().unwrap_or_default().0
    }

    fn offer(&mut self, name: String, is_sql: bool) {
        if !matches!(self.name, Some((_, named_by_sql)) if named_by_sql || !is_sql) {
            self.name = Some((name, is_sql));
        }
    }
}

/// The first characters of what the statements do, in one line.
fn opening(sql: &[u8]) -> String {
    const SHOWN: usize = 60;
    let sql = String::from_utf8_lossy(sql);
    let words: Vec<&str> = sql.split_whitespace().collect();
    let words = words.join(" ");
    // Settings come first everywhere and tell nothing apart.
    let is_setting = |text: &str| {
        ["SET LOCAL", "SELECT set_config", "SELECT current_setting"].iter().any(|word| text.starts_with(word))
    };
    let telling = words.split("; ").filter(|statement| !is_setting(statement));
    let statements: Vec<&str> =
        telling.map(|statement| if statement.starts_with("BEGIN") { "BEGIN" } else { statement }).collect();
    statements.join("; ").chars().take(SHOWN).collect()
}

//! Hostile values of everything, by `ALTER DATABASE` and by `ALTER ROLE`, on both sides: the run ends with an equal copy or
//! with a refusal that names a setting. All are played at once; of a group that fails, both halves are played, down to the
//! one that is to blame.

use super::decided::ANOTHER_METHOD;
use super::pair::{Known, Pair, known};
use super::table::{Decision, ROWS, SPEED, decision};
use crate::support::servers::execute;

/// A name and a value.
type Setting = (String, String);

/// Whose setting it is.
#[derive(Debug, Clone, Copy)]
enum Owner {
    Database,
    Role,
    RoleInDatabase,
}

const WAYS: [&[&str]; 6] = [
    &["sync", "--yes"],
    &["sync", "--yes", "--engine", "copy", "--batch-size", "20"],
    &["sync", "--yes", "--strategy", "atomic"],
    &["sync", "--yes", "--strategy", "batched", "--batch-size", "20", "--engine", "copy"],
    &["sync", "--yes", "--strategy", "batched"],
    &["sync", "--yes", "--batch-size", "20"],
];

/// Plays everything.
pub(crate) async fn check(pair: &mut Pair<'_>) {
    for server in [pair.source, pair.target] {
        execute(&server.url(&pair.name), ANOTHER_METHOD).await;
    }
    let sides = [known(pair.source).await, known(pair.target).await];
    let may_be_had = |decision| !matches!(decision, Decision::Refused { .. });
    // What only costs time costs it here as well: once is enough.
    let matters = |decision| may_be_had(decision) && !matches!(decision, Decision::Left(why) if why == SPEED);
    let slow = [0, 1].map(|side| hostile(&sides[side], may_be_had));
    let blamed = blame(pair, Owner::Database, slow, WAYS[0]).await;
    assert!(blamed.is_empty(), "{blamed:#?}");
    let harmless = [0, 1].map(|side| hostile(&sides[side], matters));
    for owner in [Owner::Database, Owner::Role, Owner::RoleInDatabase] {
        for way in WAYS {
            let blamed = blame(pair, owner, harmless.clone(), way).await;
            assert!(blamed.is_empty(), "{blamed:#?}");
        }
    }
    check_others(pair, &harmless).await;
    check_refused(pair, &sides).await;
}

/// A hostile value of each setting of a server whose decision is `wanted`.
fn hostile(known: &[Known], wanted: impl Fn(Decision) -> bool) -> Vec<Setting> {
    let value = |known: &Known| {
        let row = ROWS.iter().find(|(name, ..)| *name == known.name);
        match row {
            // What is said when a transaction begins cannot be anybody's default.
            Some((name, "", Decision::AtStart)) => {
                assert!(name.starts_with("transaction_"));
                String::new()
            }
            Some((_, "", _)) | None => known.other.clone(),
            Some((_, value, _)) => (*value).to_owned(),
        }
    };
    let chosen = known.iter().filter(|known| decision(&known.name, &known.category).is_some_and(&wanted));
    let settings = chosen.map(|known| (known.name.clone(), value(known)));
    settings.filter(|(_, value)| !value.is_empty()).collect()
}

/// What is to blame for a run that ends otherwise than it may.
async fn blame(pair: &mut Pair<'_>, owner: Owner, both: [Vec<Setting>; 2], way: &[&str]) -> Vec<String> {
    let mut groups = vec![both];
    let mut blamed = Vec::new();
    while let Some([source, target]) = groups.pop() {
        let Err(seen) = play(pair, owner, [&source, &target], way).await else { continue };
        let (half_of_source, half_of_target) = (source.len() / 2, target.len() / 2);
        match (source.len(), target.len()) {
            (0 | 1, 0) | (0, 1) => blamed.push(format!("{owner:?} {source:?} {target:?} {way:?}: {seen}")),
            (1.., 1..) => groups.extend([[source, Vec::new()], [Vec::new(), target]]),
            _ => groups.extend([
                [source[..half_of_source].to_vec(), target[..half_of_target].to_vec()],
                [source[half_of_source..].to_vec(), target[half_of_target..].to_vec()],
            ]),
        }
    }
    blamed
}

/// Runs with settings on source and target, and takes them back; how it ended, if not as it may.
async fn play(pair: &Pair<'_>, owner: Owner, settings: [&[Setting]; 2], way: &[&str]) -> Result<(), String> {
    execute(&pair.target.url(&pair.name), r#"UPDATE "Book" SET title = title || '!'"#).await;
    for (server, settings) in [pair.source, pair.target].into_iter().zip(settings) {
        let alter =
            settings.iter().map(|(name, value)| format!("{} SET {name} = '{value}'", whose(pair, owner)));
        let alter: Vec<String> = alter.collect();
        execute(&server.url("postgres"), &alter.join(";")).await;
    }
    let run = pair.run(way).await;
    for server in [pair.source, pair.target] {
        execute(&server.url("postgres"), &format!("{} RESET ALL", whose(pair, owner))).await;
    }
    let names = settings.concat().into_iter().map(|(name, _)| name);
    match run.code {
        Some(0) if pair.is_equal() => Ok(()),
        Some(3) if names.clone().any(|name| run.stderr.contains(&format!("`{name}`"))) => Ok(()),
        _ => Err(format!("{run:?}")),
    }
}

fn whose(Pair { name, .. }: &Pair<'_>, owner: Owner) -> String {
    match owner {
        Owner::Database => format!("ALTER DATABASE {name}"),
        Owner::Role => format!("ALTER ROLE {name}"),
        Owner::RoleInDatabase => format!("ALTER ROLE {name} IN DATABASE {name}"),
    }
}

/// The other commands, with everything at once.
async fn check_others(pair: &mut Pair<'_>, both: &[Vec<Setting>; 2]) {
    for way in [&["doctor"][..], &["sync", "--dry-run"], &["undo", "--yes"], &["migrate", "up"], &["users"]] {
        execute(&pair.target.url(&pair.name), r#"UPDATE "Book" SET title = title || '!'"#).await;
        let run = pair.run(&["sync", "--yes"]).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        for (server, settings) in [pair.source, pair.target].into_iter().zip(both) {
            let alter = settings
                .iter()
                .map(|(name, value)| format!("{} SET {name} = '{value}'", whose(pair, Owner::Database)));
            execute(&server.url("postgres"), &alter.collect::<Vec<_>>().join(";")).await;
        }
        let run = pair.run(way).await;
        for server in [pair.source, pair.target] {
            execute(&server.url("postgres"), &format!("{} RESET ALL", whose(pair, Owner::Database))).await;
        }
        assert_eq!(run.code, Some(0), "{way:?} {run:?}");
    }
}

/// What a role may not set itself is refused before anything is written, with what mends it.
async fn check_refused(pair: &mut Pair<'_>, sides: &[Vec<Known>; 2]) {
    for (owner, words) in [
        (Owner::Database, "ALTER DATABASE settings_"),
        (Owner::Role, "ALTER ROLE settings_"),
        (Owner::RoleInDatabase, " IN DATABASE settings_"),
    ] {
        for (side, server) in [pair.source, pair.target].into_iter().enumerate() {
            let is_here = |decision| match decision {
                Decision::Refused { at_source } => at_source || side == 1,
                _ => false,
            };
            for (name, value) in hostile(&sides[side], is_here) {
                let alter = format!("{} SET {name} = '{value}'", whose(pair, owner));
                execute(&server.url("postgres"), &alter).await;
                let ways = [
                    &["sync", "--yes"][..],
                    &["sync", "--dry-run"],
                    &["verify"],
                    &["doctor"],
                    &["undo", "--yes"],
                ];
                // Whose setting it is, changes nothing but the words.
                let ways = if matches!(owner, Owner::Database) { &ways[..] } else { &ways[..1] };
                for way in ways {
                    let concerns = side == 1 || way[0] != "undo";
                    let run = pair.run(way).await;
                    let said = format!("{}{}", run.stdout, run.stderr);
                    let is_refused = run.code == Some(3)
                        && said.contains(&format!("`{name}` is `{value}`"))
                        && said.contains(words)
                        && said.contains(&format!(" RESET {name}"));
                    assert_eq!(is_refused, concerns, "{owner:?} {name} {way:?}: {run:?}");
                }
                execute(&server.url("postgres"), &format!("{} RESET ALL", whose(pair, owner))).await;
            }
        }
    }
}

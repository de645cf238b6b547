//! Where the URLs come from.

use std::fs;

use super::*;

const FILE: &str = "postgres://u:p@file.example.org/file";

/// A directory with both env files, each with the given text.
fn files(source: &str, target: &str) -> (tempfile::TempDir, Locations) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(".env.production"), source).unwrap();
    fs::write(dir.path().join(".env"), target).unwrap();
    let locations = Locations { dir: dir.path().to_path_buf(), ..Locations::default() };
    (dir, locations)
}

/// The error as it is shown, with the directory of the test as `DIR`.
fn shown(error: &Error, dir: &Path) -> String {
    let text = format!(
        "error: {error}\ncaused by: {}\nhint: {}",
        error.causes().join("; "),
        error.hint.as_deref().unwrap_or_default()
    );
    assert_eq!(error.kind, Kind::Usage);
    text.replace(&dir.display().to_string(), "DIR")
}

#[test]
fn the_key_named_after_a_side_wins_then_the_applications_for_the_target_only() {
    let line = format!("DEWEY_DB_DATABASE_URL={FILE}\n");
    let (_dir, locations) = files(&line, &line);
    let own = "postgres://u:p@own.example.org/own";
    let applications = "postgres://u:p@app.example.org/app";
    for (keys, source_host, target_host) in [
        (&[][..], "file.example.org", "file.example.org"),
        (&[("DEWEY_SOURCE_DATABASE_URL", own)], "own.example.org", "file.example.org"),
        (&[("DEWEY_TARGET_DATABASE_URL", own)], "file.example.org", "own.example.org"),
        (&[("DEWEY_DB_DATABASE_URL", applications)], "file.example.org", "app.example.org"),
        (
            &[("DEWEY_TARGET_DATABASE_URL", own), ("DEWEY_DB_DATABASE_URL", applications)],
            "file.example.org",
            "own.example.org",
        ),
        (&[("DEWEY_TARGET_DATABASE_URL", " ")], "file.example.org", "file.example.org"),
    ] {
        let environment = keys.iter().copied().collect();
        assert_eq!(source(&locations, &environment).unwrap().host, source_host, "{keys:?}");
        assert_eq!(target(&locations, &environment).unwrap().host, target_host, "{keys:?}");
    }
}

#[test]
fn a_given_file_replaces_only_its_own_default() {
    let (dir, mut locations) = files(&format!("DEWEY_DB_DATABASE_URL={FILE}"), "");
    let other = dir.path().join("other");
    fs::write(&other, "DEWEY_DB_DATABASE_URL=postgres://u:p@other.example.org/db").unwrap();
    locations.target_env = Some(other.clone());
    let environment = Environment::default();
    assert_eq!(source(&locations, &environment).unwrap().host, "file.example.org");
    let target = target(&locations, &environment).unwrap();
    assert_eq!(
        (target.host.as_str(), target.origin.to_string()),
        ("other.example.org", other.display().to_string())
    );
}

#[test]
fn files_of_the_current_directory_are_shown_by_their_name() {
    for dir in ["", "."] {
        let locations = Locations { dir: dir.into(), ..Locations::default() };
        assert_eq!(locations.env_file(Side::Source), Path::new(".env.production"));
    }
}

#[test]
fn a_prisma_url_gives_way_to_the_direct_one_beside_it() {
    let prisma = "DEWEY_DB_DATABASE_URL=prisma://accelerate.prisma-data.net/?api_key=k\n";
    for (more, key) in [
        ("DIRECT_URL=postgres://u:p@h/db", "DIRECT_URL"),
        ("DIRECT_URL=postgres://u:p@x/db\nDEWEY_DB_DIRECT_URL=postgres://u:p@h/db", "DEWEY_DB_DIRECT_URL"),
        ("DEWEY_DB_DIRECT_URL=prisma+postgres://x/\nDIRECT_URL=postgres://u:p@h/db", "DIRECT_URL"),
        ("DIRECT_DATABASE_URL=postgres://u:p@h/db", "DIRECT_DATABASE_URL"),
        ("DIRECT_DATABASE_URL=postgres://u:p@x/db\nDIRECT_URL=postgres://u:p@h/db", "DIRECT_URL"),
        (
            "DEWEY_DB_DIRECT_URL=\nDIRECT_URL=''\nDIRECT_DATABASE_URL=postgres://u:p@h/db",
            "DIRECT_DATABASE_URL",
        ),
    ] {
        let (dir, locations) = files(&format!("{prisma}{more}"), "");
        // The environment's direct URL is no companion of the file's.
        let environment = [("DEWEY_DB_DIRECT_URL", "postgres://u:p@environment/db")].into_iter().collect();
        let source = source(&locations, &environment).unwrap();
        let origin = source.origin.to_string().replace(&dir.path().display().to_string(), "DIR");
        assert_eq!((source.host.as_str(), origin), ("h", format!("{key} in DIR/.env.production")));
    }
    let environment = [
        ("DEWEY_DB_DATABASE_URL", "prisma+postgres://localhost:51213/?api_key=k"),
        ("DIRECT_URL", "postgres://u:p@h/db"),
    ];
    let target = target(&Locations::default(), &environment.into_iter().collect()).unwrap();
    assert_eq!(target.origin.to_string(), "DIRECT_URL in the environment");
}

#[test]
fn a_prisma_url_alone_says_what_to_add() {
    let (dir, locations) = files("DEWEY_DB_DATABASE_URL=prisma://x.net/?api_key=k", "");
    let error = source(&locations, &Environment::default()).unwrap_err();
    insta::assert_snapshot!(shown(&error, dir.path()), @r"
error: could not use the source's URL from `DIR/.env.production`
caused by: it is a Prisma URL, which is spoken to over HTTP
hint: add `DEWEY_DB_DIRECT_URL=postgres://USER:PASSWORD@HOST:5432/DATABASE` to `DIR/.env.production`
");
    let keys = [("DEWEY_SOURCE_DATABASE_URL", "prisma://x.net/"), ("DIRECT_URL", FILE)];
    let error = source(&locations, &keys.into_iter().collect()).unwrap_err();
    insta::assert_snapshot!(shown(&error, dir.path()), @r"
error: could not use the source's URL from `DEWEY_SOURCE_DATABASE_URL` in the environment
caused by: it is a Prisma URL, which is spoken to over HTTP
hint: set `DEWEY_SOURCE_DATABASE_URL` to `postgres://USER:PASSWORD@HOST:5432/DATABASE`
");
    let keys = [("DEWEY_DB_DATABASE_URL", "prisma://x.net/")];
    let error = target(&locations, &keys.into_iter().collect()).unwrap_err();
    insta::assert_snapshot!(shown(&error, dir.path()), @r"
error: could not use the target's URL from `DEWEY_DB_DATABASE_URL` in the environment
caused by: it is a Prisma URL, which is spoken to over HTTP
hint: set `DEWEY_DB_DIRECT_URL` to `postgres://USER:PASSWORD@HOST:5432/DATABASE` as well
");
}

#[test]
fn a_missing_file_or_key_says_what_to_add_for_its_side() {
    let (dir, locations) = files("OTHER=1\nDEWEY_DB_DATABASE_URL=''\n", "");
    fs::remove_file(dir.path().join(".env")).unwrap();
    let environment = Environment::default();
    let error = source(&locations, &environment).unwrap_err();
    insta::assert_snapshot!(shown(&error, dir.path()), @r"
error: could not read the source's URL from `DIR/.env.production`
caused by: it has no `DEWEY_DB_DATABASE_URL`, or an empty one
hint: add `DEWEY_DB_DATABASE_URL=postgres://USER:PASSWORD@HOST:5432/DATABASE` to `DIR/.env.production`, or set `DEWEY_SOURCE_DATABASE_URL`
");
    let error = target(&locations, &environment).unwrap_err();
    insta::assert_snapshot!(shown(&error, dir.path()), @r"
error: could not read `DIR/.env`
caused by: there is no such file
hint: add `DEWEY_DB_DATABASE_URL=postgres://USER:PASSWORD@HOST:5432/DATABASE` to `DIR/.env`, or set `DEWEY_TARGET_DATABASE_URL`
");
}

#[test]
fn a_value_that_would_not_arrive_as_written_is_refused() {
    let (dir, locations) = files("DEWEY_DB_DATABASE_URL=postgres://u:pa$word@h/db", "A=1\nB='x\nC=2\n");
    let environment = Environment::default();
    let error = source(&locations, &environment).unwrap_err();
    insta::assert_snapshot!(shown(&error, dir.path()), @r"
error: could not read the source's URL from `DIR/.env.production`
caused by: `$`, quotes or backslashes in `DEWEY_DB_DATABASE_URL` would change its value
hint: put the value in single quotes, or write `$` as `%24`; it is not expanded
");
    let error = target(&locations, &environment).unwrap_err();
    insta::assert_snapshot!(shown(&error, dir.path()), @r"
error: could not read the target's URL from `DIR/.env`
caused by: line 2 cannot be read, and lines after it may be lost
hint: put the value of that line in single quotes
");
}

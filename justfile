set positional-arguments

cargo_run := "cargo run --quiet --locked --release --manifest-path " + quote(justfile_directory() / "Cargo.toml") + " --"

# Lists the recipes
[private]
default:
    @just --justfile {{ quote(justfile()) }} --list --unsorted

# Makes development's books identical to production's and verifies every row; run it in the application's folder
[group('run')]
[no-cd]
[no-exit-message]
sync *ARGS: _release
    @{{ cargo_run }} sync "$@"

# Checks and counts what `sync` would do, writes nothing anywhere
[group('run')]
[no-cd]
[no-exit-message]
sync-dry *ARGS: _release
    @{{ cargo_run }} sync --dry-run "$@"

# Sets up a fresh development database: tables, a user if there is none, a sync
[group('run')]
[no-cd]
[no-exit-message]
setup *ARGS: _release
    @{{ cargo_run }} setup "$@"

# Restores what the last sync replaced
[group('run')]
[no-cd]
[no-exit-message]
undo *ARGS: _release
    @{{ cargo_run }} undo "$@"

# Checks everything a sync depends on and suggests fixes (read-only)
[group('run')]
[no-cd]
[no-exit-message]
doctor *ARGS: _release
    @{{ cargo_run }} doctor "$@"

# Compares both databases (read-only)
[group('run')]
[no-cd]
[no-exit-message]
verify *ARGS: _release
    @{{ cargo_run }} verify "$@"

# Lists the target's users; `users add` creates one
[group('run')]
[no-cd]
[no-exit-message]
users *ARGS: _release
    @{{ cargo_run }} users "$@"

# Lists past runs; `history RUN` shows one
[group('run')]
[no-cd]
[no-exit-message]
history *ARGS: _release
    @{{ cargo_run }} history "$@"

# Walks through a sync on two temporary servers
[group('run')]
[no-exit-message]
demo *ARGS: (_require "postgresql") _debug
    @"${CARGO_TARGET_DIR:-target}/debug/dewey-sync" demo "$@"

# Creates, removes or lists this tool's objects in the target: `migrate up`, `down` or `status`
[group('database')]
[no-cd]
[no-exit-message]
migrate *ARGS: _release
    @{{ cargo_run }} migrate "$@"

# Generates the entities anew from a database that the migrations made
[group('database')]
entities: (_require "postgresql")
    DEWEY_UPDATE_ENTITIES=1 {{ drift_test }}

# Formats the code; `fmt --check` only looks
[group('check')]
fmt *ARGS:
    cargo fmt --all "$@"

# Clippy on everything, warnings are errors
[group('check')]
lint:
    cargo clippy --workspace --all-targets --locked -- --deny warnings
    cargo clippy --test faults --test schemas --test versions --test own_table --locked -- --deny warnings

# Builds the documentation, warnings are errors
[group('check')]
doc:
    RUSTDOCFLAGS='--deny warnings' cargo doc --workspace --no-deps --document-private-items --locked

# Licences, sources, duplicates and known advisories of every dependency
[group('check')]
deny: (_cargo "cargo-deny")
    cargo deny --locked check bans licenses sources
    @if cargo deny --locked fetch db; then \
        cargo deny --locked check --disable-fetch advisories; \
    else \
        echo 'warning: ADVISORIES WERE NOT CHECKED: their database on GitHub could not be fetched' >&2; \
    fi

drift_test := "cargo test --workspace --locked --test it entities_are_what_the_generator_makes"

# Whether the entities are what `entities` makes
[group('check')]
drift: (_require "postgresql")
    {{ drift_test }}

# While some tests wait for a time-out, others keep the processors busy.
export RUST_TEST_THREADS := env("RUST_TEST_THREADS", shell("echo $((2 * $1))", num_cpus()))

# Every test, on temporary servers; arguments go to `cargo test`
[group('test')]
test *ARGS: (_require "postgresql" "pgbouncer" "procps")
    cargo test --workspace --locked "$@"

# Every fault at every point; `--sample N --seed S`, `--only TEXT`, `--list`, `--write-readme`
[group('test')]
faults *ARGS: (_require "postgresql" "procps")
    cargo test --quiet --locked --test faults -- "$@"

# Random schemas around `"Book"`, 2,000 of them; `--cases N`, `--sample N`, `--seed N`, `--print`
[group('test')]
schemas *ARGS: (_require "postgresql")
    cargo test --quiet --locked --test schemas -- "$@"

# Syncs between PostgreSQL 13, 15 and 18, which are fetched into `target/postgresql`; `--settings`: hostile settings on them
[group('test')]
versions *ARGS: (_require "postgresql" "curl")
    .ci/servers target/postgresql
    DEWEY_TEST_SERVERS="$PWD/target/postgresql" cargo test --quiet --locked --test versions -- --nocapture \
        {{ if ARGS == "--settings" { "hostile_settings" } else { "awkward_books" } }}

# Whether one more column is a line of its role: adds it to a copy of the workspace and lets the compiler judge
[group('test')]
own-table:
    cargo test --quiet --locked --test own_table

# Feeds anything to the reading of URLs, for that many seconds or until something is found
[group('test')]
fuzz SECONDS="600": (_cargo "cargo-fuzz")
    rustup run nightly true || rustup toolchain install nightly --profile minimal
    mkdir -p target/fuzz/corpus
    cp Cargo.lock tests/fuzz/
    cargo +nightly fuzz run --fuzz-dir tests/fuzz --target-dir target/fuzz url target/fuzz/corpus tests/fuzz/corpus/url -- \
        -dict=tests/fuzz/url.dict -max_len=400 -max_total_time="$1"

# Time, memory and waits beside the ways this tool replaces; `quick`, numbers of books, `--only TEXT`, `--write-readme`
[group('test')]
bench *ARGS: (_require "postgresql")
    cargo bench --locked --bench bench -- "$@"

# Reviews the snapshots of tests that changed
[group('test')]
snapshots: (_require "postgresql" "pgbouncer" "procps") (_cargo "cargo-insta")
    cargo insta test --workspace --review

# Everything that decides whether work lands
ci:
    .ci/run

# With the features of the tests, so that `demo` and `test` share one build.
_debug:
    cargo build --workspace --locked --bin dewey-sync --test it

# Shows its progress; the first time takes minutes.
_release:
    @cargo build --locked --release

_require *PROGRAMS:
    @.ci/require "$@"

_cargo PROGRAM:
    @command -v "$1" >/dev/null || cargo install "$1" --locked

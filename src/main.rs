//! The program: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(dewey_sync::cli::main(std::env::args_os()))
}

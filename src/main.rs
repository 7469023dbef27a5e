//! The life of the program: arguments, configuration, logging, one command, an exit code.

use std::process::ExitCode;

use clap::Parser;
use restock::cli::Cli;

/// Two workers: Restock waits for engines, registries and children, and computes next to nothing; more would only cost
/// memory.
const WORKERS: usize = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(cli.run());
            // What still runs in the background has nothing left to say; it must not hold the program.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            eprintln!("error: the program's threads could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}

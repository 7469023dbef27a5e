//! The life of the program: arguments, configuration, logging, one command, an exit code.

use std::process::ExitCode;

use restock::cli::Cli;

/// One worker: Restock waits for engines, registries and children; what computes or blocks has threads of its own. A
/// second one waits for the sockets while the first works, and is woken for the same bytes: passing an image's archive on
/// costs half as much processor time again.
const WORKERS: usize = 1;

fn main() -> ExitCode {
    let cli = Cli::of_process();
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

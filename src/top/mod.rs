//! `pgweir top`: pools, clients, servers and throughput of a running pgweir or PgBouncer in a terminal, by its
//! console.
//!
//! [`table`] holds what a SHOW answers, [`rates`] what happened between two answers, [`views`] which of it is shown and
//! how, [`state`] what the keys have chosen: all of these are pure, and [`draw`] makes a picture of them. [`source`]
//! asks the console, [`screen`] owns the terminal. Columns are looked up by name, and left out where they are not, so
//! that it works with whatever version answers.

mod amounts;
mod draw;
mod options;
mod rates;
mod screen;
mod source;
mod state;
mod table;
mod views;

pub use options::{Options, TopError};

/// Shows it until it is told to stop, or prints it once.
///
/// # Errors
/// The console cannot be reached at all, or there is no terminal.
pub fn run(options: &Options) -> Result<(), TopError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(TopError::Io)?;
    let done = match options.once {
        true => runtime.block_on(screen::once(options)),
        false => runtime.block_on(screen::live(options)),
    };
    // The thread that reads keys waits for one more, and is not waited for.
    runtime.shutdown_background();
    done
}

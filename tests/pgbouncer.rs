//! A drop-in is judged by what clients see: the same scenarios are played to PgBouncer and to
//! pgweir, with the same `pgbouncer.ini`, and must come out the same.
//!
//! * `stage` starts both, `client` is who talks to them, `script` takes the steps and compares;
//! * `known` is the table of what differs and should: an entry that no longer differs fails, too;
//! * the scenarios are in the other modules. `PGWEIR_COMPARE_SHOW` prints what PgBouncer answers,
//!   `PGWEIR_COMPARE_LOG` both logs of a scenario that fails.

mod support;

#[path = "pgbouncer/client.rs"]
mod client;
#[path = "pgbouncer/commands.rs"]
mod commands;
#[path = "pgbouncer/console.rs"]
mod console;
#[path = "pgbouncer/hba.rs"]
mod hba;
#[path = "pgbouncer/known.rs"]
mod known;
#[path = "pgbouncer/limits.rs"]
mod limits;
#[path = "pgbouncer/listed.rs"]
mod listed;
#[path = "pgbouncer/load.rs"]
mod load;
#[path = "pgbouncer/logins.rs"]
mod logins;
#[path = "pgbouncer/modes.rs"]
mod modes;
#[path = "pgbouncer/reload.rs"]
mod reload;
#[path = "pgbouncer/restart.rs"]
mod restart;
#[path = "pgbouncer/script.rs"]
mod script;
#[path = "pgbouncer/stage.rs"]
mod stage;
#[path = "pgbouncer/startup.rs"]
mod startup;
#[path = "pgbouncer/tls.rs"]
mod tls;

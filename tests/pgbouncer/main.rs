//! A drop-in is judged by what clients see: the same scenarios are played to PgBouncer and to
//! pgweir, with the same `pgbouncer.ini`, and must come out the same.
//!
//! * `stage` starts both, `client` is who talks to them, `script` takes the steps and compares;
//! * `known` is the table of what differs and should: an entry that no longer differs fails, too;
//! * the scenarios are in the other modules. `PGWEIR_COMPARE_SHOW` prints what PgBouncer answers,
//!   `PGWEIR_COMPARE_LOG` both logs of a scenario that fails.

#[path = "../support/mod.rs"]
mod support;

mod client;
mod commands;
mod console;
mod hba;
mod known;
mod limits;
mod listed;
mod load;
mod logins;
mod modes;
mod reload;
mod restart;
mod script;
mod stage;
mod startup;
mod tls;

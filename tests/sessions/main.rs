//! What a client meets: modes, limits, prepared statements, startup, faults around one session.

#[path = "../support/mod.rs"]
mod support;

mod faults;
mod leak;
mod left_over;
mod limits;
mod listen;
mod listen_faults;
mod modes;
mod startup;
mod statements;
mod tokio_postgres;

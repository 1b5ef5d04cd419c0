//! For operators: the console (database `pgweir` or `pgbouncer`) and the HTTP port.

pub mod calendar;
pub mod command;
pub mod console;
pub mod http;
mod results;
mod session;
pub mod show;

//! What an operator does: start, configure, reload, upgrade, look at it, put several side by side.

#[path = "../support/mod.rs"]
mod support;

mod abstract_sockets;
mod alerts;
mod client_errors;
mod console;
mod dashboards;
mod deploy;
mod dns;
mod exports;
mod http;
mod ini;
mod lines;
mod logs;
mod metrics;
mod page;
mod peering;
mod reload;
mod start;
mod statements;
mod tools;
mod top;
mod upgrade;

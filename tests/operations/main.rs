//! What an operator does: start, configure, reload, upgrade, look at it, put several side by side.

#[path = "../support/mod.rs"]
mod support;

mod abstract_sockets;
mod alerts;
mod console;
mod deploy;
mod dns;
mod http;
mod ini;
mod peering;
mod reload;
mod start;
mod tools;
mod top;
mod upgrade;

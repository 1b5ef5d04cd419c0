//! The cache, through a real PostgreSQL and, where it is shared, a real Redis.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod cached;
mod check;
mod differential;
mod feeds;
mod memory;
mod rules;
mod shared;

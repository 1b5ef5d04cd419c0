//! The cache, through a real PostgreSQL and, where it is shared, a real Redis.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod cached;
mod check;
mod feeds;
mod measured;
mod rules;
mod shared;

//! pgweir: a PostgreSQL connection pooler and query cache.
//!
//! # The life of a query
//!
//! One transaction flows one way, and the modules read in that order:
//!
//! 1. [`listener`] accepts a connection; [`client::startup`] reads its first packets (TLS, cancel
//!    requests, startup parameters), [`client::auth`] finds out who it is, [`client::login`] lets
//!    it in. All that happens on the control runtime.
//! 2. From then on the client lives on one relay [`worker`], as a [`client::task::ClientTask`]: the
//!    spine of pgweir. Idle clients hold no buffers.
//! 3. When bytes arrive, [`session::detached`] answers what needs no server, and the [`cache`] what
//!    it remembers. Everything else makes the task ask its [`pool`] for a server connection: [`pool::core`] decides who gets which.
//! 4. [`session::upstream`] turns the client's messages into what this server connection must
//!    see: [`sql`] tells which texts touch session state ([`session::special`]), settings are
//!    replayed where they differ ([`session::settle`]), statements are prepared where they are not
//!    ([`session::held`]).
//! 5. [`session::downstream`] attributes each answer to what it answers ([`session::backlog`]) and
//!    forwards, hides or replaces it, errors in [`session::failure`]; [`session::effects`] notes
//!    what a completed statement has done. Bytes stay in their [`session::lane`] unless something
//!    has to be inserted.
//! 6. At the end of the transaction the connection goes back to the pool, if it is clean; what is
//!    not is cleaned or closed by [`pool::recycle`].
//!
//! `LISTEN` needs no connection of the pool: [`channels`] has one that listens for all of its clients.
//! Replication clients take a way of their own from 2. on: [`client::replication`].
//!
//! Beside the path: [`entrances`] holds the listening sockets, [`handover`] gives them and the clients
//! to a new process, [`peering`] passes on cancel requests that are for another one; [`server`] makes,
//! checks and cancels connections, to addresses that [`dns`] finds; [`config`] is read once and passed
//! on; [`statement_stats`] counts what statements take; [`admin`] answers the console and HTTP, [`health`] asks the
//! latter and [`top`] the former; [`app`] builds everything and handles signals.
//!
//! # Rules of the house
//!
//! [`protocol`], [`sql`], [`session`], [`auth`], [`pool::core`], [`pool::rate`], [`dns::cache`] and all of
//! [`cache`] are pure: no sockets, no clock, no configuration of their own. There is no global state; [`app`]
//! makes everything once and hands it on.

#![forbid(unsafe_code)]

pub mod admin;
pub mod app;
pub mod auth;
pub mod cache;
pub mod channels;
pub mod client;
pub mod config;
pub mod dns;
pub mod entrances;
pub mod feed;
pub mod handover;
pub mod health;
pub mod listener;
pub mod net;
pub mod peering;
pub mod pgbouncer;
pub mod pool;
pub mod process;
pub mod protocol;
pub mod server;
pub mod session;
pub mod shared;
pub mod sql;
pub mod statement_stats;
pub mod telemetry;
pub mod top;
pub mod worker;

//! The query cache: answers from memory that the server itself could have given.
//!
//! * What a text does, and whether its answer may be remembered: [`analysis`] makes [`facts`] of the
//!   text, [`catalog`] judges them by the server's catalogs, [`memo`] remembers what was [`judged`].
//! * What makes an answer outdated: a [`space`] is one database; each of its relations has a
//!   [`mark`], and the open transaction of a server connection its [`writes`]. Writes made elsewhere
//!   are told of by a feed that a database may [`follow`].
//! * What several instances share: [`packed`] entries in a second tier, and by way of the [`outbox`]
//!   what each has changed; [`crate::shared`] does the I/O, and a [`breaker`] stops it.
//! * What is remembered: [`entry`]s by [`key`] in the [`store`]; [`flight`]s are being asked for.
//! * [`pool`] is the cache as one pool sees it, by its [`rules`]; [`request`] finds requests that
//!   can be answered in what a client has sent. The client's task does the rest
//!   (`client::task::cached`), and `session::tracking` tells of writes.
//!
//! No I/O here: the pool's maintenance fetches the catalogs.

pub mod admission;
pub mod analysis;
pub mod breaker;
pub mod caches;
pub mod catalog;
pub mod counters;
pub mod entry;
pub mod facts;
pub mod fingerprint;
pub mod flight;
pub mod follow;
pub mod judged;
pub mod key;
pub mod mark;
pub mod memo;
pub mod outbox;
pub mod packed;
pub mod path;
pub mod planted;
pub mod pool;
pub mod request;
pub mod rules;
pub mod space;
pub mod store;
pub mod worth;
pub mod writes;

/// Identifies a relation or function on the server.
pub type Oid = u32;

//! A restart that nobody notices: a new process takes over the sockets of the running one.
//!
//! ```text
//!   new process                              running process
//!   HandOver, on the Unix socket ──────────>
//!       <─────────── Hello, each listening socket, Sockets
//!   builds everything, listens
//!   Ready ─────────────────────────────────> stops listening
//!       <─────────────── clients, one by one, as they come to rest
//!   a cancel request for one not here yet ─> finds it
//!       <────────────────────────── Done ─── ends
//! ```
//!
//! [`give`] is the side of the running process, [`take`] that of the new one, [`channel`] what lies
//! between, [`message`] what is said. Sessions are described by [`crate::session::portable`].
//!
//! Up to `Ready` nothing has changed for the running process, and when the new one is gone before
//! `Done`, it goes on as before. Clients move when they are in no transaction, with what they have
//! sent and nobody has looked at, and with the server connection that is theirs if they have one.
//! A connection under TLS cannot move: its keys are within the TLS library, and it gives them to
//! the kernel at most, which few have learned to take. Such a client has half of `upgrade_timeout`
//! to leave by itself, and is then told to at the end of its transaction.
//!
//! Neither process knows what the other's clients write, so as long as there are two, neither
//! answers from its cache.

pub mod channel;
pub mod give;
pub mod message;
pub mod take;

/// The processes must agree on it; to be raised when a message changes its meaning. What is only
/// added to a message does not count: it is named, and may be absent.
pub const VERSION: u32 = 1;

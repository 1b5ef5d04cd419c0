//! The query cache.

pub mod analysis;
pub mod entry;
pub mod facts;
pub mod flight;
pub mod key;
pub mod mark;
pub mod request;
pub mod space;
pub mod store;
pub mod writes;

/// Identifies a relation or function on the server.
pub type Oid = u32;

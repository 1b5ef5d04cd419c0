//! The query cache.

pub mod facts;

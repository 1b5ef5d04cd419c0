//! The client's side: from the accepted socket to the last message.
//!
//! [`startup`] and [`auth`] find out who it is, some by asking [`elsewhere`], [`login`] lets it in, [`task`] serves it.

pub mod auth;
pub mod cancel_key;
pub mod cancels;
pub mod directory;
pub mod elsewhere;
pub mod hashing;
pub mod info;
pub mod login;
pub mod replication;
pub mod startup;
pub mod task;
pub mod users;
pub mod whom;

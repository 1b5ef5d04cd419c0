//! Proving identity: secrets as stored, and the SCRAM and MD5 computations of both sides.
//!
//! Everything here is pure; the exchanges over a socket are in `client::auth` and `server::auth`.

pub mod attempts;
pub mod hba;
pub mod ldap;
pub mod md5;
mod salting;
mod saslprep;
pub mod scram;
pub mod scram_client;
pub mod secret;

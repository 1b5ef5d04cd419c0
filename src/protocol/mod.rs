//! The PostgreSQL frontend/backend protocol (PostgreSQL docs, chapter "Frontend/Backend Protocol").
//!
//! Everything here is pure: bytes in, values or bytes out. On the hot path only headers are looked
//! at ([`frame`]); a few messages are read inside ([`frontend`], [`backend`]) because their names
//! or tags decide something, and a few are made by us ([`encode`]). Everything else passes as
//! opaque bytes.

pub mod backend;
pub mod boundaries;
pub mod encode;
pub mod frame;
pub mod frontend;
pub mod proxy;
pub mod sqlstate;
pub mod startup;

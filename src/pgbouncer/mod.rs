//! Reading PgBouncer's configuration: `pgbouncer.ini` becomes the TOML that says the same, which is
//! then read like any other. So there is one set of settings with one meaning, and
//! `pgweir convert` prints what really runs.
//!
//! [`ini`] reads lines, [`settings`] knows the settings, [`convert`] writes TOML, [`load`] puts them
//! together.

pub mod convert;
mod entries;
pub mod ini;
pub mod load;
pub mod set;
pub mod settings;
mod toml;

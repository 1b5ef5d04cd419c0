//! Who may come in and how: passwords, hba rules, TLS, limits of logins, the PROXY protocol; and how
//! pgweir logs in to servers.

#[path = "../support/mod.rs"]
mod support;

mod auth;
mod ciphers;
mod hba;
mod login_limits;
mod proxy_protocol;
mod server_passwords;
mod tls;

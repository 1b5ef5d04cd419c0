//! Sockets: TCP or Unix, with or without TLS, and the TLS settings of both sides.

pub mod network;
pub mod stream;
pub mod tls_client;
pub mod tls_server;
pub mod unix;

//! What a session is, apart from its sockets: pure state, fed with messages, driven by
//! [`crate::client::task`].
//!
//! A client's [`client::ClientState`] outlives its transactions; a server connection's
//! [`server::ServerState`] outlives its clients. While one is lent to the other they are linked
//! ([`link`]): [`upstream`] turns the client's messages into what this server must see, after
//! [`settle`] has brought it to the client's settings, and with the prepared statements of
//! [`held`]; [`downstream`] turns the server's answers into what this client must see, errors in
//! [`failure`]. [`channels`] deals with `LISTEN`. [`lane`] holds the bytes, [`backlog`] the answers that are still
//! owed. [`counted`] takes down what statements take, [`told`] what the log may say of a request. [`unit`] is what
//! one request runs, `leash` ends a link behind one, [`memory`] says what a client may have
//! kept for it, and [`portable`] is all of it for another process.

pub mod backlog;
pub mod buffer;
pub mod channels;
pub mod client;
pub mod counted;
pub mod detached;
pub mod downstream;
pub mod effects;
pub mod failure;
pub mod fault;
pub mod held;
pub mod lane;
mod leash;
pub mod link;
pub mod memory;
pub mod pins;
pub mod portable;
pub mod recording;
pub mod reported;
pub mod server;
pub mod settings;
pub mod settle;
pub mod special;
pub mod statement;
pub mod told;
pub mod tracking;
pub mod unit;
pub mod upstream;

//! Who somebody is of whom there is no [`ClientInfo`](super::info::ClientInfo) yet, for the log.

use crate::server::connect::Address;

/// As it says itself: it may not have shown anything.
#[derive(Debug, Clone)]
pub struct Whom {
    /// From the same counter as clients' numbers.
    pub id: u64,
    pub peer: Address,
    pub database: String,
    pub user: String,
    /// Empty if it has given none.
    pub application: String,
}

/// Logs something about somebody who is no client yet, as `log_client!` does about a client.
macro_rules! log_whom {
    ($level:ident, $whom:expr, $($said:tt)+) => {{
        let whom: &$crate::client::whom::Whom = &$whom;
        tracing::$level!(client = whom.id, database = whom.database, user = whom.user,
            application = whom.application, peer = %whom.peer, $($said)+)
    }};
}
pub(crate) use log_whom;

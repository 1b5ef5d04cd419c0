//! Errors that no server has sent.

use crate::telemetry::counts::labels;

labels! {
    /// Why a client that had logged in was given an error by pgweir itself.
    Fault {
        /// The server cannot be reached, or lets nobody in.
        Outage = "outage",
        /// The server connection was lost under a statement or a transaction.
        ServerLost = "server_lost",
        QueryWaitTimeout = "query_wait_timeout",
        /// Of the settings with these names, and of the server's own on transactions.
        QueryTimeout = "query_timeout",
        TransactionTimeout = "transaction_timeout",
        IdleTransactionTimeout = "idle_transaction_timeout",
        ClientIdleTimeout = "client_idle_timeout",
        /// `max_queue`.
        Queue = "queue",
        /// `max_user_queue`.
        UserQueue = "user_queue",
        /// `early_refusal`.
        ExpectedWait = "expected_wait",
        /// `max_queries_per_second`.
        Rate = "rate",
        /// `max_client_memory` or `max_clients_memory`.
        Memory = "memory",
        /// Cancelled before the server had the request.
        Cancelled = "cancelled",
        /// A transaction block where there must be none.
        StatementMode = "statement_mode",
        /// Not the protocol, or what is not allowed in it.
        Protocol = "protocol",
        /// A prepared statement that there is not, or is already, or a command that cannot be passed on.
        Statement = "statement",
        /// Said in the server's place: its transaction has failed before.
        FailedTransaction = "failed_transaction",
        /// A setting of the session that the server takes no longer.
        Setting = "setting",
        /// The client takes its notifications too slowly, or cannot read them.
        Notifications = "notifications",
        Killed = "killed",
        ShuttingDown = "shutting_down",
        DatabaseGone = "database_gone",
    }
}

//! Every metric: name, kind, labels, meaning. The unit is the last word of the name (before `_total`). From
//! this the exposition takes names, and docs/observability.md its reference.

pub use super::family::{Counter, Gauge, Histogram, Kind, LabelName, Row, Seconds, Values};
use super::family::{Family, closed, families, open};
use crate::net::stream::Tls;
use crate::protocol::sqlstate::Class;
use crate::session::fault::Fault;
use crate::session::pins::Pin;
use crate::telemetry::counts::Label;
use crate::telemetry::events::{Cancel, Connect, Leave, Login, Reload, Retry, Timeout};
use crate::telemetry::refusals::Reason;

const DATABASE: LabelName = open("database", "the pool's database, as clients name it");
const USER: LabelName = open("user", "the pool's user on the server");
const HOST: LabelName = open("host", "a host of the configuration");
const PORT: LabelName = open("port", "its port");
const CLIENT_STATE: LabelName = closed("state", &["idle", "waiting", "active"]);
const SERVER_STATE: LabelName = closed("state", &["new", "idle", "active", "tested", "listening"]);
const POOL_STATE: LabelName = closed("state", &["connecting", "idle", "active"]);
const TLS: LabelName = closed("tls", Tls::LABELS);
const ROLE: LabelName = closed("role", &["unknown", "down", "primary", "replica"]);
const CONNECT: LabelName = closed("result", Connect::LABELS);
const BREAKER: LabelName = closed("state", &["closed", "open", "half-open"]);
const BYPASS: LabelName = closed("reason", &super::cache::BYPASS_REASONS);
const SERVER_DATABASE: LabelName = open(
    "server_database",
    "database of a server, as `app at db:5432`",
);
const CAUSE: LabelName = closed("cause", &["tables", "unknown", "flush", "in_doubt"]);
const WHAT: LabelName = closed(
    "what",
    &[
        "hits",
        "misses",
        "outdated",
        "stored",
        "dropped",
        "failures",
        "heard",
        "breaker_openings",
    ],
);

families! {
"Clients" {
    CLIENTS: Gauge "pgweir_clients" [CLIENT_STATE] "Clients by state.";
    CLIENTS_BY_TLS: Gauge "pgweir_clients_by_tls" [TLS] "Clients by what encrypts their connections.";
    CLIENTS_MAX: Gauge "pgweir_clients_max" [] "Most clients at once (max_client_conn).";
    CLIENTS_MEMORY: Gauge "pgweir_clients_memory_bytes" [] "What max_clients_memory limits: what clients make pgweir keep.";
    LOGIN_ATTEMPTS: Counter "pgweir_login_attempts_total" [closed("result", Login::LABELS)] "Connections of clients by how their login ended, the console's included; those that brought a cancel request are not.";
    DISCONNECTS: Counter "pgweir_client_disconnects_total" [closed("reason", Leave::LABELS)] "Clients that had logged in and are gone, by why.";
    REFUSALS: Counter "pgweir_refusals_total" [closed("reason", Reason::LABELS)] "Clients or requests refused by a limit.";
    CANCEL_REQUESTS: Counter "pgweir_cancel_requests_total" [closed("target", Cancel::LABELS)] "Cancel requests of clients by whom they were for.";
}
"Pools" {
    POOL_SIZE: Gauge "pgweir_pool_size" [DATABASE, USER] "Most server connections of a pool.";
    POOL_SERVERS: Gauge "pgweir_pool_servers" [DATABASE, USER, POOL_STATE] "Server connections of a pool by state, without those that its reads have on replicas.";
    POOL_UP: Gauge "pgweir_pool_up" [DATABASE, USER] "1 unless the server cannot be reached.";
    CLIENTS_WAITING: Gauge "pgweir_clients_waiting" [DATABASE, USER] "Clients waiting for a server connection.";
    WAIT_LONGEST: Gauge "pgweir_client_wait_longest_seconds" [DATABASE, USER] "How long the first in the queue has waited.";
    POOLS_NOT_SHOWN: Gauge "pgweir_pools_not_shown" [] "Pools beyond the number that is exported.";
    TRANSACTIONS: Counter "pgweir_transactions_total" [DATABASE, USER] "Transactions finished.";
    QUERIES: Counter "pgweir_queries_total" [DATABASE, USER] "Requests answered with ReadyForQuery.";
    ERRORS: Counter "pgweir_errors_total" [DATABASE, USER] "ErrorResponses from servers.";
    ASSIGNMENTS: Counter "pgweir_server_assignments_total" [DATABASE, USER] "Times that a server connection was given to a client.";
    CLIENT_RECEIVED: Counter "pgweir_client_received_bytes_total" [DATABASE, USER] "Bytes received from clients.";
    CLIENT_SENT: Counter "pgweir_client_sent_bytes_total" [DATABASE, USER] "Bytes sent to clients.";
    SERVER_RECEIVED: Counter "pgweir_server_received_bytes_total" [DATABASE, USER] "Bytes received from servers for clients.";
    SERVER_SENT: Counter "pgweir_server_sent_bytes_total" [DATABASE, USER] "Bytes sent to servers for clients.";
    LOGINS: Counter "pgweir_logins_total" [DATABASE, USER] "Clients logged in.";
    TIMEOUTS: Counter "pgweir_timeouts_total" [DATABASE, USER] "Timeouts enforced on clients that had logged in, or waited for a server connection to do so.";
    CANCELS: Counter "pgweir_cancels_total" [DATABASE, USER] "Cancel requests sent to servers.";
    PINS: Counter "pgweir_pins_total" [DATABASE, USER] "Transactions after which a client kept its server connection.";
    DISCARDS: Counter "pgweir_server_discards_total" [DATABASE, USER] "Server connections closed instead of reused.";
}
"Times" {
    CLIENT_WAIT: Histogram "pgweir_client_wait_seconds" [DATABASE, USER] "From a client's need of a server connection until it had one, which may be no time at all.";
    QUERY: Histogram "pgweir_query_seconds" [DATABASE, USER] "From the moment a client had a server connection for a request until ReadyForQuery.";
    SERVER: Histogram "pgweir_server_seconds" [DATABASE, USER] "From the last byte of a request sent to the server until ReadyForQuery: the time of PostgreSQL and of the network to it.";
    TRANSACTION: Histogram "pgweir_transaction_seconds" [DATABASE, USER] "From the moment a client had a server connection for a transaction until its end, pauses of the client included.";
    BUSY: Seconds "pgweir_worker_busy_seconds_total" [open("worker", "number of a relay worker")] "Time in which a relay worker did not just wait: what pgweir itself takes, system calls included.";
}
"Prepared statements" {
    CLIENT_PARSES: Counter "pgweir_client_parses_total" [DATABASE, USER] "Parse messages from clients.";
    SERVER_PARSES: Counter "pgweir_server_parses_total" [DATABASE, USER] "Parse messages sent to servers.";
    BINDS: Counter "pgweir_binds_total" [DATABASE, USER] "Bind messages from clients.";
    STATEMENT_HITS: Counter "pgweir_prepared_statement_hits_total" [DATABASE, USER] "Uses of a prepared statement that the server connection held already.";
    STATEMENT_MISSES: Counter "pgweir_prepared_statement_misses_total" [DATABASE, USER] "Uses of a prepared statement that had to be prepared on the server connection first.";
    STATEMENT_EVICTIONS: Counter "pgweir_prepared_statement_evictions_total" [DATABASE, USER] "Prepared statements closed on a server connection to make room for others (max_prepared_statements).";
    STATEMENTS_EVICTED: Counter "pgweir_statements_evicted_total" [] "Statements that were forgotten in the statistics (SHOW STATEMENTS) because others were used more.";
}
"Reads on replicas" {
    READS_REPLICA: Counter "pgweir_reads_to_replicas_total" [DATABASE, USER] "Reads that went to a replica.";
    READS_NOWHERE: Counter "pgweir_reads_without_replica_total" [DATABASE, USER] "Reads that stayed on the primary because no replica was there.";
    READS_OWN_WRITE: Counter "pgweir_reads_of_own_writes_total" [DATABASE, USER] "Reads that stayed on the primary because no replica was known to have what had been written.";
    NOT_READS: Counter "pgweir_not_reads_total" [DATABASE, USER] "Requests that were not found to be reads, of pools whose reads go to replicas.";
}
"LISTEN" {
    LISTEN_CHANNELS: Gauge "pgweir_listen_channels" [DATABASE, USER] "Channels that the pool's listening connection listens to for clients.";
    LISTEN_CLIENTS: Gauge "pgweir_listen_clients" [DATABASE, USER] "Clients that listen by the pool's listening connection.";
    NOTIFICATIONS_RECEIVED: Counter "pgweir_notifications_received_total" [DATABASE, USER] "Notifications that have come on the pool's listening connection.";
    NOTIFICATIONS_PASSED: Counter "pgweir_notifications_passed_total" [DATABASE, USER] "Notifications that were put aside for clients that listen.";
}
"What happens now and then" {
    ERRORS_BY_CLASS: Counter "pgweir_errors_by_class_total" [closed("class", Class::LABELS)] "ErrorResponses from servers by the class of their SQLSTATE.";
    CLIENT_ERRORS: Counter "pgweir_client_errors_total" [closed("reason", Fault::LABELS)] "Errors that clients that had logged in were given by pgweir itself, not by a server, by why.";
    TIMEOUTS_BY_KIND: Counter "pgweir_timeouts_by_kind_total" [closed("kind", Timeout::LABELS)] "Timeouts enforced on clients by which it was.";
    PINS_BY_REASON: Counter "pgweir_pins_by_reason_total" [closed("reason", &Pin::LABELS)] "Transactions after which a client kept its server connection, by why; once for each reason.";
    RETRIES: Counter "pgweir_retries_total" [closed("reason", Retry::LABELS)] "What was done once more that a client had asked for once.";
    RELOADS: Counter "pgweir_reloads_total" [closed("result", Reload::LABELS)] "Times that the configuration was to be read again.";
    CONFIGURED: Gauge "pgweir_config_last_reload_success_timestamp_seconds" [] "When the configuration that is in force was read.";
    CERTIFICATE: Gauge "pgweir_certificate_not_after_timestamp_seconds" [] "When the first certificate of client_tls.cert_file runs out.";
}
"Servers" {
    SERVERS: Gauge "pgweir_servers" [SERVER_STATE] "Server connections by state.";
    SERVERS_BY_TLS: Gauge "pgweir_servers_by_tls" [TLS] "Server connections by what encrypts them.";
    CONNECTS: Counter "pgweir_server_logins_total" [HOST, PORT, CONNECT] "Attempts to connect and log in, by how they ended.";
    BREAKER_CLOSED: Gauge "pgweir_host_breaker_closed" [HOST, PORT] "1 unless the host is left alone after failures.";
    BREAKER_STATE: Gauge "pgweir_host_breaker_state" [HOST, PORT, BREAKER] "1 for the state of the host's circuit breaker.";
    BREAKER_OPENED: Counter "pgweir_host_breaker_opened_total" [HOST, PORT] "Times that the host's circuit breaker has opened.";
    CONNECTING: Gauge "pgweir_host_connecting" [HOST, PORT] "Connections to the host that are in the making.";
    HOST_ROLE: Gauge "pgweir_host_role" [HOST, PORT, ROLE] "1 for what the host was last found to be.";
    HOST_LAG: Gauge "pgweir_host_lag_seconds" [HOST, PORT] "How far a replica is behind.";
}
"Cache" {
    CACHE_HITS: Counter "pgweir_cache_hits_total" [DATABASE, USER] "Requests answered from memory.";
    CACHE_HITS_IN_BLOCK: Counter "pgweir_cache_hits_in_block_total" [DATABASE, USER] "Of the hits, those inside a transaction block.";
    CACHE_STALE_HITS: Counter "pgweir_cache_stale_hits_total" [DATABASE, USER] "Of the hits, those given while a client was getting a new answer.";
    CACHE_ERROR_HITS: Counter "pgweir_cache_error_hits_total" [DATABASE, USER] "Of the hits, those that were errors.";
    CACHE_MISSES: Counter "pgweir_cache_misses_total" [DATABASE, USER] "Requests that could be answered from memory, but nothing was there.";
    CACHE_JOINED: Counter "pgweir_cache_joined_total" [DATABASE, USER] "Requests answered with what another client had asked for at the same time.";
    CACHE_STORED: Counter "pgweir_cache_stored_total" [DATABASE, USER] "Answers stored.";
    CACHE_OVERTAKEN: Counter "pgweir_cache_overtaken_total" [DATABASE, USER] "Answers not stored because a table had changed meanwhile.";
    CACHE_UNFIT: Counter "pgweir_cache_unfit_total" [DATABASE, USER] "Answers not stored because they cannot be given again or are too large.";
    CACHE_OUTDATED: Counter "pgweir_cache_outdated_total" [DATABASE, USER] "Entries found outdated by a write.";
    CACHE_EXPIRED: Counter "pgweir_cache_expired_total" [DATABASE, USER] "Entries found older than their time to live.";
    CACHE_HIT_AGE: Seconds "pgweir_cache_hit_age_seconds_total" [DATABASE, USER] "Age of the answers given from memory, summed up.";
    CACHE_FILL: Seconds "pgweir_cache_fill_seconds_total" [DATABASE, USER] "Time that it took to get the answers that were stored, summed up.";
    CACHE_BYPASSES: Counter "pgweir_cache_bypasses_total" [DATABASE, USER, BYPASS] "Requests not looked for in memory, by reason.";
    CACHE_INVALIDATIONS: Counter "pgweir_cache_invalidations_total" [SERVER_DATABASE, CAUSE] "Transactions and commands that made entries outdated, by cause.";
    CACHE_ENTRIES: Gauge "pgweir_cache_entries" [] "Entries stored.";
    CACHE_SIZE: Gauge "pgweir_cache_size_bytes" [] "Memory of the entries.";
    CACHE_MAX_SIZE: Gauge "pgweir_cache_max_size_bytes" [] "Most memory of the entries.";
    FEED_UP: Gauge "pgweir_cache_feed_up" [SERVER_DATABASE] "Whether the feed of writes made elsewhere is followed.";
    FEED_LAG: Gauge "pgweir_cache_feed_lag_seconds" [SERVER_DATABASE] "Age of the moment up to which all writes made elsewhere are known.";
    FEED_LOSSES: Counter "pgweir_cache_feed_losses_total" [SERVER_DATABASE] "How often the feed of writes made elsewhere was lost.";
    FEED_EVENTS: Counter "pgweir_cache_feed_events_total" [SERVER_DATABASE] "Changes of a table that the feed has told of.";
    SHARED_UP: Gauge "pgweir_cache_shared_up" [] "Whether other instances are heard.";
    SHARED_LAG: Gauge "pgweir_cache_shared_lag_seconds" [] "Age of the moment up to which all writes of other instances are known.";
    SHARED: Counter "pgweir_cache_shared_total" [WHAT] "What the shared cache has done, by what.";
}
"What pgweir tells others" {
    LOG_LINES_LEFT_OUT: Counter "pgweir_log_lines_left_out_total" [] "Log lines that were not written: too many of their kind.";
    LOG_LINES_LOST: Counter "pgweir_log_lines_lost_total" [] "Log lines that were not written: they came faster than they could be.";
    ERROR_REPORTS_DROPPED: Counter "pgweir_error_reports_dropped_total" [] "Reports of errors that did not reach Sentry.";
    TRACED: Counter "pgweir_traced_transactions_total" [] "Transactions whose spans were taken by the receiver.";
    TRACED_DROPPED: Counter "pgweir_traced_transactions_dropped_total" [] "Transactions whose spans did not reach the receiver.";
}
"Process" {
    BUILD: Gauge "pgweir_build_info" [open("version", "the version")] "Always 1; the label tells the version.";
    CPU: Seconds "process_cpu_seconds_total" [] "Processor time of the process, in user and in system mode.";
    RESIDENT: Gauge "process_resident_memory_bytes" [] "Resident memory.";
    VIRTUAL: Gauge "process_virtual_memory_bytes" [] "Virtual memory.";
    OPEN_FDS: Gauge "process_open_fds" [] "Open file descriptors.";
    MAX_FDS: Gauge "process_max_fds" [] "Most open file descriptors.";
    STARTED: Gauge "process_start_time_seconds" [] "When the process was started, in seconds since 1970.";
    THREADS: Gauge "process_threads" [] "Threads.";
}
}

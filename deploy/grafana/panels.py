"""What the dashboards show. In queries, $POOL and $INSTANCE stand for what chooses series by the variables."""

from dataclasses import dataclass


@dataclass
class Panel:
    title: str
    unit: str
    # Query and legend of each.
    queries: list
    # What it is, and what to do about it.
    description: str
    # Where it becomes yellow and red, or only red.
    limits: tuple = ()
    kind: str = "timeseries"
    stacked: bool = False


def graph(title, unit, description, *queries, **more):
    return Panel(title, unit, queries, description, **more)


def stat(title, unit, description, query, **more):
    return Panel(title, unit, [(query, more.pop("legend", ""))], description, kind="stat", **more)


def rate(metric, by="", of="$POOL"):
    by = f" by ({by})" if by else ""
    return f"sum{by} (rate({metric}{{{of}}}[$__rate_interval]))"


def quantile(q, metric, by=""):
    by = f"{by}, le" if by else "le"
    return f"histogram_quantile({q}, sum by ({by}) (rate({metric}_bucket{{$POOL}}[$__rate_interval])))"


def of_process(metric, by):
    return f"sum by ({by}) (rate({metric}{{$INSTANCE}}[$__rate_interval]))"


PAIR = "database, user"
NAME = "{{database}}/{{user}}"
RUNBOOK = "Runbook: docs/runbook.md#"
HITS = rate("pgweir_cache_hits_total")
LOOKED_FOR = f"({HITS} + {rate('pgweir_cache_misses_total')} + {rate('pgweir_cache_joined_total')})"
USED = 'sum by (database, user) (pgweir_pool_servers{$POOL,state="active"})'
SIZE = "sum by (database, user) (pgweir_pool_size{$POOL})"


def quantiles(title, metric, description):
    return graph(title, "s", description, *[(quantile(q, metric), f"{int(q * 100)} %") for q in (0.5, 0.95, 0.99)])


OVERVIEW = [
    [
        stat("Up", "short", f"Instances that Prometheus gets an answer from. {RUNBOOK}pgweirdown", 'sum(up{job="pgweir",$INSTANCE})', limits=(1, 0.5)),
        stat("Pools down", "short", f"Pools whose server cannot be reached. {RUNBOOK}pgweirpooldown", "count(pgweir_pool_up{$POOL}) - sum(pgweir_pool_up{$POOL})", limits=(1,)),
        stat("Clients", "short", "Clients that have logged in.", "sum(pgweir_clients{$INSTANCE})"),
        stat("Waiting", "short", f"Clients that wait for a server connection. {RUNBOOK}pgweirqueuebuilding", "sum(pgweir_clients_waiting{$POOL})", limits=(1, 50)),
        stat("Queries", "reqps", "Requests answered by servers and from memory.", rate("pgweir_queries_total")),
        stat("Answered from memory", "percentunit", "Of the requests that the cache looked for: see the dashboard cache.", f"{HITS} / {LOOKED_FOR}"),
    ],
    [
        graph("Queries and transactions", "reqps", "By instance.", (rate("pgweir_queries_total", "instance"), "queries {{instance}}"), (rate("pgweir_transactions_total", "instance"), "transactions {{instance}}")),
        graph("Errors", "reqps", f"ErrorResponses of servers, whatever they are, and errors that clients had from pgweir itself: the dashboard of errors has their classes and reasons. {RUNBOOK}pgweirerrorbudgetburn", (rate("pgweir_errors_total", "instance"), "servers {{instance}}"), (of_process("pgweir_client_errors_total", "instance"), "pgweir {{instance}}")),
    ],
    [
        graph("99 % take at most", "s", f"Waiting for a server connection, and the query once there is one. {RUNBOOK}pgweirwaitslow", (quantile(0.99, "pgweir_client_wait_seconds"), "wait"), (quantile(0.99, "pgweir_query_seconds"), "query"), (quantile(0.99, "pgweir_server_seconds"), "of it PostgreSQL and network")),
        graph("Where time goes, per query", "s", "On average. What pgweir itself takes is in microseconds; if it is not, see the dashboard of capacity.", ("sum(rate(pgweir_server_seconds_sum{$POOL}[$__rate_interval])) / sum(rate(pgweir_server_seconds_count{$POOL}[$__rate_interval]))", "PostgreSQL and network"), ("sum(rate(pgweir_worker_busy_seconds_total{$INSTANCE}[$__rate_interval])) / sum(rate(pgweir_queries_total{$INSTANCE}[$__rate_interval]))", "pgweir, all pools")),
    ],
    [
        graph("Clients", "short", "By what they do.", ("sum by (state) (pgweir_clients{$INSTANCE})", "{{state}}"), stacked=True),
        graph("Server connections", "short", "By what they do.", ("sum by (state) (pgweir_servers{$INSTANCE})", "{{state}}"), stacked=True),
        graph("Traffic with clients", "Bps", "Between pgweir and its clients.", (rate("pgweir_client_received_bytes_total"), "received"), (rate("pgweir_client_sent_bytes_total"), "sent")),
    ],
]

POOLS = [
    [
        graph("Queries", "reqps", "By pool.", (rate("pgweir_queries_total", PAIR), NAME)),
        graph("Transactions", "reqps", "By pool.", (rate("pgweir_transactions_total", PAIR), NAME)),
    ],
    [
        graph("Clients waiting", "short", f"For a server connection. {RUNBOOK}pgweirqueuebuilding", (f"sum by ({PAIR}) (pgweir_clients_waiting{{$POOL}})", NAME)),
        graph("The first in the queue has waited", "s", f"Right now. {RUNBOOK}pgweirwaitlong", (f"max by ({PAIR}) (pgweir_client_wait_longest_seconds{{$POOL}})", NAME), limits=(1, 5)),
        graph("Use of the pool", "percentunit", f"Server connections in use, of pool_size. Near 100 % with clients that wait: shorter transactions, or a larger pool if PostgreSQL has room. {RUNBOOK}pgweirpoolexhausted", (f"{USED} / {SIZE}", NAME), limits=(0.8, 0.95)),
    ],
    [
        graph("99 % wait at most", "s", f"For a server connection. {RUNBOOK}pgweirwaitslow", (quantile(0.99, "pgweir_client_wait_seconds", PAIR), NAME)),
        graph("99 % of queries take at most", "s", "Waiting not included. SHOW STATEMENTS has the statements.", (quantile(0.99, "pgweir_query_seconds", PAIR), NAME)),
        graph("99 % of transactions take at most", "s", "With the client's pauses. Much longer than the queries: clients do other things inside of transactions.", (quantile(0.99, "pgweir_transaction_seconds", PAIR), NAME)),
    ],
    [
        graph("Server connections", "short", "By what they do.", (f"sum by ({PAIR}, state) (pgweir_pool_servers{{$POOL}})", NAME + " {{state}}")),
        graph("Up", "short", f"0: no server can be reached. {RUNBOOK}pgweirpooldown", (f"min by ({PAIR}) (pgweir_pool_up{{$POOL}})", NAME)),
        graph("Errors", "reqps", "ErrorResponses of servers.", (rate("pgweir_errors_total", PAIR), NAME)),
    ],
    [
        graph("Server connections given out", "ops", "To clients.", (rate("pgweir_server_assignments_total", PAIR), NAME)),
        graph("Server connections closed instead of reused", "ops", "Old ones, and those that a client left in no good state. Many: PostgreSQL forks all the time.", (rate("pgweir_server_discards_total", PAIR), NAME)),
        graph("Pinned", "ops", "Transactions after which a client kept its server connection: the dashboard of errors has them.", (rate("pgweir_pins_total", PAIR), NAME)),
    ],
    [
        graph("Traffic with servers", "Bps", "By pool.", (rate("pgweir_server_received_bytes_total", PAIR), NAME + " received"), (rate("pgweir_server_sent_bytes_total", PAIR), NAME + " sent")),
        graph("Prepared statements found", "percentunit", "Uses of a prepared statement that the server connection held already. Low, with evictions: raise max_prepared_statements.", (f"{rate('pgweir_prepared_statement_hits_total', PAIR)} / ({rate('pgweir_prepared_statement_hits_total', PAIR)} + {rate('pgweir_prepared_statement_misses_total', PAIR)})", NAME)),
        graph("Prepared statements evicted", "ops", "Closed on a server connection to make room (max_prepared_statements).", (rate("pgweir_prepared_statement_evictions_total", PAIR), NAME)),
    ],
    [
        graph("Reads", "reqps", "Of pools with replicas: where reads went.", (rate("pgweir_reads_to_replicas_total"), "to replicas"), (rate("pgweir_reads_without_replica_total"), "no replica was there"), (rate("pgweir_reads_of_own_writes_total"), "had to see own writes"), (rate("pgweir_not_reads_total"), "not found to be reads")),
        graph("Replicas are behind", "s", f"With replicas only. {RUNBOOK}pgweirreplicalag", ("max by (host, port) (pgweir_host_lag_seconds{$INSTANCE})", "{{host}}:{{port}}")),
        graph("LISTEN", "short", "Clients and channels of the pools' listening connections.", ("sum(pgweir_listen_clients{$POOL})", "clients"), ("sum(pgweir_listen_channels{$POOL})", "channels")),
        graph("Notifications", "ops", "Come from servers, and passed on to clients.", (rate("pgweir_notifications_received_total"), "received"), (rate("pgweir_notifications_passed_total"), "passed on")),
    ],
]

CACHE = [
    [
        stat("Answered from memory", "percentunit", "Of the requests that were looked for.", f"{HITS} / {LOOKED_FOR}"),
        stat("Entries", "short", "Stored now, of all pools.", "sum(pgweir_cache_entries{$INSTANCE})"),
        stat("Memory used", "percentunit", "Of the size that is allowed. Full is normal; full with a low ratio of hits: raise it.", "sum(pgweir_cache_size_bytes{$INSTANCE}) / sum(pgweir_cache_max_size_bytes{$INSTANCE})"),
        stat("Time of servers saved", "s", "Each second: hits, times what it took on average to get an answer.", f"{HITS} * {rate('pgweir_cache_fill_seconds_total')} / {rate('pgweir_cache_stored_total')}"),
    ],
    [
        graph("Requests", "reqps", "Joined: answered with what another client had asked for at the same time.", (HITS, "hits"), (rate("pgweir_cache_misses_total"), "misses"), (rate("pgweir_cache_joined_total"), "joined"), (rate("pgweir_cache_bypasses_total"), "not looked for"), stacked=True),
        graph("Answered from memory, by pool", "percentunit", "Of the requests that were looked for.", (f"{rate('pgweir_cache_hits_total', PAIR)} / ({rate('pgweir_cache_hits_total', PAIR)} + {rate('pgweir_cache_misses_total', PAIR)} + {rate('pgweir_cache_joined_total', PAIR)})", NAME)),
    ],
    [
        graph("Not looked for, by reason", "reqps", "docs/cache.md has the reasons.", (rate("pgweir_cache_bypasses_total", "reason"), "{{reason}}")),
        graph("Answers that came", "ops", "Overtaken: a table had changed meanwhile. Unfit: too large, or not to be given again.", (rate("pgweir_cache_stored_total"), "stored"), (rate("pgweir_cache_overtaken_total"), "overtaken"), (rate("pgweir_cache_unfit_total"), "unfit")),
    ],
    [
        graph("Invalidations, by cause", "ops", "Transactions and commands that made entries outdated. Many of cause unknown: writes that could not be told apart.", (of_process("pgweir_cache_invalidations_total", "server_database, cause"), "{{server_database}} {{cause}}")),
        graph("Entries that were of no use", "ops", "Found outdated by a write, or older than their time to live.", (rate("pgweir_cache_outdated_total"), "outdated"), (rate("pgweir_cache_expired_total"), "expired")),
        graph("Special hits", "reqps", "Of the hits.", (rate("pgweir_cache_hits_in_block_total"), "in a block"), (rate("pgweir_cache_stale_hits_total"), "stale"), (rate("pgweir_cache_error_hits_total"), "errors")),
    ],
    [
        graph("Age of answers from memory", "s", "On average.", (f"{rate('pgweir_cache_hit_age_seconds_total', PAIR)} / {rate('pgweir_cache_hits_total', PAIR)}", NAME)),
        graph("Time to get an answer that was stored", "s", "On average: what a hit saves.", (f"{rate('pgweir_cache_fill_seconds_total', PAIR)} / {rate('pgweir_cache_stored_total', PAIR)}", NAME)),
        graph("Memory", "bytes", "Of the entries, and the most it may be.", ("sum by (instance) (pgweir_cache_size_bytes{$INSTANCE})", "{{instance}}"), ("sum by (instance) (pgweir_cache_max_size_bytes{$INSTANCE})", "{{instance}} at most")),
    ],
    [
        graph("Shared cache", "ops", "With [cache.shared] only: what it has done.", (of_process("pgweir_cache_shared_total", "what"), "{{what}}")),
        graph("Writes of other instances are known up to", "s", f"With [cache.shared] only: this long ago. {RUNBOOK}pgweircacheshareddown", ("max by (instance) (pgweir_cache_shared_lag_seconds{$INSTANCE})", "{{instance}}")),
        graph("Other instances are heard", "short", f"With [cache.shared] only; 0: they are not. {RUNBOOK}pgweircacheshareddown", ("min by (instance) (pgweir_cache_shared_up{$INSTANCE})", "{{instance}}")),
    ],
    [
        graph("Writes made elsewhere are known up to", "s", f"With feeds only (invalidation): this long ago. {RUNBOOK}pgweircachefeedlost", ('max by (instance, server_database) (pgweir_cache_feed_lag_seconds{$INSTANCE})', "{{instance}} {{server_database}}")),
        graph("Feeds are followed", "short", f"With feeds only; 0: it is not, and the cache is not asked. {RUNBOOK}pgweircachefeedlost", ('min by (instance, server_database) (pgweir_cache_feed_up{$INSTANCE})', "{{instance}} {{server_database}}")),
        graph("What feeds tell of", "ops", "With feeds only: changes of tables, and how often a feed was lost.", ('sum by (server_database) (rate(pgweir_cache_feed_events_total{$INSTANCE}[$__rate_interval]))', "{{server_database}} changes"), ('sum by (server_database) (rate(pgweir_cache_feed_losses_total{$INSTANCE}[$__rate_interval]))', "{{server_database}} lost")),
    ],
]

ERRORS = [
    [
        graph("Errors of pgweir itself, by reason", "reqps", f"What clients that had logged in were told instead of an answer. {RUNBOOK}pgweirerrorbudgetburn", (of_process("pgweir_client_errors_total", "reason"), "{{reason}}")),
        graph("Errors of servers, by class", "reqps", "Classes of SQLSTATE; 53, 57, 58 and XX are about resources, shutdowns and the system.", (of_process("pgweir_errors_by_class_total", "class") + " > 0", "{{class}}")),
        graph("Timeouts, by kind", "reqps", "Of the settings of that name.", (of_process("pgweir_timeouts_by_kind_total", "kind"), "{{kind}}")),
        graph("Refused, by reason", "reqps", f"By a limit. {RUNBOOK}pgweirqueuerefusing", (of_process("pgweir_refusals_total", "reason"), "{{reason}}")),
    ],
    [
        graph("Logins, by how they ended", "reqps", f"The console's included. {RUNBOOK}pgweirloginsfailing", (of_process("pgweir_login_attempts_total", "result"), "{{result}}")),
        graph("Clients gone, by why", "reqps", "Those that had logged in.", (of_process("pgweir_client_disconnects_total", "reason"), "{{reason}}")),
        graph("Pinned, by reason", "ops", "What clients did that keeps their server connection: docs/session-state.md.", (of_process("pgweir_pins_by_reason_total", "reason"), "{{reason}}")),
    ],
    [
        graph("Logins at servers, by result", "ops", f"By host. {RUNBOOK}pgweirpooldown", (of_process("pgweir_server_logins_total", "host, port, result"), "{{host}}:{{port}} {{result}}")),
        graph("Circuit breakers", "short", f"0: the host is left alone after failures. {RUNBOOK}pgweirbreakeropen", ("min by (host, port) (pgweir_host_breaker_closed{$INSTANCE})", "{{host}}:{{port}}")),
        graph("Done once more, cancelled", "ops", "Retries by reason, and cancel requests by whom they were for.", (of_process("pgweir_retries_total", "reason"), "again: {{reason}}"), (of_process("pgweir_cancel_requests_total", "target"), "cancel: {{target}}")),
    ],
    [
        quantiles("Wait for a server connection", "pgweir_client_wait_seconds", f"Of the requests. {RUNBOOK}pgweirwaitslow"),
        quantiles("Query", "pgweir_query_seconds", "From the server connection to ReadyForQuery."),
    ],
    [
        quantiles("PostgreSQL and the network to it", "pgweir_server_seconds", "From the last byte of the request. As long as the query: it is not pgweir and not the client."),
        quantiles("Transaction", "pgweir_transaction_seconds", "With the client's pauses."),
    ],
    [
        Panel("Queries by time", "s", [("sum by (le) (increase(pgweir_query_seconds_bucket{$POOL}[$__rate_interval]))", "{{le}}")], "How many took how long.", kind="heatmap"),
        Panel("Waits by time", "s", [("sum by (le) (increase(pgweir_client_wait_seconds_bucket{$POOL}[$__rate_interval]))", "{{le}}")], "How many waited how long.", kind="heatmap"),
    ],
]

CAPACITY = [
    [
        stat("Clients", "percentunit", f"Of max_client_conn, where most. {RUNBOOK}pgweirclientlimit", "max(sum by (instance) (pgweir_clients{$INSTANCE}) / sum by (instance) (pgweir_clients_max{$INSTANCE}))", limits=(0.7, 0.9)),
        stat("Busiest worker", "percentunit", "Of its time. Near 100 %: more workers, if there are processors.", "max(rate(pgweir_worker_busy_seconds_total{$INSTANCE}[$__rate_interval]))", limits=(0.7, 0.9)),
        stat("File descriptors", "percentunit", "Of those allowed, where most. LimitNOFILE raises it.", "max(process_open_fds{$INSTANCE} / process_max_fds{$INSTANCE})", limits=(0.7, 0.9)),
        stat("Fullest pool", "percentunit", "Server connections in use, of pool_size.", f"max({USED} / {SIZE})", limits=(0.8, 0.95)),
        stat("Certificate runs out in", "s", f"client_tls.cert_file. {RUNBOOK}pgweircertificateexpires", "min(pgweir_certificate_not_after_timestamp_seconds{$INSTANCE} - time())", limits=(2592000, 604800)),
        stat("Running for", "s", "The youngest process.", "time() - max(process_start_time_seconds{$INSTANCE})"),
    ],
    [
        graph("Workers", "percentunit", "How much of its time each is busy.", ("sum by (instance, worker) (rate(pgweir_worker_busy_seconds_total{$INSTANCE}[$__rate_interval]))", "{{instance}} {{worker}}"), limits=(0.7, 0.9)),
        graph("Processors", "short", "Processors that the process keeps busy.", (of_process("process_cpu_seconds_total", "instance"), "{{instance}}")),
        graph("Memory", "bytes", f"Resident; and of it, what clients make pgweir keep, and the cache. {RUNBOOK}pgweirmemorylimit", ("sum by (instance) (process_resident_memory_bytes{$INSTANCE})", "{{instance}} resident"), ("sum by (instance) (pgweir_clients_memory_bytes{$INSTANCE})", "{{instance}} clients"), ("sum by (instance) (pgweir_cache_size_bytes{$INSTANCE})", "{{instance}} cache")),
    ],
    [
        graph("Clients", "short", f"And max_client_conn. {RUNBOOK}pgweirclientlimit", ("sum by (instance) (pgweir_clients{$INSTANCE})", "{{instance}}"), ("sum by (instance) (pgweir_clients_max{$INSTANCE})", "{{instance}} at most")),
        graph("Logins", "reqps", "Many, for few clients: applications connect for each request.", (rate("pgweir_logins_total", "instance"), "{{instance}}")),
        graph("Use of pools", "percentunit", "Server connections in use, of pool_size.", (f"{USED} / {SIZE}", NAME), limits=(0.8, 0.95)),
    ],
    [
        graph("Roles of hosts", "short", f"What each was last found to be, by how many instances. {RUNBOOK}pgweirnoprimary", ("sum by (host, port, role) (pgweir_host_role{$INSTANCE}) > 0", "{{host}}:{{port}} {{role}}")),
        graph("Connections in the making", "short", "To each host.", ("sum by (host, port) (pgweir_host_connecting{$INSTANCE})", "{{host}}:{{port}}")),
        graph("File descriptors", "short", "Open.", ("sum by (instance) (process_open_fds{$INSTANCE})", "{{instance}}")),
        graph("Threads", "short", "Of the process.", ("sum by (instance) (process_threads{$INSTANCE})", "{{instance}}")),
    ],
    [
        graph("Encryption", "short", "Connections by what encrypts them.", ("sum by (tls) (pgweir_clients_by_tls{$INSTANCE})", "clients {{tls}}"), ("sum by (tls) (pgweir_servers_by_tls{$INSTANCE})", "servers {{tls}}")),
        graph("Reloads", "short", "Of the configuration, within an hour, by result. A failure leaves the old one in force; the log has the line.", ("sum by (instance, result) (increase(pgweir_reloads_total{$INSTANCE}[1h]))", "{{instance}} {{result}}")),
        graph("Versions", "short", "How many instances run each.", ("count by (version) (pgweir_build_info{$INSTANCE})", "{{version}}")),
    ],
    [
        graph("What was not told", "ops", "Log lines left out, because there were too many of their kind, and lost, because they came too fast. With [sentry] and [traces] only: reports of errors, and transactions, that did not reach their receiver.", (of_process("pgweir_log_lines_left_out_total", "instance"), "{{instance}} log lines left out"), (of_process("pgweir_log_lines_lost_total", "instance"), "{{instance}} log lines lost"), (of_process("pgweir_error_reports_dropped_total", "instance"), "{{instance}} error reports"), (of_process("pgweir_traced_transactions_dropped_total", "instance"), "{{instance}} traced transactions")),
        graph("Pools not shown", "short", "Beyond the 1,000 that have metrics; what they do is in no panel that is by pool.", ("sum by (instance) (pgweir_pools_not_shown{$INSTANCE})", "{{instance}}")),
    ],
]

DASHBOARDS = [
    ("overview", "overview", "Whether all is well.", OVERVIEW),
    ("pools", "pools", "Load, waiting and server connections by pool.", POOLS),
    ("cache", "cache", "What is answered from memory, and why the rest is not.", CACHE),
    ("errors", "errors and latency", "What goes wrong, and how long things take.", ERRORS),
    ("capacity", "capacity", "How near the limits are.", CAPACITY),
]

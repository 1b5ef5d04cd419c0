//! The configuration of an empty file: the one place where defaults are written.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::auth::attempts::Rules;
use crate::config::{
    Auth, AuthType, CacheLimits, CacheSettings, ClientTls, Config, Consistency, Database, Facility,
    FeedSettings, Host, Http, Invalidation, Listen, ListenChannels, Log, LogStyle, Login, PoolMode,
    RowSecurity, SentrySettings, ServerSettings, ServerTls, SessionStatePolicy, SharedCache,
    SslMode, StartupRules, Timeouts, TlsProtocols, TraceSettings, User,
};

use crate::config::tls::TlsChoice;
use crate::config::{
    Balance, FairBy, HostLimits, OverRate, Peering, Priority, Queue, ReadYourWrites, Reads,
    RoleSettings,
};
use crate::dns::DnsSettings;
use crate::dns::cache::Limits;

const OFF: Duration = Duration::ZERO;
const ALL_PROTOCOLS: TlsProtocols = TlsProtocols {
    tls12: true,
    tls13: true,
};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Not a configuration to run with: it has no pools.
pub(in crate::config) fn config(path: &Path, cores: usize) -> Config {
    Config {
        path: path.to_owned(),
        listen: listen(),
        // docs/decisions/0001: more of them cost CPU long before one is too few.
        workers: cores.div_ceil(2),
        max_client_conn: 10_000,
        max_server_conn: 0,
        host_limits: HostLimits {
            max_connecting: 64,
            failures: 5,
            max_delay: seconds(1),
        },
        server_fast_close: false,
        // The length field of a message is a signed 32-bit number (PostgreSQL docs, "Message
        // Formats"), so there is nothing larger.
        max_packet_size: i32::MAX as usize,
        max_client_memory: 256 << 20,
        max_clients_memory: 4 << 30,
        max_counted_statements: 1000,
        pidfile: None,
        user: None,
        stats_period: seconds(60),
        suspend_timeout: seconds(10),
        autodb_idle_timeout: seconds(3600),
        pool_idle_timeout: OFF,
        startup: StartupRules::default(),
        dns: DnsSettings {
            limits: Limits {
                max_ttl: seconds(15),
                nothing: seconds(15),
            },
            zone_check_period: OFF,
            resolv_conf: None,
        },
        shutdown_timeout: seconds(30),
        upgrade_timeout: seconds(60),
        log: Log {
            level: "info".to_owned(),
            connections: true,
            disconnections: true,
            pooler_errors: true,
            stats: true,
            style: LogStyle::Text,
            file: None,
            syslog: false,
            syslog_ident: "pgweir".to_owned(),
            syslog_facility: Facility::Daemon,
            max_lines_per_second: 200,
            slow_query: OFF,
            statement_length: 1024,
        },
        sentry: SentrySettings {
            dsn: None,
            environment: String::new(),
        },
        traces: TraceSettings {
            endpoint: None,
            headers: Vec::new(),
            sample: 0.1,
            service_name: "pgweir".to_owned(),
        },
        http: None,
        client_tls: ClientTls {
            mode: SslMode::Disable,
            protocols: ALL_PROTOCOLS,
            choice: TlsChoice::default(),
            key_file: None,
            cert_file: None,
            ca_file: None,
        },
        auth: Auth {
            auth_type: AuthType::ScramSha256,
            file: None,
            allow_cleartext: false,
            hba_file: None,
            hba: Default::default(),
            ident_file: None,
            ident: Default::default(),
            scram_iterations: crate::auth::scram::ITERATIONS,
            ldap: None,
            // What is set up for PgBouncer goes on working.
            pam_service: "pgbouncer".to_owned(),
            query: None,
            user: None,
            dbname: None,
            query_ttl: seconds(10),
        },
        login: Login {
            rules: Rules {
                user_failures: 0,
                address_failures: 0,
                window: seconds(60),
                backoff: seconds(1),
                max_backoff: seconds(900),
            },
            max_half_open: 0,
            allow: Vec::new(),
            deny: Vec::new(),
        },
        peering: Peering::default(),
        cache: CacheLimits {
            shared: None,
            max_size: 256 * 1024 * 1024,
            idle_timeout: seconds(600),
        },
        databases: Default::default(),
        fallback: None,
        pool_defaults: Arc::new(database()),
        users: Default::default(),
        applications: Default::default(),
        source: Default::default(),
        oddities: Vec::new(),
        pgbouncer: None,
        default_user: Arc::new(User::default()),
        admin_users: Vec::new(),
        stats_users: Vec::new(),
    }
}

/// `[http]` with nothing in it; without the section there is no HTTP.
pub(super) fn http() -> Http {
    Http {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9127)),
        password: None,
        admin_password: None,
        names: Vec::new(),
        ready_without_servers: false,
    }
}

fn listen() -> Listen {
    let port = 6432;
    Listen {
        tcp: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))],
        port,
        unix_socket_dir: Some(PathBuf::from("/tmp")),
        unix_socket_mode: 0o777,
        unix_socket_group: None,
        reuse_port: false,
        tcp_socket_buffer: None,
        // What the kernel cuts larger values to, unless net.core.somaxconn says otherwise.
        backlog: 4096,
        tcp_keepalive: true,
        tcp_keepidle: None,
        tcp_keepintvl: None,
        tcp_keepcnt: None,
        tcp_user_timeout: None,
        proxy_protocol: Vec::new(),
    }
}

fn database() -> Database {
    Database {
        name: String::new(),
        host: Host::Tcp("127.0.0.1".to_owned()),
        more_hosts: Vec::new(),
        load_balance_hosts: Balance::RoundRobin,
        port: 5432,
        placed: Vec::new(),
        roles: RoleSettings {
            target: None,
            probe_interval: seconds(1),
            max_lag: seconds(10),
            reads: Reads::Off,
            read_your_writes: ReadYourWrites::Client,
        },
        dbname: None,
        user: None,
        password: None,
        password_source: None,
        pool_size: 20,
        min_pool_size: 0,
        reserve_pool_size: 0,
        reserve_pool_timeout: seconds(5),
        max_db_connections: 0,
        max_db_client_connections: 0,
        pool_mode: PoolMode::Transaction,
        session_state: SessionStatePolicy::Pin,
        listen_channels: ListenChannels::Share,
        listen_queue_size: 1024 * 1024,
        server_tls: ServerTls {
            mode: SslMode::Prefer,
            protocols: ALL_PROTOCOLS,
            choice: TlsChoice::default(),
            ca_file: None,
            key_file: None,
            cert_file: None,
        },
        server: ServerSettings {
            lifetime: seconds(3600),
            idle_timeout: seconds(600),
            check_delay: seconds(30),
            check_query: None,
            reset_query: Some("DISCARD ALL".to_owned()),
            reset_query_always: false,
            connect_timeout: seconds(15),
            login_retry: seconds(15),
            round_robin: false,
        },
        timeouts: Timeouts {
            query: OFF,
            transaction: OFF,
            idle_transaction: OFF,
            client_idle: OFF,
            client_login: seconds(60),
            query_wait: seconds(120),
            query_wait_notify: seconds(5),
            cancel_wait: seconds(10),
            client_write: seconds(60),
        },
        max_queue: 10_000,
        queue: Queue {
            max_user: 0,
            fair_by: FairBy::Nobody,
            early_refusal: false,
            over_rate: OverRate::Wait,
            priority: Priority::Normal,
        },
        max_prepared_statements: 200,
        connect_query: None,
        auth_user: None,
        auth_query: None,
        auth_dbname: None,
        parameters: Vec::new(),
        cache: CacheSettings {
            enabled: false,
            ttl: seconds(60),
            stale_while_revalidate: OFF,
            max_entry_size: 1024 * 1024,
            catalog_refresh: seconds(60),
            invalidation: Invalidation::Ttl,
            row_security: RowSecurity::Refuse,
            feed: FeedSettings {
                user: None,
                password: None,
                max_lag: seconds(2),
                channel: "pgweir_cache".to_owned(),
                publication: "pgweir_cache".to_owned(),
                max_wal: 1024 * 1024 * 1024,
            },
            rules: Vec::new(),
            functions: Default::default(),
            tables: Default::default(),
        },
    }
}

pub(super) fn shared_cache(url: String) -> SharedCache {
    SharedCache {
        url,
        consistency: Consistency::Bounded,
        max_lag: seconds(1),
        timeout: Duration::from_millis(50),
        compress_above: 4096,
        prefix: "pgweir".to_owned(),
        member_timeout: seconds(10),
    }
}

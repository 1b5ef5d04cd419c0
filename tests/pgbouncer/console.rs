//! The console's tables. PgBouncer 1.18 has fewer columns than later versions, so most are compared
//! with what 1.25 is known to have.

use crate::client::Client;
use crate::stage::{INI, Pooler, Side, server};

/// A table's columns in their order, and a letter for the type of each: s text, i int4, q int8, N
/// numeric, b bytea.
type Table = (&'static str, &'static str, &'static str);

const SOCKET: &str = "type user database replication state addr port local_addr local_port \
     connect_time request_time wait wait_us close_needed ptr link remote_pid tls application_name \
     prepared_statements id";

const TABLES: &[Table] = &[
    ("CONFIG", "key value default changeable", "ssss"),
    (
        "DATABASES",
        "name host port database force_user pool_size min_pool_size reserve_pool_size \
         server_lifetime pool_mode load_balance_hosts max_connections current_connections \
         max_client_connections current_client_connections paused disabled",
        "ssissiiiissiiiiii",
    ),
    (
        "POOLS",
        "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active \
         sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us \
         pool_mode load_balance_hosts",
        "ssiiiiiiiiiiiiiss",
    ),
    ("CLIENTS", SOCKET, "ssssssisissiiississii"),
    ("SERVERS", SOCKET, "ssssssisissiiississii"),
    (
        "USERS",
        "name pool_size reserve_pool_size pool_mode max_user_connections current_connections \
         max_user_client_connections current_client_connections",
        "ssssiiii",
    ),
    ("LISTS", "list items", "si"),
    ("VERSION", "version", "s"),
    ("STATE", "key value", "ss"),
    (
        "STATS",
        "database total_server_assignment_count total_xact_count total_query_count total_received \
         total_sent total_xact_time total_query_time total_wait_time total_client_parse_count \
         total_server_parse_count total_bind_count total_client_login_count \
         avg_server_assignment_count avg_xact_count avg_query_count avg_recv avg_sent \
         avg_xact_time avg_query_time avg_wait_time avg_client_parse_count avg_server_parse_count \
         avg_bind_count avg_client_login_count",
        "sNNNNNNNNNNNNNNNNNNNNNNNN",
    ),
    (
        "STATS_TOTALS",
        "database server_assignment_count xact_count query_count bytes_received bytes_sent \
         xact_time query_time wait_time client_parse_count server_parse_count bind_count \
         client_login_count",
        "sNNNNNNNNNNNN",
    ),
    (
        "STATS_AVERAGES",
        "database server_assignment_count xact_count query_count bytes_received bytes_sent \
         xact_time query_time wait_time avg_client_parse_count avg_server_parse_count \
         avg_bind_count avg_client_login_count",
        "sNNNNNNNNNNNN",
    ),
    ("TOTALS", "name value", "sN"),
    ("MEM", "name size used free memtotal", "siiii"),
    ("PEERS", "peer_id host port pool_size", "isii"),
    (
        "PEER_POOLS",
        "peer_id cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel sv_login",
        "iiiii",
    ),
    ("DNS_HOSTS", "hostname ttl addrs", "sqs"),
    ("DNS_ZONES", "zonename serial count", "sqi"),
];

/// As the first line of an answer has them.
fn columns(names: &str, types: &str) -> String {
    let names = names.split_whitespace();
    assert_eq!(names.clone().count(), types.len(), "{names:?}");
    let columns = names.zip(types.chars()).map(|(name, kind)| {
        let oid = match kind {
            's' => 25,
            'i' => 23,
            'q' => 20,
            'N' => 1700,
            'b' => 17,
            other => panic!("type {other}"),
        };
        format!("{name}:{oid}")
    });
    format!("columns {}", columns.collect::<Vec<_>>().join(" "))
}

fn console(pooler: &Pooler) -> Client {
    let who = [("user", "admin"), ("database", "pgbouncer")];
    let (said, console) = Client::log_in(pooler.port, "", &who);
    console.unwrap_or_else(|| panic!("{said:?}"))
}

fn ask(console: &mut Client, what: &str) -> Vec<String> {
    let _ = console.wire.send(&crate::support::query(what));
    console.answer()
}

#[test]
fn tables_have_the_columns_of_1_25() {
    let postgres = server();
    let weir = Pooler::start(Side::Weir, &postgres, &INI);
    let mut console = console(&weir);
    let buffers = "recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail";
    let sockets = format!("{SOCKET} {buffers}");
    let types = "ssssssisissiiississiiiiiiiii";
    let sockets = ["SOCKETS", "ACTIVE_SOCKETS"].map(|name| (name, &*sockets, types));
    for (name, names, types) in TABLES.iter().copied().chain(sockets) {
        let answer = ask(&mut console, &format!("SHOW {name}"));
        assert_eq!(answer[0], columns(names, types), "{name}");
        assert_eq!(answer[answer.len() - 2..], ["done SHOW", "ready I"]);
    }
}

/// Rows of these are named; numbers aside they are the same, or more.
#[test]
fn tables_that_were_the_same_in_1_18() {
    let postgres = server();
    let sides = [Side::Bouncer, Side::Weir];
    let poolers = sides.map(|side| Pooler::start(side, &postgres, &INI));
    let [mut bouncer, mut weir] = poolers.each_ref().map(console);
    for what in [
        "CONFIG",
        "LISTS",
        "MEM",
        "DNS_HOSTS",
        "DNS_ZONES",
        "VERSION",
    ] {
        let show = format!("SHOW {what}");
        let (theirs, ours) = (ask(&mut bouncer, &show), ask(&mut weir, &show));
        assert_eq!(theirs[0], ours[0], "{what}");
        let names = |answer: &[String]| -> Vec<String> {
            let rows = answer.iter().filter_map(|line| line.strip_prefix("row "));
            rows.map(|row| row.split('|').next().unwrap_or_default().to_owned())
                .collect()
        };
        if ["CONFIG", "LISTS"].contains(&what) {
            let ours = names(&ours);
            let missing = names(&theirs).into_iter();
            let missing: Vec<_> = missing.filter(|name| !ours.contains(name)).collect();
            assert!(missing.is_empty(), "SHOW {what} has no {missing:?}");
        }
    }
}

/// PgBouncer 1.25's settings, as far as SHOW CONFIG has them.
const SETTINGS: &str = "application_name_add_host auth_dbname auth_file auth_hba_file \
     auth_ident_file auth_ldap_options auth_query auth_type auth_user autodb_idle_timeout \
     cancel_wait_timeout client_idle_timeout client_login_timeout client_tls13_ciphers \
     client_tls_ca_file client_tls_cert_file client_tls_ciphers client_tls_dheparams \
     client_tls_ecdhcurve client_tls_key_file client_tls_protocols client_tls_sslmode conffile \
     default_pool_size disable_pqexec dns_max_ttl dns_nxdomain_ttl dns_zone_check_period \
     idle_transaction_timeout ignore_startup_parameters job_name listen_addr listen_backlog \
     listen_port log_connections log_disconnections log_pooler_errors log_stats logfile \
     login_notify_message max_client_conn max_db_client_connections max_db_connections \
     max_packet_size max_prepared_statements max_user_client_connections max_user_connections \
     min_pool_size peer_id pidfile pkt_buf pool_idle_timeout pool_mode query_timeout \
     query_wait_notify query_wait_timeout reserve_pool_size reserve_pool_timeout resolv_conf \
     sbuf_loopcnt scram_iterations server_check_delay server_check_query server_connect_timeout \
     server_fast_close server_idle_timeout server_lifetime server_login_retry server_reset_query \
     server_reset_query_always server_round_robin server_tls13_ciphers server_tls_ca_file \
     server_tls_cert_file server_tls_ciphers server_tls_key_file server_tls_protocols \
     server_tls_sslmode service_name so_reuseport stats_period stats_users admin_users \
     suspend_timeout syslog syslog_facility syslog_ident tcp_defer_accept tcp_keepalive \
     tcp_keepcnt tcp_keepidle tcp_keepintvl tcp_socket_buffer tcp_user_timeout \
     track_extra_parameters transaction_timeout unix_socket_dir unix_socket_group \
     unix_socket_mode user verbose";

#[test]
fn show_config_has_every_setting_of_1_25() {
    let postgres = server();
    let weir = Pooler::start(Side::Weir, &postgres, &INI);
    let answer = ask(&mut console(&weir), "SHOW CONFIG");
    let has = |name: &&str| {
        answer
            .iter()
            .any(|l| l.starts_with(&format!("row {name}|")))
    };
    let missing: Vec<_> = SETTINGS.split_whitespace().filter(|s| !has(s)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(SETTINGS.split_whitespace().count(), 101);
}

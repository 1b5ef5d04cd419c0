# shellcheck shell=bash
# Starts the poolers on a cluster made by cluster.sh: pgweir, and PgBouncer to compare with.
# Needs common.sh; cluster.sh has set PG_SUPERUSER and PG_PASSWORD. POOLER_SECRET, when set, is
# what the poolers know of the password (a SCRAM verifier) instead of the password itself.

# pgweir_start DIR PORT PG_PORT AUTH [LINE...]: the lines follow [general] (one of them may open
# another section). With DIR/tls.key there, TLS is offered.
# Sets PGWEIR_PID. The console is database pgweir on the same port.
pgweir_start() {
    local dir=$1 port=$2 pg_port=$3 auth=$4
    shift 4
    mkdir -p "$dir"
    {
        cat <<END
[general]
listen_addr = "127.0.0.1"
listen_port = $port
unix_socket_dir = ""
pool_mode = "transaction"
admin_users = ["$PG_SUPERUSER"]
END
        printf '%s\n' "$@"
        cat <<END

[auth]
type = "$auth"

[pools."*"]
host = "127.0.0.1"
port = $pg_port

[users.$PG_SUPERUSER]
password = "${POOLER_SECRET:-$PG_PASSWORD}"
END
        if [ -e "$dir/tls.key" ]; then
            printf '\n[client_tls]\nsslmode = "allow"\nkey_file = "%s"\ncert_file = "%s"\n' "$dir/tls.key" "$dir/tls.crt"
        fi
    } >"$dir/pgweir.toml"
    # shellcheck disable=SC2153  # PGWEIR_BIN comes from common.sh
    spawn "$dir/pgweir.log" TERM "$PGWEIR_BIN" "$dir/pgweir.toml"
    PGWEIR_PID=$SPAWNED
    wait_for_port "$port" "$PGWEIR_PID" "$dir/pgweir.log" pgweir
}

# pgbouncer_start DIR PORT PG_PORT AUTH [LINE...]: the same, in PgBouncer's words.
# Sets PGBOUNCER_PID.
pgbouncer_start() {
    local dir=$1 port=$2 pg_port=$3 auth=$4
    shift 4
    own "$dir"
    {
        cat <<END
[databases]
* = host=127.0.0.1 port=$pg_port

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
pool_mode = transaction
auth_type = $auth
auth_file = $dir/userlist.txt
admin_users = $PG_SUPERUSER
ignore_startup_parameters = extra_float_digits
END
        printf '%s\n' "$@"
        if [ -e "$dir/tls.key" ]; then
            printf 'client_tls_sslmode = allow\nclient_tls_key_file = %s\nclient_tls_cert_file = %s\n' "$dir/tls.key" "$dir/tls.crt"
        fi
    } >"$dir/pgbouncer.ini"
    printf '"%s" "%s"\n' "$PG_SUPERUSER" "${POOLER_SECRET:-$PG_PASSWORD}" >"$dir/userlist.txt"
    spawn_as_service "$dir/pgbouncer.log" INT "$(PATH=$PATH:/usr/sbin command -v pgbouncer)" "$dir/pgbouncer.ini"
    PGBOUNCER_PID=$SPAWNED
    wait_for_port "$port" "$PGBOUNCER_PID" "$dir/pgbouncer.log" PgBouncer
}

# tls_certificate DIR: a self-signed one for localhost, as DIR/tls.key and DIR/tls.crt.
tls_certificate() {
    own "$1"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
        -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -keyout "$1/tls.key" -out "$1/tls.crt" 2>/dev/null
    if [ "$(id -u)" -eq 0 ]; then chown "$(service_user)": "$1/tls.key" "$1/tls.crt"; fi
}

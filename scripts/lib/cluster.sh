# shellcheck shell=bash
# Throw-away PostgreSQL clusters: made by initdb, loopback and a Unix socket only,
# SCRAM passwords on TCP, no fsync, gone with the script. Needs common.sh.
# PG_SERVER_BIN says which PostgreSQL: a directory with initdb and postgres. Without it, PG_BIN.

PG_SUPERUSER=postgres
PG_PASSWORD=weir # of the superuser of a cluster that lives as long as the script

# pg_start DIR PORT [NAME=VALUE...]: a new cluster in DIR; the rest goes to postgresql.conf.
# Sets PG_PID. The Unix socket is in DIR and trusts; TCP asks for SCRAM.
pg_start() {
    local dir=$1 port=$2
    shift 2
    local bin=${PG_SERVER_BIN:-$PG_BIN}
    own "$dir"
    printf '%s\n' "$PG_PASSWORD" >"$dir/pw"
    chmod 644 "$dir/pw"
    as_service "$bin/initdb" --pgdata="$dir/data" --username="$PG_SUPERUSER" --pwfile="$dir/pw" \
        --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C --no-sync \
        >"$dir/initdb.log" 2>&1 || {
        cat "$dir/initdb.log" >&2
        die "initdb failed; its output is above"
    }
    {
        printf '%s\n' "listen_addresses = '127.0.0.1'" "port = $port" "unix_socket_directories = '$dir'" \
            'fsync = off' 'synchronous_commit = off' 'full_page_writes = off' 'max_connections = 120' \
            "log_min_messages = warning" "$@"
    } | as_service tee -a "$dir/data/postgresql.conf" >/dev/null

    # QUIT is PostgreSQL's immediate shutdown: nobody will read this cluster again.
    spawn_as_service "$dir/postgres.log" QUIT "$bin/postgres" -D "$dir/data"
    PG_PID=$SPAWNED
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        # Line 8 of postmaster.pid is what pg_ctl itself waits for.
        if [ "$(sed -n '8s/ *$//p' "$dir/data/postmaster.pid" 2>/dev/null)" = ready ]; then return 0; fi
        kill -0 "$PG_PID" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$dir/postgres.log" >&2
    die "PostgreSQL did not start; its log is above"
}

# pg_stop [PID]: the last cluster started, or the one whose postmaster is PID.
pg_stop() { stop_pid "${1:-$PG_PID}"; }

# shellcheck shell=bash
# The parts of scripts/load-test: poolers for thousands of clients, and the tools that play them.
# Needs common.sh, cluster.sh, poolers.sh, and what scripts/load-test has set.

# load_pgweir NAME [LINE...]: pgweir for all users; the lines open sections of their own.
# Sets LOAD_PORT.
load_pgweir() {
    local name=$1
    shift
    free_port && LOAD_PORT=$FREE_PORT
    # shellcheck disable=SC2154  # scripts/load-test has read its options
    pgweir_start "$WORK_DIR/$name" "$LOAD_PORT" "$pg_port" scram-sha-256 "default_pool_size = $servers" \
        "max_client_conn = $((users + 100))" 'max_queue = 0' '[log]' 'connections = false' 'disconnections = false' "$@"
}

load_pgbouncer() {
    free_port && LOAD_PORT=$FREE_PORT
    # Its backlog of 128 would make a login storm one of lost SYNs; pgweir's is 4096.
    pgbouncer_start "$WORK_DIR/pgbouncer" "$LOAD_PORT" "$pg_port" scram-sha-256 "default_pool_size = $servers" \
        "max_client_conn = $((users + 100))" 'listen_backlog = 4096' 'log_connections = 0' 'log_disconnections = 0'
}

# Our own load generator, through each pooler in turn.
run_ours() {
    local options=() which
    "$LOAD_TEST_BIN" fill --postgres-port "$pg_port"
    # shellcheck disable=SC2154
    for which in $only; do
        case $which in
        cache)
            load_pgweir cache '[pools.shop]' 'host = "127.0.0.1"' "port = $pg_port" \
                '[pools.shop.cache]' 'enabled = true' '[cache]' 'max_size = "64MB"'
            options+=(--target "pgweir with cache=$LOAD_PORT:$PGWEIR_PID")
            ;;
        off)
            load_pgweir off
            options+=(--target "pgweir=$LOAD_PORT:$PGWEIR_PID")
            ;;
        pgbouncer)
            load_pgbouncer
            options+=(--target "PgBouncer=$LOAD_PORT:$PGBOUNCER_PID")
            ;;
        *) die "--only takes some of: cache off pgbouncer" ;;
        esac
    done
    # shellcheck disable=SC2154
    if [ -n "$soak" ]; then options+=(--soak "$soak"); fi
    # shellcheck disable=SC2154
    "$LOAD_TEST_BIN" run --postgres-port "$pg_port" --postmaster "$PG_PID" --stages "$stages" --seconds "$seconds" \
        --settle "$settle" --think "$think" --saturate "$saturate" --seed "$seed" --report "$report" "${options[@]}"
}

# One pgbench with all clients: since PostgreSQL 12 their number is bound by open files only. It logs them
# in one after the other, before its clock starts but not its -T: hence a number of transactions for each
# client, one in ten seconds, at a rate that leaves the machine some air.
run_pgbench() {
    local rate=$((users / 10 + 1)) each=$(((seconds + 9) / 10)) status=0 mode
    load_pgweir pgbench
    "$PG_BIN/pgbench" -i -q -s 10 -p "$pg_port" shop >"$WORK_DIR/init.log" 2>&1 || die "pgbench -i failed"
    for mode in simple extended; do
        say "pgbench: $users clients, $mode protocol, $each transactions each, $rate a second"
        "$PG_BIN/pgbench" -n -M "$mode" -b select-only@9 -b simple-update@1 -c "$users" -j 2 -R "$rate" -t "$each" \
            --random-seed="$seed" -p "$LOAD_PORT" shop >"$WORK_DIR/pgbench.out" 2>"$WORK_DIR/pgbench.err" || status=1
        grep -vE '^(pgbench \(|transaction type|scaling|maximum)' "$WORK_DIR/pgbench.out" || status=1
        # It says how many of how many were processed, and ends well even if it has lost clients.
        grep -q "processed: $((users * each))/" "$WORK_DIR/pgbench.out" || status=1
        if [ "$status" -ne 0 ]; then
            head -n 20 "$WORK_DIR/pgbench.err" >&2
            die "pgbench had failures"
        fi
    done
}

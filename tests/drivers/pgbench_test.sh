#!/usr/bin/env bash
# pgbench: its TPC-B transactions from 32 clients in each of the query modes, its pipelines, and
# a new connection for each transaction. After each, the sums that TPC-B keeps must agree.
# Takes PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD from the environment, as libpq does.
# Prints `ok NAME` or `FAIL NAME: why`; ends with 1 when any failed.
set -uo pipefail

failed=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# scenario NAME PGBENCH-OPTION...
scenario() {
    local name=$1 sums
    shift
    if ! timeout 120 pgbench -n "$@" >"$scratch/out" 2>&1; then
        failed=1
        echo "FAIL $name: $(grep -m1 -E 'error|fatal' "$scratch/out" || tail -n 1 "$scratch/out")"
        return
    fi
    if ! grep -qE '^number of failed transactions: 0 ' "$scratch/out"; then
        failed=1
        echo "FAIL $name: $(grep '^number of failed' "$scratch/out")"
        return
    fi
    sums=$(psql -XAtc "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(tbalance) FROM pgbench_tellers)
        AND (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(bbalance) FROM pgbench_branches)")
    if [ "$sums" = t ]; then
        echo "ok $name"
    else
        failed=1
        echo "FAIL $name: TPC-B's balances do not agree ($sums)"
    fi
}

echo "version $(pgbench --version | awk '{print $3}')"
if ! pgbench -i -q -s 2 >"$scratch/init" 2>&1; then # COPY, DDL, VACUUM
    echo "FAIL initialize: $(tail -n 1 "$scratch/init")"
    exit 1
fi
echo "ok initialize"

for mode in simple extended prepared; do
    scenario "tpcb_$mode" -M "$mode" -c 32 -j 2 -t 40
    scenario "select_only_$mode" -M "$mode" -S -c 32 -j 2 -t 300
done
scenario new_connection_each_transaction -C -S -c 8 -j 2 -t 20

cat >"$scratch/pipeline.sql" <<'SQL'
\set id random(1, 200000)
\startpipeline
BEGIN;
SELECT abalance FROM pgbench_accounts WHERE aid = :id;
SELECT abalance FROM pgbench_accounts WHERE aid = :id + 1;
END;
SELECT bbalance FROM pgbench_branches WHERE bid = 1;
\endpipeline
SQL
scenario pipeline_extended -M extended -c 16 -j 2 -t 100 -f "$scratch/pipeline.sql"
scenario pipeline_prepared -M prepared -c 16 -j 2 -t 100 -f "$scratch/pipeline.sql"

exit "$failed"

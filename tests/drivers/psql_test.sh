#!/usr/bin/env bash
# psql in its default configuration: simple queries, COPY from and to files, Ctrl-C, backslash
# commands, \gdesc and FETCH_COUNT. Takes PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD from the
# environment, as libpq does. Prints `ok NAME` or `FAIL NAME: why`; ends with 1 when any failed.
set -uo pipefail

failed=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

run() { timeout 60 psql -X -q -A -t "$@" 2>&1; }

# expect NAME EXPECTED ACTUAL
expect() {
    if [ "$2" = "$3" ]; then
        echo "ok $1"
    else
        failed=1
        printf 'FAIL %s: expected %q, got %q\n' "$1" "${2:0:200}" "${3:0:200}"
    fi
}

# matches NAME PATTERN ACTUAL
matches() {
    if grep -qE "$2" <<<"$3"; then
        echo "ok $1"
    else
        failed=1
        printf 'FAIL %s: nothing like %q in %q\n' "$1" "$2" "${3:0:200}"
    fi
}

echo "version $(psql --version | awk '{print $3}')"

expect connect_with_scram 2 "$(run -c 'SELECT 1 + 1')"
matches wrong_password 'password authentication failed' "$(PGPASSWORD=wrong run -c 'SELECT 1')"
matches conninfo "connected to database \"$PGDATABASE\"" "$(run -c '\conninfo')"

run -c 'DROP TABLE IF EXISTS psql_tx, psql_copy' >/dev/null
expect transactions_and_savepoints $'1\n3' "$(run <<'SQL'
CREATE TABLE psql_tx (id int);
BEGIN; INSERT INTO psql_tx VALUES (1);
SAVEPOINT a; INSERT INTO psql_tx VALUES (2); ROLLBACK TO a;
COMMIT;
BEGIN; INSERT INTO psql_tx VALUES (9); ROLLBACK;
INSERT INTO psql_tx VALUES (3);
SELECT id FROM psql_tx ORDER BY id;
SQL
)"

expect errors_then_continued_use $'ERROR:  division by zero\n5\nERROR:  division by zero\nERROR:  current transaction is aborted, commands ignored until end of transaction block\n6' "$(run <<'SQL'
SELECT 1/0;
SELECT 5;
BEGIN;
SELECT 1/0;
SELECT 7;
ROLLBACK;
SELECT 6;
SQL
)"

expect several_statements_in_one_query $'1\n2\n3' "$(run -c 'SELECT 1; SELECT 2; SELECT 3')"

seq 1 50000 >"$scratch/numbers"
expect copy_in_and_out 50000 "$(run <<SQL
CREATE TABLE psql_copy (id int);
\\copy psql_copy FROM '$scratch/numbers'
\\copy psql_copy TO '$scratch/out'
\\! cmp '$scratch/numbers' '$scratch/out'
SELECT count(*) FROM psql_copy;
SQL
)"

{ seq 1 5000 && echo bad && seq 1 5000; } >"$scratch/numbers"
matches copy_in_that_fails_half_way '^0$' "$(run <<SQL
TRUNCATE psql_copy;
\\copy psql_copy FROM '$scratch/numbers'
SELECT count(*) FROM psql_copy;
SQL
)"

# psql turns SIGINT into a CancelRequest, waits for the answer and, in a script, ends.
psql -X -q -A -t -c 'SELECT pg_sleep(30)' >"$scratch/cancel" 2>&1 &
sleep 1
kill -INT $!
wait $!
expect cancel_a_query $'Cancel request sent\nERROR:  canceling statement due to user request' "$(cat "$scratch/cancel")"

run -c "SELECT repeat('x', 1000) FROM generate_series(1, 100000)" >"$scratch/big"
expect big_result 100100000 "$(stat -c %s "$scratch/big")"

expect cursor_behind_fetch_count 1000 "$(run -v FETCH_COUNT=7 -c 'SELECT generate_series(1, 1000)' | wc -l)"
expect describe_without_running 'a|integer' "$(run <<'SQL'
SELECT 1 AS a \gdesc
SQL
)"

expect set_and_reset 'Asia/Tokyo|11MB
Asia/Tokyo
4MB' "$(run <<'SQL'
SET timezone = 'Asia/Tokyo'; SET work_mem = '11MB';
BEGIN; SELECT current_setting('timezone'), current_setting('work_mem'); COMMIT;
BEGIN; SET timezone = 'America/Lima'; ROLLBACK;
SHOW timezone;
RESET ALL;
SHOW work_mem;
SQL
)"

expect startup_options 7MB "$(PGOPTIONS='-c work_mem=7MB' run -c 'SHOW work_mem')"

expect prepare_and_execute $'2\n3\nERROR:  prepared statement "p" does not exist' "$(run <<'SQL'
PREPARE p (int) AS SELECT $1 + 1;
EXECUTE p(1);
EXECUTE p(2);
DEALLOCATE ALL;
EXECUTE p(3);
SQL
)"

matches listen_and_notify 'Asynchronous notification "psql_channel" with payload "hello" received' "$(run <<'SQL'
LISTEN psql_channel;
NOTIFY psql_channel, 'hello';
SELECT 1;
UNLISTEN *;
SQL
)"

expect temporary_table $'7\nt' "$(run <<'SQL'
CREATE TEMP TABLE psql_temp (v int);
INSERT INTO psql_temp VALUES (7);
SELECT v FROM psql_temp;
DISCARD ALL;
SELECT to_regclass('psql_temp') IS NULL;
SQL
)"

expect cursor_with_hold $'1\n2' "$(run <<'SQL'
DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(1, 10);
FETCH held;
FETCH held;
CLOSE held;
SQL
)"

matches backslash_commands 'psql_tx' "$(run -c '\d psql_tx' -c '\dt psql_*' -c '\l')"

exit "$failed"

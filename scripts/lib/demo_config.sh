# shellcheck shell=bash
# config.example.toml as the demo runs it: every setting its own, except the few that say
# where things are. Edits the text by section and key, so that the file is what a reader sees.

# toml_get FILE SECTION KEY: the value as written, without quotes; nothing when it is not set.
toml_get() {
    awk -v section="[$2]" -v key="$3" '
        /^\[/ { sub(/[ \t]*(#.*)?$/, ""); inside = ($0 == section) }
        inside && $0 ~ "^" key "[ \t]*=" {
            sub(/^[^=]*=[ \t]*/, ""); sub(/[ \t]+#.*$/, ""); gsub(/^"|"$/, ""); print; exit
        }' "$1"
}

# toml_set FILE SECTION KEY VALUE: in place; adds the key, or the section with it, when missing.
toml_set() {
    local file=$1 edited=$1.edited
    awk -v section="[$2]" -v key="$3" -v value="$4" '
        function put() { if (!done) { print key " = " value; done = 1 } }
        { line = $0 }
        /^\[/ {
            if (inside) put()
            sub(/[ \t]*(#.*)?$/, "", line)
            inside = (line == section)
            if (inside) { print; found = 1; next }
        }
        inside && $0 ~ "^" key "[ \t]*=" { put(); next }
        { print }
        END { if (!found) print "\n" section; if (!done) print key " = " value }' "$file" >"$edited"
    mv "$edited" "$file"
}

# demo_config EXAMPLE CONFIG PG_PORT USER PASSWORD: writes CONFIG. Keeps the example's own ports
# when they are free. Sets LISTEN_PORT and HTTP_LISTEN.
demo_config() {
    local example=$1 config=$2 pg_port=$3 user=$4 password=$5
    cp "$example" "$config"
    toml_set "$config" general listen_addr '"127.0.0.1"'
    toml_set "$config" general unix_socket_dir '""'
    toml_set "$config" general admin_users "[\"$user\"]"

    LISTEN_PORT=$(toml_get "$config" general listen_port)
    if [ -z "$LISTEN_PORT" ] || ! port_is_free "$LISTEN_PORT"; then
        free_port && LISTEN_PORT=$FREE_PORT
        toml_set "$config" general listen_port "$LISTEN_PORT"
    fi
    HTTP_LISTEN=$(toml_get "$config" http listen)
    if [ -z "$HTTP_LISTEN" ] || ! port_is_free "${HTTP_LISTEN##*:}"; then
        free_port && HTTP_LISTEN=127.0.0.1:$FREE_PORT
        toml_set "$config" http listen "\"$HTTP_LISTEN\""
    fi
    toml_set "$config" http admin_password "\"$password\""

    toml_set "$config" pools.demo host '"127.0.0.1"'
    toml_set "$config" pools.demo port "$pg_port"
    toml_set "$config" pools.demo.cache enabled true
    toml_set "$config" "users.$user" password "\"$password\""
}

#!/bin/sh
# Makes a Debian 12 machine a store's gateway: broker, agent, unit, keys. Run again to upgrade; what
# is there already (config, keys, enrolled devices, state) stays as it is.
#
#   make wheel && sudo provisioning/install.sh --store 42 --host gateway-42.example.net
#
# WHEELS=DIR installs from a folder of wheels instead of the package index (a store without one).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
home=/opt/edge-agent
etc=/etc/edge-agent
secrets=$etc/secrets

usage() {
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
store=
hosts=
while [ $# -gt 0 ]; do
    case $1 in
    --store) store=${2:-} && shift 2 || usage ;;
    --host) hosts="$hosts --host ${2:-}" && shift 2 || usage ;;
    *) usage ;;
    esac
done
[ -n "$store" ] || usage
[ "$(id -u)" -eq 0 ] || { echo "install.sh: run it as root" >&2; exit 3; }
wheel=$(ls "$here"/../dist/edge_agent-*.whl 2>/dev/null | tail -n 1)
[ -n "$wheel" ] || { echo "install.sh: no dist/edge_agent-*.whl here: make wheel" >&2; exit 3; }
say() { printf '== %s\n' "$*"; }
has_systemd() { [ -d /run/systemd/system ]; }

say "Debian's packages"
if ! command -v mosquitto >/dev/null && [ ! -x /usr/sbin/mosquitto ] || ! python3 -c 'import ensurepip' 2>/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends mosquitto python3-venv
fi

say "account and folders"
getent passwd edge-agent >/dev/null ||
    useradd --system --home-dir /var/lib/edge-agent --no-create-home --shell /usr/sbin/nologin edge-agent
# The bridge has an account of its own: it talks to the outside, and has no business in the agent's files.
getent passwd edge-agent-bridge >/dev/null ||
    useradd --system --home-dir /var/lib/edge-agent-bridge --no-create-home --shell /usr/sbin/nologin edge-agent-bridge
install -d -m 0755 "$home" "$home/provisioning"
install -d -m 0750 -o root -g edge-agent "$etc"
install -d -m 0700 "$secrets" "$secrets/bridge"
# Writable by root alone, read by the broker.
install -d -m 0750 -o root -g mosquitto "$etc/broker"
# The broker must pass through the agent's folder to reach its own.
chmod 0711 "$etc"

say "agent in $home"
[ -x "$home/.venv/bin/python" ] || python3 -m venv "$home/.venv"
if [ -n "${WHEELS:-}" ]; then source="--no-index --find-links $WHEELS"; else source=; fi
# shellcheck disable=SC2086  # a list of words
"$home/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes $source \
    -r "$here/requirements-gateway.txt"
"$home/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-index --force-reinstall "$wheel"
install -m 0644 "$here"/*.py "$here/mosquitto.acl" "$home/provisioning/"
for tool in enrol rotate_keys; do
    command=/usr/local/sbin/edge-agent-$(echo "$tool" | tr _ -)
    printf '#!/bin/sh\ncd %s && exec .venv/bin/python -m provisioning.%s "$@"\n' "$home" "$tool" >"$command"
    chmod 0755 "$command"
done

say "keys and accounts in $etc"
if [ ! -e "$etc/broker/roster.json" ]; then
    # shellcheck disable=SC2086
    /usr/local/sbin/edge-agent-enrol init --store "$store" $hosts >/dev/null
    install -m 0600 "$etc/broker/hand-over/agent.password" "$secrets/broker-password"
    install -m 0600 "$etc/broker/hand-over/pages.password" "$secrets/pages-password"
    rm "$etc/broker/hand-over/agent.password" "$etc/broker/hand-over/pages.password"
fi
# The key of every pseudonym of this store; see README.md before you lose or replace it.
[ -s "$secrets/store-key" ] || (umask 077 && head -c 32 /dev/urandom >"$secrets/store-key")
# The unit hands it over, so it must be there; HQ's own goes in when the link is set up.
[ -e "$secrets/hq-password" ] || install -m 0600 /dev/null "$secrets/hq-password"
if [ ! -e "$etc/agent.toml" ]; then
    sed "s/^store = \"42\"/store = \"$store\"/" "$here/agent.example.toml" >"$etc/agent.toml"
fi
chown root:edge-agent "$etc/agent.toml"
chmod 0640 "$etc/agent.toml"

# A store that needs no bridge has no bridge.toml, and nobody on its broker who is one.
if [ -e "$etc/bridge.toml" ]; then
    chown root:edge-agent-bridge "$etc/bridge.toml"
    chmod 0640 "$etc/bridge.toml"
    if [ ! -e "$secrets/bridge-password" ]; then
        /usr/local/sbin/edge-agent-enrol add bridge --role bridge --password >/dev/null
        install -m 0600 "$etc/broker/hand-over/bridge.password" "$secrets/bridge-password"
        rm "$etc/broker/hand-over/bridge.password"
    fi
fi

say "broker"
if ! cmp -s "$here/mosquitto.conf" /etc/mosquitto/mosquitto.conf; then
    [ -e /etc/mosquitto/mosquitto.conf.before-edge-agent ] ||
        cp -p /etc/mosquitto/mosquitto.conf /etc/mosquitto/mosquitto.conf.before-edge-agent
    install -m 0644 "$here/mosquitto.conf" /etc/mosquitto/mosquitto.conf
fi
install -d /etc/systemd/system/mosquitto.service.d
printf '[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=1\n' \
    >/etc/systemd/system/mosquitto.service.d/edge-agent.conf

say "units"
install -m 0644 "$here/edge-agent.service" "$here/edge-agent-bridge.service" /etc/systemd/system/
if has_systemd; then
    systemctl daemon-reload
    systemctl enable --quiet mosquitto edge-agent
    systemctl restart mosquitto edge-agent
    if [ -e "$etc/bridge.toml" ]; then
        systemctl enable --quiet edge-agent-bridge
        systemctl restart edge-agent-bridge
    fi
else
    echo "no systemd is running here: units are installed, nothing was started"
fi
exec "$here/verify_install.sh"

#!/bin/sh
# Says line by line whether this machine is set up as a gateway; exit code 1 when a line is bad.
set -u
home=/opt/edge-agent
etc=/etc/edge-agent
bad=0

check() { # check WHAT COMMAND... : good when the command succeeds
    what=$1
    shift
    if "$@" >/dev/null 2>&1; then echo "good  $what"; else
        echo "BAD   $what"
        bad=1
    fi
}
mode() { [ "$(stat -c '%a %U:%G' "$2" 2>/dev/null)" = "$1" ]; }
python() { "$home/.venv/bin/python" -c "$1"; }
broker_settings() { cmp -s "$(dirname "$0")/mosquitto.conf" /etc/mosquitto/mosquitto.conf; }
broker_version() { dpkg --compare-versions "$(dpkg-query -W -f '${Version}' mosquitto)" ge 2.0.11; }
hardened() { systemd-analyze security --offline=true --threshold=15 "/etc/systemd/system/$1.service"; }
nothing_due() { (cd "$home" && .venv/bin/python -m provisioning.rotate_keys due --days 30); }
handed_over() { [ -z "$(ls -A "$etc/broker/hand-over" 2>/dev/null)" ]; }
loopback_only() { ! ss -Hltn 'sport = :1883' | grep -v '127\.0\.0\.1:1883'; }

[ "$(id -u)" -eq 0 ] || { echo "verify_install.sh: run it as root" >&2; exit 3; }
check "agent installed" "$home/.venv/bin/edge-agent" --help
check "SQLite 3.40 or newer" python 'import sqlite3; assert sqlite3.sqlite_version_info >= (3, 40)'
check "no pandas beside the agent (71 MiB)" python 'import importlib.util as u; assert not u.find_spec("pandas")'
check "packages agree with each other" "$home/.venv/bin/python" -m pip check
check "mosquitto 2.0.11 or newer" broker_version
check "broker has the shipped settings" broker_settings
check "secrets are root's alone" mode "700 root:root" "$etc/secrets"
check "store key is root's alone" mode "600 root:root" "$etc/secrets/store-key"
check "broker password is root's alone" mode "600 root:root" "$etc/secrets/broker-password"
check "authority's key is root's alone" mode "600 root:mosquitto" "$etc/broker/ca.key"
check "broker's key is for the broker alone" mode "640 root:mosquitto" "$etc/broker/server.key"
check "config is for the agent alone" mode "640 root:edge-agent" "$etc/agent.toml"
check "config is sound" "$home/.venv/bin/edge-agent" check "$etc/agent.toml"
check "unit is hardened" hardened edge-agent
if [ -e "$etc/bridge.toml" ]; then
    check "bridge's settings are for the bridge alone" mode "640 root:edge-agent-bridge" "$etc/bridge.toml"
    check "bridge's settings are sound" "$home/.venv/bin/edge-agent" check "$etc/bridge.toml"
    check "bridge's secrets are root's alone" mode "700 root:root" "$etc/secrets/bridge"
    check "bridge's unit is hardened" hardened edge-agent-bridge
fi
check "no certificate expires within 30 days" nothing_due
check "no device's secret left in hand-over" handed_over
if [ -d /run/systemd/system ]; then
    check "broker is up" systemctl is-active mosquitto
    check "agent is up" systemctl is-active edge-agent
    [ ! -e "$etc/bridge.toml" ] || check "bridge is up" systemctl is-active edge-agent-bridge
    command -v ss >/dev/null && check "plain MQTT is on loopback alone" loopback_only
else
    echo "-     no systemd is running here: whether broker and agent are up was not checked"
fi
exit $bad

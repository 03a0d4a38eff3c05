#!/bin/sh
# Makes sure that every program the tests drive is there: Debian packages when one is missing (as
# root; otherwise it prints the command to run and fails), the validators and the data in .cache/.
set -eu
cd "$(dirname "$0")/../.."

missing=
need() { # need DEBIAN_PACKAGE PATH_OR_COMMAND
    command -v "$2" >/dev/null 2>&1 || [ -x "/usr/sbin/$2" ] || missing="$missing $1"
}
need mosquitto mosquitto
need chromium chromium
need sqlite3 sqlite3
need strace strace
need systemd systemd-analyze
need nodejs node
need npm npm
# The trees of the training need the OpenMP runtime, which pip does not bring.
/sbin/ldconfig -p | grep -q 'libgomp\.so\.1' || missing="$missing libgomp1"
# Debian keeps PostgreSQL's server programs out of the PATH.
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need postgresql initdb

if [ -n "$missing" ]; then
    install="apt-get install --yes --no-install-recommends$missing"
    if [ "$(id -u)" -ne 0 ]; then
        echo "The tests drive programs that are missing here. Run this once, then make test again:" >&2
        echo "  sudo apt-get update && sudo $install" >&2
        exit 3
    fi
    # The packages' own services stay stopped: every test starts what it needs, on a free port.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    echo "installing:$missing"
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of words
    DEBIAN_FRONTEND=noninteractive $install
fi

tools=.cache/tools
if ! cmp -s tests/tools/package-lock.json "$tools/package-lock.json" || [ ! -e "$tools/complete" ]; then
    echo "installing the validators in $tools"
    rm -rf "$tools"
    mkdir -p "$tools"
    cp tests/tools/package.json tests/tools/package-lock.json "$tools/"
    (cd "$tools" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
    touch "$tools/complete"
fi

# Read from inside the package's file: its code would want half a gigabyte of others.
data=.cache/open-bandit
if ! cmp -s tests/tools/open-bandit.txt "$data/open-bandit.txt"; then
    echo "fetching the Open Bandit sample into $data"
    rm -rf "$data"
    # Not $PYTHON: that one makes the environment, and on a fresh machine it has no pip of its own.
    .venv/bin/python -m pip --disable-pip-version-check --no-input download --quiet \
        --no-deps --only-binary :all: --require-hashes --dest "$data" -r tests/tools/open-bandit.txt
    cp tests/tools/open-bandit.txt "$data/"
fi
echo "ready: $(mosquitto -h 2>/dev/null | head -n 1 || true), $(chromium --version 2>/dev/null || true), node $(node --version)"

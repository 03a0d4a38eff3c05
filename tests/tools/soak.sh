#!/usr/bin/env bash
# Runs every test at its full size, in two lanes side by side: the laws, which take a processor
# and nothing else, step back (nice) for the tests that drive brokers and whole agents, which
# mostly wait. With arguments it runs what they say, in one lane.
#
# usage: soak.sh PYTHON [pytest's arguments]
set -u
python=$1
shift
export EDGE_AGENT_SOAK=1
pytest=("$python" -u -m pytest --timeout=21600 -q)

if [ $# -gt 0 ]; then
    exec "${pytest[@]}" "$@"
fi

lane() { # NAME NICENESS FOLDER...
    local name=$1 niceness=$2
    shift 2
    nice -n "$niceness" "${pytest[@]}" -o cache_dir=".pytest_cache/$name" "$@" 2>&1 |
        sed -u "s/^/$name: /"
    return "${PIPESTATUS[0]}"
}

set -o pipefail
lane laws 10 tests/unit tests/properties tests/contract &
laws=$!
lane road 0 tests/integration tests/e2e tests/bench &
road=$!
status=0
wait "$road" || status=$?
wait "$laws" || status=$?
if [ "$status" -eq 0 ]; then echo "soak: both lanes passed"; else echo "soak: failed ($status)"; fi
exit "$status"

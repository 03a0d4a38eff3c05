#!/usr/bin/env bash
# Runs every test at its full size, in two lanes side by side (tests/tools/lanes.py). With
# arguments it runs what they say, in one lane.
#
# usage: soak.sh PYTHON [pytest's arguments]
set -eu
python=$1
shift
export EDGE_AGENT_SOAK=1
runner=tests.tools.lanes
[ $# -eq 0 ] || runner=pytest
exec "$python" -u -m "$runner" --timeout=21600 -q "$@"

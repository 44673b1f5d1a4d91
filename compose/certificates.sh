#!/bin/bash
# Makes the certificates and the admin's password, where they are absent:
#   /ca        the CA's key, for nobody but this script
#   /certs     certificates of the CA, the nodes and the client root
#   /keystone  what the Keystones read: a client's certificate, the password
set -euo pipefail
umask 077

keystone=42425

create() {
    cockroach cert "$@" --ca-key=/ca/ca.key
}

if [ ! -e /ca/ca.key ]; then
    create create-ca --certs-dir=/certs
fi
if [ ! -e /certs/node.crt ]; then
    read -ra nodes <<< "${NODES:-cockroach-1 cockroach-2 cockroach-3}"
    create create-node "${nodes[@]}" localhost 127.0.0.1 --certs-dir=/certs
fi
if [ ! -e /certs/client.root.crt ]; then
    create create-client root --certs-dir=/certs
fi
if [ ! -e /keystone/client.keystone.crt ]; then
    cp /certs/ca.crt /keystone/ca.crt
    create create-client keystone --certs-dir=/keystone
fi
if [ ! -e /keystone/admin-password ]; then
    head -c 18 /dev/urandom | base64 > /keystone/admin-password.new
    mv /keystone/admin-password.new /keystone/admin-password
fi
chown -R "$keystone:$keystone" /keystone
chmod 0500 /keystone
chmod 0400 /keystone/*

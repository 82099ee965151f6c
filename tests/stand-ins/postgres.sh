#!/usr/bin/env bash
# Makes a database as the official image does, unless the volume holds one, and serves it.
set -euo pipefail
binaries=$(echo /usr/lib/postgresql/*/bin)
export PATH=$PATH:$binaries PGDATA=/var/lib/postgresql/data

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username="$POSTGRES_USER" --pwfile=<(echo "$POSTGRES_PASSWORD") --auth-local=trust --auth-host=scram-sha-256
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  echo "CREATE DATABASE $POSTGRES_USER" | postgres --single postgres
fi
exec postgres -c listen_addresses='*'

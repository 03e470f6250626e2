#!/bin/sh
# Writes the secrets of infra/kubernetes/overlays/try: passwords of its databases, made up once and then kept, and the model API of
# OPENAI_* (from the environment, else from .env). git ignores the directory.
set -eu
cd "$(dirname "$0")/.."
. scripts/machine.sh
directory=infra/kubernetes/overlays/try/secrets

[ -n "$(setting OPENAI_API_KEY)$(setting OPENAI_BASE_URL)" ] ||
  fail "no model API: set OPENAI_API_KEY=... (or OPENAI_BASE_URL=... of a server without keys), here or in .env, and run this again"

umask 077
mkdir -p "$directory"
random() { head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

if [ ! -f "$directory/databases.env" ]; then
  for name in MONGO_REPLICA_KEY MONGO_ROOT_PASSWORD MONGO_SERVICES_PASSWORD REDIS_PASSWORD; do
    echo "$name=$(random)"
  done >"$directory/databases.env.new"
  mv "$directory/databases.env.new" "$directory/databases.env"
fi
password() { sed -n "s/^$1=//p" "$directory/databases.env"; }

cat >"$directory/services.env" <<END
MONGODB_URL=mongodb://mgx:$(password MONGO_SERVICES_PASSWORD)@mongodb:27017/?replicaSet=rs0&authSource=admin
REDIS_URL=redis://:$(password REDIS_PASSWORD)@redis:6379
END

for name in OPENAI_API_KEY OPENAI_BASE_URL OPENAI_MODEL; do
  value=$(setting "$name")
  [ -z "$value" ] || echo "$name=$value"
done >"$directory/model.env"
say "wrote $directory: keep databases.env as long as the database"

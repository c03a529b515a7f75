# Installs the static tools that every job sees, read-only, at TOOLS_PATH; then what the host runs
# beside its jobs.
# Needs: TOOLS_PATH, DISK_KEY; TOOLS: lines of NAME BUCKET KEY SHA256; SERVICES: NAME BUCKET KEY.

set -euo pipefail

install -d -m 755 "$TOOLS_PATH" /var/lib/orchestrator
while read -r name bucket key sha256; do
  fetch "$bucket" "$key" "$sha256" "$TOOLS_PATH/$name"
  chmod 755 "$TOOLS_PATH/$name"
done <<<"$TOOLS"
ln -sfn busybox "$TOOLS_PATH/sh"

# A host that works but cannot report, or whose disk cannot grow, is still a good one.
services() {
  local bucket key place=/var/lib/orchestrator
  export ASSET_REGION ASSET_DOMAIN DISK_KEY DAEMON=$place/ebs_autoscale.zip
  while read -r name bucket key; do
    fetch "$bucket" "$key" "" "$place/$name" || return
  done <<<"$SERVICES"
  bash "$place/services.sh"
}
services || echo "orchestrator: this host sends no logs and no reports" >&2

# Installs the static tools that every job sees, read-only, at TOOLS_PATH, and starts reporting.
# Needs: TOOLS_PATH, SCRATCH_PATH, LOG_GROUP; TOOLS: lines of NAME BUCKET KEY SHA256; REPORTING:
# BUCKET KEY.

set -euo pipefail

install -d -m 755 "$TOOLS_PATH" /var/lib/orchestrator
while read -r name bucket key sha256; do
  fetch "$bucket" "$key" "$sha256" "$TOOLS_PATH/$name"
  chmod 755 "$TOOLS_PATH/$name"
done <<<"$TOOLS"
ln -sfn busybox "$TOOLS_PATH/sh"

# A host that works but cannot report is still a good one.
report() {
  local bucket key script=/var/lib/orchestrator/reporting.sh
  read -r bucket key <<<"$REPORTING"
  fetch "$bucket" "$key" "" "$script" &&
    LOG_GROUP=$LOG_GROUP SCRATCH_PATH=$SCRATCH_PATH bash "$script"
}
report || echo "orchestrator: this host sends no logs and no reports" >&2

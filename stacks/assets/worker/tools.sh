# Installs the static tools that every job sees, read-only, at TOOLS_PATH.
# Needs: TOOLS_PATH, and TOOLS: lines of NAME BUCKET KEY SHA256.

set -euo pipefail

install -d -m 755 "$TOOLS_PATH"
while read -r name bucket key sha256; do
  fetch "$bucket" "$key" "$sha256" "$TOOLS_PATH/$name"
  chmod 755 "$TOOLS_PATH/$name"
done <<<"$TOOLS"
ln -sfn busybox "$TOOLS_PATH/sh"

# Sourced first: a host that cannot be used ends itself. Its group replaces it; left alone it would
# be paid for and take no job, and the jobs that wait for it would wait for ever.

set -euo pipefail

retire() {
  local status=$?
  ((status)) || return 0
  echo "orchestrator: this host cannot be used (status $status); it ends itself" >&2
  systemctl --no-block poweroff
}
trap retire EXIT

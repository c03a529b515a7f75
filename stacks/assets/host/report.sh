# What the orchestrator's host reports: the server's log, how it booted, and whether all is well.
# Needs: report.sh, ENVIRONMENT.

report_files() {
  echo "server /var/log/orchestrator/server.log"
  echo "boot /var/log/cloud-init-output.log"
}

report_command() {
  printf '#!/bin/bash\nset -a\n. /etc/orchestrator/environment\n'
  printf 'exec /opt/orchestrator/venv/bin/python /opt/orchestrator/report.py %q\n' "$ENVIRONMENT"
}

start_reports
send_logs

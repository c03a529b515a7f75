# Sends logs of this host to its log group, and a line of JSON a minute that alarms are made of.
# Nothing here may write metrics: what a host says is read from its logs, which is all it may write.
# Needs: LOG_GROUP; report_files (lines of NAME PATH) and report_command (prints a program).

set -euo pipefail

readonly reports=/var/log/orchestrator/report.log
readonly program=/usr/local/lib/orchestrator/report
readonly agent=/opt/aws/amazon-cloudwatch-agent/bin/amazon-cloudwatch-agent-ctl
readonly agent_config=/opt/aws/amazon-cloudwatch-agent/etc/orchestrator.json

start_reports() {
  install -d -m 755 "${reports%/*}" "${program%/*}"
  report_command >"$program"
  chmod 755 "$program"
  cat >/etc/systemd/system/orchestrator-report.service <<EOF
[Unit]
Description=What this host is like, as a line of JSON

[Service]
Type=oneshot
DynamicUser=yes
ExecStart=$program
StandardOutput=append:$reports
TimeoutStartSec=50
EOF
  cat >/etc/systemd/system/orchestrator-report.timer <<EOF
[Unit]
Description=What this host is like, every minute

[Timer]
OnActiveSec=5
OnUnitActiveSec=60
AccuracySec=1

[Install]
WantedBy=timers.target
EOF
  systemctl daemon-reload
  systemctl enable --now orchestrator-report.timer
}

collect_list() {
  local name path separator=
  while read -r name path; do
    printf '%s{"file_path":"%s","log_group_name":"%s","log_stream_name":"{instance_id}/%s"}' \
      "$separator" "$path" "$LOG_GROUP" "$name"
    separator=,
  done
}

send_logs() {
  # Amazon Linux's own repository, through the S3 endpoint.
  dnf -q -y install amazon-cloudwatch-agent
  install -d "${agent_config%/*}"
  {
    printf '{"agent":{"run_as_user":"root"},"logs":{"logs_collected":{"files":{"collect_list":['
    {
      report_files
      echo "report $reports"
    } | collect_list
    printf ']}}}}\n'
  } >"$agent_config"
  "$agent" -a fetch-config -m ec2 -s -c "file:$agent_config"
}

# Starts the daemon that lets the data disk grow before it is full, where it may grow.
# Needs: SCRATCH_PATH, ENVIRONMENT, IOPS, MIB_PER_SECOND, MAX_GIB (0: it does not grow); DAEMON, its
# archive; ASSET_REGION, ASSET_DOMAIN; DISK_KEY, the ARN of a KMS key or nothing.

set -euo pipefail

readonly daemon_settings=/etc/orchestrator/disk.json
readonly daemon_log=/var/log/orchestrator/disk.log

start_growing() {
  ((MAX_GIB)) || return 0
  install -d -m 755 "${daemon_settings%/*}" "${daemon_log%/*}"
  cat >"$daemon_settings" <<EOF
{
  "environment": "$ENVIRONMENT",
  "mount": "/var/lib/orchestrator/volume",
  "group": "orchestrator",
  "journal": "/var/lib/orchestrator/disk-journal.json",
  "region": "$ASSET_REGION",
  "endpoint": "https://ec2.$ASSET_REGION.$ASSET_DOMAIN",
  "max_gib": $MAX_GIB,
  "iops": $IOPS,
  "mib_per_second": $MIB_PER_SECOND,
  "kms_key": "${DISK_KEY-}"
}
EOF
  cat >/etc/systemd/system/orchestrator-disk.service <<EOF
[Unit]
Description=Lets the data disk grow before it is full
RequiresMountsFor="$SCRATCH_PATH"
StartLimitIntervalSec=0

[Service]
Type=notify
WatchdogSec=900
TimeoutStartSec=180
Environment=PYTHONPATH=$DAEMON PYTHONDONTWRITEBYTECODE=1
ExecStart=/usr/bin/python3 -m ebs_autoscale $daemon_settings
Restart=always
RestartSec=10
StandardOutput=append:$daemon_log
StandardError=append:$daemon_log
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=yes
ProtectControlGroups=yes
ProtectHostname=yes
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
EOF
  systemctl daemon-reload
  systemctl enable --now orchestrator-disk.service
}

# A host whose disk stays as it is works all the same; it says so, and alarms watch the disk.
start_growing || echo "orchestrator: the data disk of this host does not grow" >&2

# What a worker host reports: its ECS agent's logs, how it booted, and how full its data disk is.
# Needs: report.sh, SCRATCH_PATH.

report_files() {
  echo "ecs-agent /var/log/ecs/ecs-agent.log"
  echo "ecs-init /var/log/ecs/ecs-init.log"
  echo "boot /var/log/cloud-init-output.log"
  echo "disk /var/log/orchestrator/disk.log"
}

# Blocks or inodes, whichever there are fewer of.
report_command() {
  printf '#!/bin/bash\nscratch=%q\n' "$SCRATCH_PATH"
  cat <<'EOF'
df --output=pcent,ipcent "$scratch" | awk 'NR == 2 {
  blocks = $1 + 0; inodes = $2 + 0
  printf "{\"disk_used_percent\":%d}\n", (blocks > inodes ? blocks : inodes)
}'
EOF
}

start_reports
send_logs

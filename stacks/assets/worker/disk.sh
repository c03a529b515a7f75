# Puts the data disk in place. A cloud-boothook: it runs at every boot, before Docker starts.
# Needs: SCRATCH_PATH, TOOLS_PATH.

set -euo pipefail

readonly label=orchestrator
readonly volume=/var/lib/orchestrator/volume

# First of all: the ECS agent takes no job before disk and tools are there. Docker would make an
# empty directory of a missing one, and jobs would fill the root disk.
guard_agent() {
  install -d /etc/systemd/system/ecs.service.d
  cat >/etc/systemd/system/ecs.service.d/10-orchestrator.conf <<EOF
[Service]
ExecStartPre=/usr/bin/mountpoint -q "$SCRATCH_PATH"
ExecStartPre=/usr/bin/test -x "$TOOLS_PATH/s5cmd" -a -x "$TOOLS_PATH/sh"
EOF
  systemctl daemon-reload
}

# The EBS disk that is not in use: neither partitioned nor formatted. The launch template makes
# exactly one beside the root disk.
blank_disk() {
  local name type model
  while read -r name type model; do
    [[ $type == disk && $model == *Elastic*Block*Store* ]] || continue
    [[ $(lsblk -n "$name" | wc -l) == 1 ]] || continue
    blkid -p "$name" >/dev/null 2>&1 && continue
    echo "$name"
    return
  done < <(lsblk -dnpr -o NAME,TYPE,MODEL)
  return 1
}

# lvm2 is not in the image. It comes from Amazon Linux's own repository, through the S3 endpoint.
install_lvm() {
  local attempt
  for attempt in 1 2 3 4 5; do
    if command -v lvcreate >/dev/null || dnf -q -y install lvm2; then return; fi
    sleep $((attempt * 5))
  done
  echo "orchestrator: lvm2 cannot be installed" >&2
  return 1
}

# A logical volume, so that other disks can join later. Each step looks whether it is done: a boot
# may end in between, and what has data is never made anew.
format_once() {
  local disk second
  for second in {1..60}; do
    if blkid -L "$label" >/dev/null; then return; fi
    if vgs "$label" >/dev/null 2>&1; then
      lvs "$label/data" >/dev/null 2>&1 || lvcreate -q -y -l 100%FREE -n data "$label"
      blkid -p "/dev/$label/data" >/dev/null 2>&1 || mkfs.xfs -q -L "$label" "/dev/$label/data"
      udevadm settle
      continue
    fi
    if disk=$(blank_disk); then
      vgcreate -q "$label" "$disk"
      continue
    fi
    sleep 1
  done
  echo "orchestrator: no data disk appeared within $second s" >&2
  return 1
}

mount_once() { # mount_once SOURCE TARGET OPTIONS...
  local source=$1 target=$2
  shift 2
  install -d "$target"
  mountpoint -q "$target" || mount "$@" "$source" "$target"
}

guard_agent
install_lvm
format_once
mount_once "LABEL=$label" "$volume" -o noatime
install -d -m 1777 "$volume/scratch"
install -d -m 710 "$volume/docker" "$volume/containerd"
mount_once "$volume/docker" /var/lib/docker --bind
mount_once "$volume/containerd" /var/lib/containerd --bind
# Last: the agent's guard looks at this one.
mount_once "$volume/scratch" "$SCRATCH_PATH" --bind

# Installs the orchestrator for all users of this host, writes its configuration from what the
# stacks deployed, starts it, and says to CloudFormation whether it answers.
# Needs: fetch.sh; ENVIRONMENT, HEALTH_SECONDS, LOG_GROUP; ARCHIVES: lines of DIRECTORY BUCKET KEY;
# FILES: lines of PATH BUCKET KEY; STACK and RESOURCE, which wait for a signal.

set -euo pipefail

readonly home=/opt/orchestrator
export AWS_REGION=$ASSET_REGION AWS_DEFAULT_REGION=$ASSET_REGION

# signal SUCCESS|FAILURE: the deployment that started this host goes on, or is rolled back.
signal() {
  local instance
  instance=$(metadata instance-id) || return
  credentials_as_curl_config | curl -sS --fail --max-time 30 --retry 5 --config - --output /dev/null \
    --aws-sigv4 "aws:amz:$ASSET_REGION:cloudformation" \
    --data-urlencode "Action=SignalResource" --data-urlencode "Version=2010-05-15" \
    --data-urlencode "StackName=$STACK" --data-urlencode "LogicalResourceId=$RESOURCE" \
    --data-urlencode "UniqueId=$instance" --data-urlencode "Status=$1" \
    "https://cloudformation.$ASSET_REGION.$ASSET_DOMAIN/"
}

say_how_it_ended() {
  local status=$?
  ((status)) || return 0
  echo "orchestrator: this host cannot be used (status $status)" >&2
  signal FAILURE
}
trap say_how_it_ended EXIT

install_orchestrator() {
  local directory bucket key path
  # Amazon Linux's own repository, through the S3 endpoint. All else comes from this deployment.
  dnf -q -y install python3.11 unzip
  id orchestrator >/dev/null 2>&1 || useradd --system --shell /sbin/nologin orchestrator
  install -d -m 755 "$home" /etc/orchestrator
  while read -r directory bucket key; do
    fetch "$bucket" "$key" "" "$home/part.zip"
    rm -rf "${home:?}/$directory"
    install -d "$home/$directory"
    unzip -q "$home/part.zip" -d "$home/$directory" </dev/null
    rm "$home/part.zip"
  done <<<"$ARCHIVES"
  while read -r path bucket key; do
    install -d -m 755 "${path%/*}"
    fetch "$bucket" "$key" "" "$path"
  done <<<"$FILES"
  python3.11 -m venv --without-pip "$home/venv"
  printf '%s\n' "$home/app" "$home/lib" >"$home/venv/lib/python3.11/site-packages/orchestrator.pth"
  cat >"$home/venv/bin/orchestrator" <<'EOF'
#!/opt/orchestrator/venv/bin/python
import sys

from orchestrator.cli import main

sys.exit(main())
EOF
  chmod 755 "$home/venv/bin/orchestrator"
  ln -sfn "$home/venv/bin/orchestrator" /usr/local/bin/orchestrator
}

configure() {
  orchestrator config render "$ENVIRONMENT" >/etc/orchestrator/orchestrator.conf.new
  mv -f /etc/orchestrator/orchestrator.conf.new /etc/orchestrator/orchestrator.conf
  printf 'AWS_REGION=%s\nAWS_DEFAULT_REGION=%s\n' "$AWS_REGION" "$AWS_REGION" \
    >/etc/orchestrator/environment
}

wait_for_health() {
  local deadline=$((SECONDS + HEALTH_SECONDS))
  until curl -sf --max-time 5 --output /dev/null http://127.0.0.1:8000/health; do
    if ((SECONDS >= deadline)); then
      echo "orchestrator: no answer from /health within $HEALTH_SECONDS s; the server's last words:" >&2
      tail -n 50 /var/log/orchestrator/server.log >&2
      return 1
    fi
    sleep 2
  done
}

install_orchestrator
configure
systemctl daemon-reload
systemctl enable --now orchestrator.service
LOG_GROUP=$LOG_GROUP ENVIRONMENT=$ENVIRONMENT bash "$home/reporting.sh" ||
  echo "orchestrator: this host sends no logs and no reports" >&2
wait_for_health
signal SUCCESS
echo "orchestrator: ready for environment $ENVIRONMENT"

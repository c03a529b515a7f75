# Installs the orchestrator for all users of this host, and writes its configuration from what the
# stacks deployed. Needs: ENVIRONMENT, and ARCHIVES: lines of DIRECTORY BUCKET KEY.

set -euo pipefail

readonly home=/opt/orchestrator
export AWS_REGION=$ASSET_REGION AWS_DEFAULT_REGION=$ASSET_REGION

# Amazon Linux's own repository, through the S3 endpoint. All else comes from this deployment.
dnf -q -y install python3.11 unzip

install -d -m 755 "$home" /etc/orchestrator
while read -r directory bucket key; do
  fetch "$bucket" "$key" "" "$home/part.zip"
  rm -rf "${home:?}/$directory"
  install -d "$home/$directory"
  unzip -q "$home/part.zip" -d "$home/$directory" </dev/null
  rm "$home/part.zip"
done <<<"$ARCHIVES"
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

orchestrator config render "$ENVIRONMENT" >/etc/orchestrator/orchestrator.conf.new
mv -f /etc/orchestrator/orchestrator.conf.new /etc/orchestrator/orchestrator.conf
echo "orchestrator: ready for environment $ENVIRONMENT"

# Installs the orchestrator for all users of this host, and writes its configuration from what the
# stacks deployed. Needs: ENVIRONMENT, ARCHIVES: lines of PACKAGE BUCKET KEY, REQUIREMENTS: BUCKET KEY.

set -euo pipefail

readonly home=/opt/orchestrator
export AWS_REGION=$ASSET_REGION AWS_DEFAULT_REGION=$ASSET_REGION

# Amazon Linux's own repository, through the S3 endpoint.
dnf -q -y install python3.11 python3.11-pip unzip

install -d -m 755 "$home" "$home/app" /etc/orchestrator
read -r bucket key <<<"$REQUIREMENTS"
fetch "$bucket" "$key" "" "$home/requirements.txt"
python3.11 -m venv "$home/venv"
# Every package is the locked one, by its hash.
"$home/venv/bin/pip" install -q --no-deps --require-hashes --only-binary :all: \
  -r "$home/requirements.txt"

while read -r package bucket key; do
  fetch "$bucket" "$key" "" "$home/$package.zip"
  unzip -q -o "$home/$package.zip" -d "$home/app/$package"
  rm "$home/$package.zip"
done <<<"$ARCHIVES"
echo "$home/app" >"$("$home/venv/bin/python" -c 'import site; print(site.getsitepackages()[0])')/app.pth"

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

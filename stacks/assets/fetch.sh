# Fetches one object of the deployment's own asset bucket and checks it. The image has no AWS
# command line: curl signs the request with the instance role's credentials, which it reads from
# a pipe, so that they are in no argument list and in no file.
# Needs: ASSET_REGION, ASSET_DOMAIN (amazonaws.com).

metadata() {
  local token
  token=$(curl -sf --max-time 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' \
    http://169.254.169.254/latest/api/token) || return
  curl -sf --max-time 5 -H "X-aws-ec2-metadata-token: $token" \
    "http://169.254.169.254/latest/meta-data/$1"
}

credentials_as_curl_config() {
  local role document
  role=$(metadata iam/security-credentials/) || return
  document=$(metadata "iam/security-credentials/$role") || return
  field() { sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p" <<<"$document"; }
  printf 'user = "%s:%s"\n' "$(field AccessKeyId)" "$(field SecretAccessKey)"
  printf 'header = "X-Amz-Security-Token: %s"\n' "$(field Token)"
}

# fetch BUCKET KEY SHA256 DESTINATION; an empty SHA256 trusts the bucket, whose keys are
# hashes of contents.
fetch() {
  local bucket=$1 key=$2 sha256=$3 destination=$4 part=$4.part attempt
  for attempt in 1 2 3 4 5 6 7 8 9 10; do
    if credentials_as_curl_config | curl -sS --fail --max-time 300 --config - \
        --aws-sigv4 "aws:amz:$ASSET_REGION:s3" --output "$part" \
        "https://$bucket.s3.$ASSET_REGION.$ASSET_DOMAIN/$key" &&
      { [[ -z $sha256 ]] || sha256sum --check --status <<<"$sha256  $part"; }; then
      mv -f "$part" "$destination"
      return 0
    fi
    rm -f "$part"
    echo "orchestrator: s3://$bucket/$key did not arrive whole (attempt $attempt of 10)" >&2
    sleep $((attempt * 3))
  done
  echo "orchestrator: gave up on s3://$bucket/$key" >&2
  return 1
}

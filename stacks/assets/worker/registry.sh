# Lets the ECS agent log in to private registries: REGISTRY_SECRET holds what ECS_ENGINE_AUTH_DATA
# takes, {"registry.example.org": {"username": "...", "password": "..."}}. Given by its name it is
# the one that the orchestrator keeps, and not there yet where no login is configured.
# Source: ECS Developer Guide, "Private registry authentication" of container instances.
# Needs: fetch.sh, REGISTRY_SECRET (an ARN or a name), ASSET_REGION, ASSET_DOMAIN.

log_in_to_registries() {
  local answer
  answer=$(credentials_as_curl_config | curl -sS --fail-with-body --max-time 30 --retry 5 --config - \
    --aws-sigv4 "aws:amz:$ASSET_REGION:secretsmanager" \
    -H 'Content-Type: application/x-amz-json-1.1' \
    -H 'X-Amz-Target: secretsmanager.GetSecretValue' \
    --data "{\"SecretId\":\"$REGISTRY_SECRET\"}" \
    "https://secretsmanager.$ASSET_REGION.$ASSET_DOMAIN/") || {
    [[ $REGISTRY_SECRET != arn:* && $answer == *ResourceNotFoundException* ]] || return
    echo "orchestrator: there is no login to Docker Hub yet" >&2
    return 0
  }
  install -d /etc/ecs
  (
    umask 077
    touch /etc/ecs/ecs.config
    chmod 600 /etc/ecs/ecs.config
    python3 -c 'import json, sys
data = json.loads(json.load(sys.stdin)["SecretString"])
print("ECS_ENGINE_AUTH_TYPE=docker")
print("ECS_ENGINE_AUTH_DATA=" + json.dumps(data))' <<<"$answer" >>/etc/ecs/ecs.config
  )
}

log_in_to_registries

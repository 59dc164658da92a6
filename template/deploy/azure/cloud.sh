# Names on Azure, and what the scripts share. Sourced after common.sh; needs AZURE_SUBSCRIPTION_ID.
# shellcheck shell=bash disable=SC2034 # used where this is sourced
export AZURE_CORE_ONLY_SHOW_ERRORS=true AZURE_CORE_COLLECT_TELEMETRY=false

API=2026-07-01 # of Microsoft.App

# Registry and vault need names that nobody in the world has; the subscription and the
# service make them, so no variable has to carry them.
number=$(printf '%s' "$AZURE_SUBSCRIPTION_ID/$SERVICE" | cksum)
number=$(printf '%010d' "${number%% *}")
short=${SERVICE:0:13}
REGISTRY=${SERVICE//-/}$number
VAULT=${short%-}-$number
GROUP=/subscriptions/$AZURE_SUBSCRIPTION_ID/resourceGroups/$SERVICE
APP=$GROUP/providers/Microsoft.App/containerApps/$SERVICE

# arm METHOD RESOURCE [OPTION...]: not `az containerapp`, which reads all secrets on an
# update, and drops what it does not know from a file without a word.
arm() {
  local method=$1 resource=$2
  shift 2
  az rest --method "$method" --url "$resource?api-version=$API" "$@"
}

app() { arm get "$APP" --query "$1" --output tsv; }

# Whether a resource reached its state; for wait_until.
provisioned() {
  local state
  state=$(arm get "$1" --query properties.provisioningState --output tsv)
  case $state in
    Succeeded | Provisioned) echo ok ;;
    Failed | Canceled) echo "failed: $state" ;;
    *) echo "$state" ;;
  esac
}

# The revision with all traffic; empty when it is split, or not tied to one.
serving() { app "properties.configuration.ingress.traffic[?to_string(weight)=='100'].revisionName | [0]"; }

# Whether a revision has a replica that is ready; for wait_until.
revision_ready() {
  local state
  state=$(arm get "$APP/revisions/$1" --output tsv \
    --query "join('/', [properties.provisioningState, properties.healthState || 'None', properties.runningState || 'Unknown'])")
  case $state in
    Provisioned/Healthy/Running*) echo ok ;;
    Failed/* | */Failed | */Degraded) echo "failed: $state" ;;
    *) echo "$state" ;;
  esac
}

# move_traffic REVISION: all of it, and look whether that is what happened.
move_traffic() {
  log "moving all traffic to $1"
  cat >"$WORK/traffic.json" <<JSON
{"properties": {"configuration": {"ingress": {"traffic": [{"revisionName": "$1", "weight": 100}]}}}}
JSON
  arm patch "$APP" --body "@$WORK/traffic.json" --output none &&
    wait_until 300 "traffic to $1" provisioned "$APP" && [ "$(serving)" = "$1" ]
}

#!/usr/bin/env bash
# rollback.sh [REVISION]: move all traffic to that revision, or to the one that served
# before the one that serves now. It has its image still; secrets are the app's newest.
set -euo pipefail
cd "$(dirname "$0")"
. ../common.sh
need AZURE_SUBSCRIPTION_ID
tools az curl python3
. ./cloud.sh

current=$(serving)
target=${1:-}
if [ -z "$target" ]; then
  target=$(arm get "$APP/revisions/$current" --output tsv \
    --query "properties.template.containers[0].env[?name=='PREVIOUS_REVISION'].value | [0]")
  [ -n "$target" ] || die "$current does not tell what served before it: name a revision"
fi
[ "$target" != "$current" ] || die "$target serves already"
arm get "$APP/revisions/$target" --output none || die "there is no revision $target"
arm post "$APP/revisions/$target/activate" --output none
wait_until 300 "$target" revision_ready "$target" || die "$target does not become ready; $current still serves"
move_traffic "$target" || die "the traffic did not move to $target: $(serving) serves"
../smoke-test.sh "https://$(app properties.configuration.ingress.fqdn)"
log "$SERVICE went back from $current to $target"

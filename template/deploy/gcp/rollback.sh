#!/usr/bin/env bash
# rollback.sh [REVISION]: move all traffic to that revision, or to the one that served
# before the one that serves now. It is still there, with its image and its secrets.
set -euo pipefail
cd "$(dirname "$0")"
. ../common.sh
. ./cloud.sh

need GCP_PROJECT_ID GCP_REGION
tools gcloud curl python3

current=$(serving)
target=${1:-}
if [ -z "$target" ]; then
  target=$(run revisions describe "$current" --format "value(metadata.annotations.previous-revision)")
  [ -n "$target" ] || die "$current does not tell what served before it: name a revision"
fi
[ "$target" != "$current" ] || die "$target serves already"
run revisions describe "$target" --format "value(metadata.name)" >/dev/null || die "there is no revision $target"
move_traffic "$target" || die "the traffic did not move to $target: $(serving) serves"
../smoke-test.sh "$(service status.url)"
log "$SERVICE went back from $current to $target"

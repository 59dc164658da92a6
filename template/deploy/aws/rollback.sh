#!/usr/bin/env bash
# rollback.sh [TASK_DEFINITION]: put the service on that task definition (NAME:NUMBER or
# ARN), or on the one that served before the one that serves now.
set -euo pipefail
cd "$(dirname "$0")"
. ../common.sh
. ./cloud.sh

need AWS_REGION AWS_SERVICE_URL
tools aws curl python3

definition() {
  aws ecs describe-task-definition --task-definition "$1" --query "taskDefinition.$2" --output text
}

current=$(service taskDefinition)
target=${1:-}
if [ -z "$target" ]; then
  target=$(definition "$current" 'containerDefinitions[0].dockerLabels."previous-task-definition"')
  [[ $target == arn:* ]] || die "${current##*/} does not tell what served before it: name a task definition"
fi
target=$(definition "$target" taskDefinitionArn) || die "there is no task definition $1"
[ "$target" != "$current" ] || die "${target##*/} serves already"
move_to "$target" "$(service desiredCount)" || die "the service did not move to ${target##*/}: it is on $(service taskDefinition)"
../smoke-test.sh "$AWS_SERVICE_URL"
log "$SERVICE went back from ${current##*/} to ${target##*/}"

# What deploy.sh and rollback.sh share. Sourced after common.sh.
# shellcheck shell=bash
export AWS_PAGER='' AWS_DEFAULT_REGION=${AWS_REGION:-}

# service QUERY: a part of what ECS tells of the service.
service() {
  aws ecs describe-services --cluster "$SERVICE" --services "$SERVICE" --query "services[0].$1" --output "${2:-text}"
}

# move_to TASK_DEFINITION COUNT: lets ECS replace the tasks, and looks which ones it
# settled on: after a rollback of its own it is stable, too.
move_to() {
  log "moving to ${1##*/}"
  aws ecs update-service --cluster "$SERVICE" --service "$SERVICE" --task-definition "$1" --desired-count "$2" >/dev/null &&
    aws ecs wait services-stable --cluster "$SERVICE" --services "$SERVICE" || return 1
  [ "$(service taskDefinition)" = "$1" ] || { log "ECS went back to $(service taskDefinition)"; return 1; }
}

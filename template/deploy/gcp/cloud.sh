# What deploy.sh and rollback.sh share. Sourced after common.sh.
# shellcheck shell=bash

gcp() { gcloud --quiet --project "$GCP_PROJECT_ID" "$@"; }

run() { gcp run "$@" --region "$GCP_REGION"; }

service() { run services describe "$SERVICE" --format "value($1)"; }

# The revision with the most traffic.
serving() {
  run services describe "$SERVICE" --flatten 'status.traffic[]' \
    --format 'csv[no-heading](status.traffic.percent, status.traffic.revisionName)' |
    awk -F, '$1 > most { most = $1; name = $2 } END { print name }'
}

# move_traffic REVISION: all of it, and look whether that is what happened.
move_traffic() {
  log "moving all traffic to $1"
  run services update-traffic "$SERVICE" --to-revisions "$1=100" >/dev/null &&
    [ "$(run services describe "$SERVICE" --flatten 'status.traffic[]' \
      --format 'csv[no-heading](status.traffic.percent, status.traffic.revisionName)' | grep -vE '^0?,')" = "100,$1" ]
}

#!/usr/bin/env bash
# smoke-test.sh URL [COMMIT]: does the service at URL run this commit, and is it ready?
# Asks until it does, for at most SMOKE_TEST_SECONDS (120): a first start takes a moment.
set -euo pipefail
. "$(dirname "$0")/common.sh"
[ $# -ge 1 ] || die "usage: smoke-test.sh URL [COMMIT]"
tools curl python3
url=${1%/} commit=${2:-}

get() { curl --silent --show-error --fail --max-time 10 "$url$1" 2>&1; }

check() {
  local answer running
  answer=$(get /version) || { echo "/version: $answer"; return; }
  running=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["commit"])' <<<"$answer" 2>/dev/null) ||
    { echo "/version does not tell a commit: ${answer:0:200}"; return; }
  [ -z "$commit" ] || [ "$running" = "$commit" ] || { echo "/version tells commit $running, not $commit"; return; }
  answer=$(get /health/ready) || { echo "/health/ready: $answer"; return; }
  echo "$running" >"$WORK/commit"
  echo ok
}

wait_until "${SMOKE_TEST_SECONDS:-120}" "smoke test of $url" check || die "the smoke test of $url failed"
log "$url is ready and runs commit $(cat "$WORK/commit")"

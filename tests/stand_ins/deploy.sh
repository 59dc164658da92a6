#!/usr/bin/env bash
# Stands in for deploy/CLOUD/deploy.sh: tells what it was given.
set -euo pipefail
printf '{"deploy": {"IMAGE": "%s", "COMMIT": "%s"}}\n' "$IMAGE" "$COMMIT" >> "$CALLS"

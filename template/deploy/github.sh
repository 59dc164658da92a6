# What a bootstrap needs from GitHub. Sourced after common.sh.
# shellcheck shell=bash

# The repository is asked from the clone's remote unless it is named.
github_repository() {
  local name=${GITHUB_REPOSITORY:-}
  [ -n "$name" ] || name=$(gh repo view --json nameWithOwner --jq .nameWithOwner) ||
    die "cannot tell the GitHub repository: run this in a clone of it, or set GITHUB_REPOSITORY=OWNER/NAME"
  printf '%s\n' "$name"
}

github_repository_id() {
  gh api "repos/$(github_repository)" --jq .id || die "cannot read the repository's id from GitHub: is gh logged in?"
}

# github_subject ENVIRONMENT: the `sub` claim of a job in that environment. Newer
# repositories have their numeric ids in it, so GitHub is asked, not guessed.
# https://docs.github.com/actions/reference/security/oidc
github_subject() {
  local prefix
  prefix=$(gh api "repos/$(github_repository)/actions/oidc/customization/sub" --jq '.sub_claim_prefix // empty') ||
    die "cannot read the OIDC subject from GitHub: is gh logged in, with admin rights on the repository?"
  printf '%s:environment:%s\n' "${prefix:-repo:$(github_repository)}" "$1"
}

# github_variables ENVIRONMENT NAME=VALUE...: prints the variables; with
# SET_GITHUB_VARIABLES=yes also creates the environment and sets them. Only the
# branch main may then deploy: the cloud trusts whatever runs in the environment.
github_variables() {
  local environment=$1 repository pair
  shift
  printf '\nVariables of the GitHub environment %s:\n' "$environment"
  printf '  %s\n' "$@"
  [ "${SET_GITHUB_VARIABLES:-no}" = yes ] || return 0
  repository=repos/$(github_repository)
  gh api --silent --method PUT "$repository/environments/$environment" --input - \
    <<<'{"deployment_branch_policy": {"protected_branches": false, "custom_branch_policies": true}}'
  gh api "$repository/environments/$environment/deployment-branch-policies" --jq '.branch_policies[].name' | grep -qx main ||
    gh api --silent --method POST "$repository/environments/$environment/deployment-branch-policies" -f name=main
  for pair in "$@"; do
    gh api --silent --method PATCH "$repository/environments/$environment/variables/${pair%%=*}" -f "value=${pair#*=}" 2>/dev/null ||
      gh api --silent --method POST "$repository/environments/$environment/variables" -f "name=${pair%%=*}" -f "value=${pair#*=}"
  done
  log "set in $repository"
}

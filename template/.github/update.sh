#!/bin/sh
# Brings in the latest release of the template and keeps what is yours.
# Arguments go to Copier:
#
#     .github/update.sh --data python_version=3.13 --vcs-ref=:current:
#
# Either the update goes through, or it stops at conflicts that it names, or
# nothing has changed.
set -eu

fail() {
    printf '%s\n' "$@" >&2
    exit 1
}

undo() {
    # Nothing of yours is in the way: the tree was clean.
    git reset --quiet --hard
    git clean --quiet --force -d
    fail "$@"
}

# A function, so that the shell has read all of it before the update replaces this file.
main() {
    for tool in git copier poetry; do
        command -v "$tool" >/dev/null || fail "An update needs $tool (for Copier: pipx install copier)."
    done
    [ -z "$(git status --porcelain)" ] || fail "Commit or stash your changes first; an update needs a clean tree."

    # Yours is what differs from what the template wrote the last time.
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    git clone --quiet . "$scratch/last"
    copier recopy --quiet --defaults --overwrite --vcs-ref=:current: "$scratch/last"
    git -C "$scratch/last" diff --name-only | LC_ALL=C sort >"$scratch/yours"

    copier update --defaults "$@" || undo "The update failed; nothing has changed."

    # Copier deletes what the template no longer has, edited or not, and says nothing.
    lost=$(git diff --name-only --diff-filter=D HEAD | LC_ALL=C sort | comm -12 - "$scratch/yours")
    [ -z "$lost" ] || undo "The template no longer has these files, but they hold work of yours:" "$lost" \
        "Move it elsewhere or delete the files, commit, and update again. Nothing has changed."

    # A merged lock may hold versions that nobody solved for. Yours is the start of a new solution.
    if grep --quiet --line-regexp poetry.lock "$scratch/yours"; then
        git checkout --quiet HEAD -- poetry.lock
    fi

    conflicts=$(git diff --name-only --diff-filter=U)
    [ -z "$conflicts" ] || fail "You and the template changed the same lines in:" "$conflicts" \
        "Settle them (git diff), then: poetry lock && make install check"

    poetry check --lock --quiet 2>/dev/null || poetry lock
}

main "$@"
exit

"""Read what the pinned actions take and give, from their own `action.yml`.

Run it after a pin in extensions/versions.yml has moved; it needs git and GitHub:

    python tests/actions.py
"""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

FACTS = Path(__file__).with_suffix(".yml")
_VERSIONS = Path(__file__).parents[1] / "extensions" / "versions.yml"
_HEADER = """\
# What each pinned action takes and gives. Written by tests/actions.py.
#
# sha:      the commit that the tag `version` points to
# required: inputs that must be given and have no default
"""


def read(action: str, version: str) -> dict[str, Any]:
    """Read the facts of one action at the tag named.

    Args:
        action: `owner/repository` or `owner/repository/folder`.
        version: a tag of that repository.

    Raises:
        subprocess.CalledProcessError: the repository, tag or action.yml is not there.
    """
    owner, name, *folder = action.split("/")
    with tempfile.TemporaryDirectory() as clone:

        def git(*arguments: str) -> str:
            return subprocess.run(
                ["git", *arguments], cwd=clone, check=True, capture_output=True, text=True
            ).stdout

        # Without the files, which are megabytes of bundled JavaScript.
        options = ["--quiet", "--bare", "--depth=1", "--filter=blob:none", f"--branch={version}"]
        git("clone", *options, f"https://github.com/{owner}/{name}", ".")
        # An annotated tag is an object of its own: the pin is the commit below it.
        sha = git("rev-parse", "HEAD^{commit}").strip()
        file = "/".join([*folder, "action.yml"])
        if not git("ls-tree", sha, file):
            file = file.removesuffix("yml") + "yaml"
        declared = yaml.safe_load(git("show", f"{sha}:{file}"))
    inputs = declared.get("inputs") or {}
    return {
        "version": version,
        "sha": sha,
        "runs": declared["runs"]["using"],
        "inputs": sorted(inputs),
        "required": sorted(
            key
            for key, value in inputs.items()
            if (value or {}).get("required") and "default" not in value
        ),
        "outputs": sorted(declared.get("outputs") or {}),
    }


def main() -> None:
    """Write tests/actions.yml anew."""
    pins = yaml.safe_load(_VERSIONS.read_text())["actions"]
    facts = {action: read(action, pin["version"]) for action, pin in pins.items()}
    FACTS.write_text(_HEADER + yaml.safe_dump(facts, default_flow_style=None, width=96))


if __name__ == "__main__":
    main()

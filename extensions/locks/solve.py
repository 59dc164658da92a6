"""Solve the lock of every dependency set anew, and collect the names a service must not take.

    .venv/bin/python extensions/locks/solve.py

Needs the `dev` group of this repository (Copier, Poetry) and a package index.
Writes `extensions/locks/*.lock` and `extensions/reserved.yml`.
"""

import json
import keyword
import os
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import copier
import yaml

LOCKS = Path(__file__).parent
TEMPLATE = LOCKS.parents[1]
RESERVED = LOCKS.parent / "reserved.yml"

# The answers that decide what is depended on, by the name of their lock.
SETS: dict[str, dict[str, Any]] = {
    f"{database}{signals}": {"database": database, "observability": observability}
    for database in ("none", "postgresql")
    for signals, observability in {
        "": [],
        "-traces": ["traces"],
        "-metrics": ["metrics"],  # with or without traces and dashboards
    }.items()
}

# Importable from the root of a service, so a package of that name would clash.
FOLDERS = ["deploy", "migrations", "tests"]

HEADER = """\
# Names that a service cannot take. Written by extensions/locks/solve.py.
#
# distributions: packages in the locks; a project cannot depend on its own name
# modules: keywords, the standard library (every Python met so far), import
#          names of the dependencies, folders of the project
#
# Text, not lists: Copier reads this at each copy, and YAML lists are slow.
"""


def solve(answers: dict[str, Any], project: Path) -> str:
    """Render a service, solve its dependencies and install them.

    Args:
        answers: what decides the dependency set.
        project: an empty folder.

    Returns:
        The content of its poetry.lock.

    Raises:
        subprocess.CalledProcessError: Poetry found no solution.
    """
    copier.run_copy(str(TEMPLATE), project, data=answers, defaults=True, quiet=True, vcs_ref="HEAD")
    # Not the lock that was rendered: a floor may have left it behind.
    (project / "poetry.lock").unlink()
    environment = os.environ | {"POETRY_VIRTUALENVS_IN_PROJECT": "true"}
    environment.pop("VIRTUAL_ENV", None)
    for command in (["lock"], ["sync", "--no-root", "--all-extras"]):
        subprocess.run(
            [sys.executable, "-m", "poetry", *command], cwd=project, env=environment, check=True
        )
    return (project / "poetry.lock").read_text()


def modules(project: Path) -> list[str]:
    """List the import names in the environment of a project."""
    code = "import importlib.metadata as m, json; print(json.dumps([*m.packages_distributions()]))"
    python = project / ".venv/bin/python"
    names: list[str] = json.loads(subprocess.check_output([python, "-c", code]))
    return names


def main() -> None:
    """Write the locks and the reserved names."""
    known = yaml.safe_load(RESERVED.read_text())["modules"].split()
    names = {*known, *keyword.kwlist, *sys.stdlib_module_names, *FOLDERS}
    distributions: set[str] = set()
    for name, answers in SETS.items():
        with tempfile.TemporaryDirectory() as folder:
            lock = solve(answers, Path(folder))
            names.update(modules(Path(folder)))
        (LOCKS / f"{name}.lock").write_text(lock)
        distributions.update(package["name"] for package in tomllib.loads(lock)["package"])
    names.update(name.replace("-", "_") for name in distributions)
    # Only what passes the rule for the name itself needs a place in the list.
    names = {name for name in names if name[0].isalpha() and name.islower()}
    lists = {"distributions": distributions, "modules": names}
    fill = textwrap.TextWrapper(
        98, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
    ).fill
    body = (f"{key}: >-\n{fill(' '.join(sorted(value)))}\n" for key, value in lists.items())
    RESERVED.write_text(HEADER + "".join(body))


if __name__ == "__main__":
    main()

"""Promise 2: no linter finds anything in any rendering."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import matrix
import pytest
from conftest import ROOT, Render

Distinct = Callable[[str], list[Path]]


@pytest.fixture(scope="session")
def services(render: Render) -> list[Path]:
    return [render(**answers) for answers in matrix.COMBINATIONS]


@pytest.fixture(scope="session")
def distinct(services: list[Path]) -> Distinct:
    """Return `distinct(pattern)`: one path for each different content in all renderings."""

    def distinct(pattern: str) -> list[Path]:
        found = {path.read_bytes(): path for service in services for path in service.glob(pattern)}
        assert found, f"no rendering has {pattern}"
        return list(found.values())

    return distinct


def run(*command: str | Path) -> None:
    """Run a tool of this environment; show what it says when it finds something."""
    tool = Path(sys.executable).with_name(str(command[0]))
    done = subprocess.run([tool, *command[1:]], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff(services: list[Path]) -> None:
    run("ruff", "check", "--no-cache", *services)


def test_ruff_format(services: list[Path]) -> None:
    run("ruff", "format", "--no-cache", "--check", *services)


def test_hadolint(distinct: Distinct) -> None:
    run("hadolint", *distinct("Dockerfile"))


def test_compose_schema(distinct: Distinct) -> None:
    files = [*distinct("docker-compose.yml"), *distinct(".devcontainer/docker-compose.yml")]
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", *files)


def test_compose_lint(distinct: Distinct) -> None:
    run("compose-lint", *distinct("docker-compose.yml"))


def test_an_ignored_finding_has_its_reason(services: list[Path]) -> None:
    """`noqa` goes with a reason on its line, other ignores with a comment above."""
    ignore = re.compile(r"#\s*(noqa|type: ignore|hadolint ignore|pragma: no cover|zizmor: ignore)")
    paths = {
        path.read_bytes(): path
        for service in services
        for path in service.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }
    bare = []
    for path in paths.values():
        lines = path.read_text().splitlines()
        for before, line in zip(["", *lines], lines, strict=False):
            if ignore.search(line) and not (" - " in line or before.lstrip().startswith("#")):
                bare.append(f"{path}: {line}")

    assert bare == []


def test_the_template_passes_its_own_lint() -> None:
    run("ruff", "check", ROOT)
    run("ruff", "format", "--check", ROOT)

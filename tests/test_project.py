"""Promise 2: a rendered service installs and passes its own lint, types and tests."""

import shutil
from pathlib import Path

import matrix
import pytest
from conftest import Answers, Render, free_port, run, succeeds

pytestmark = [pytest.mark.project, pytest.mark.usefixtures("engine")]


def service(render: Render, answers: Answers, folder: Path) -> Path:
    """Copy a rendering to where a user would have it: a repository of its own."""
    shutil.copytree(render(**answers), folder)
    run("git", "init", "--quiet", cwd=folder)
    run("git", "add", "--all", cwd=folder)
    run("git", "commit", "--quiet", "--message", "start", cwd=folder)
    return folder


@pytest.mark.parametrize("database", matrix.values("database"))
def test_make_install_check_test(render: Render, tmp_path: Path, database: str) -> None:
    folder = service(render, {"database": database}, tmp_path / "service")
    settings = (folder / ".env.example").read_text().replace("5432", str(free_port()))
    (folder / ".env").write_text(settings)
    environment = {
        "POETRY_VIRTUALENVS_IN_PROJECT": "true",
        "COMPOSE_PROJECT_NAME": f"project-{database}",
    }
    try:
        run("make", "install", cwd=folder, **environment)
        run("make", "check", cwd=folder, **environment)
        run("make", "test", cwd=folder, **environment)
        # The hook runs all of it once more, at the first commit.
        (folder / "README.md").write_text("changed\n")
        run("git", "commit", "--quiet", "--all", "--message", "x", cwd=folder, **environment)
        assert run("git", "status", "--porcelain", cwd=folder) == ""
    finally:
        run("make", "down", cwd=folder, **environment)


@pytest.mark.parametrize("python", matrix.values("python_version"))
def test_tests_pass_on_every_interpreter_here(render: Render, tmp_path: Path, python: str) -> None:
    """Cover Pythons without an image too, such as one that is not yet or no longer built."""
    interpreter = shutil.which(f"python{python}")
    if interpreter is None or not succeeds(interpreter, "--version"):
        pytest.skip(f"no python{python} on this machine; its image is tested all the same")
    folder = service(render, {"database": "none", "python_version": python}, tmp_path / "service")
    environment = {"POETRY_VIRTUALENVS_IN_PROJECT": "true"}
    run("poetry", "env", "use", interpreter, cwd=folder, **environment)
    run("poetry", "sync", cwd=folder, **environment)
    run("make", "check", "test", cwd=folder, **environment)


def test_make_lists_its_targets(render: Render) -> None:
    targets = run("make", cwd=render())

    assert {line.split()[0] for line in targets.splitlines()} == {
        "install", "check", "test", "run", "up", "down", "migrate", "migration", "lock", "update",
    }  # fmt: skip

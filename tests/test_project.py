"""Promise 2: a rendered service installs, passes its own checks, and its verbs do what they say."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matrix
import pytest
from conftest import Answers, Render, eventually, free_port, request, run, succeeds

pytestmark = [pytest.mark.project, pytest.mark.usefixtures("engine")]


@dataclass(frozen=True)
class Workspace:
    """A rendered service where a user would have it: a repository, installed."""

    folder: Path
    database: str
    environment: dict[str, str]

    def run(self, *command: str) -> str:
        """Run a command in it."""
        return run(*command, cwd=self.folder, **self.environment)


def repository(render: Render, answers: Answers, folder: Path) -> Path:
    """Copy a rendering and commit it."""
    shutil.copytree(render(**answers), folder)
    run("git", "init", "--quiet", cwd=folder)
    run("git", "add", "--all", cwd=folder)
    run("git", "commit", "--quiet", "--message", "start", cwd=folder)
    return folder


# Every verb is tried with each of these,
DATABASES: list[Answers] = [{"database": database} for database in matrix.values("database")]
# and the checks and tests with each kind of telemetry too, so that each lock is installed.
KINDS: list[Answers] = DATABASES + [
    {"database": database, "observability": observability}
    for database, observability in [
        ("none", []),
        ("none", ["traces"]),
        ("none", ["metrics"]),
        ("none", ["metrics", "traces"]),
        ("none", ["metrics", "dashboards"]),
        ("postgresql", []),
        ("postgresql", ["traces"]),
    ]
]


@pytest.fixture(scope="module", params=DATABASES, ids=matrix.name)
def workspace(
    request: pytest.FixtureRequest, render: Render, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workspace]:
    database = request.param["database"]
    folder = repository(render, request.param, tmp_path_factory.mktemp("project") / "service")
    settings = (folder / ".env.example").read_text().replace("5432", str(free_port()))
    (folder / ".env").write_text(settings)
    environment = {
        "COMPOSE_PROJECT_NAME": f"project-{database}",
        "POETRY_VIRTUALENVS_IN_PROJECT": "true",
        "PORT": str(free_port()),
    }
    workspace = Workspace(folder, database, environment)
    try:
        workspace.run("make", "install")
        yield workspace
    finally:
        workspace.run("docker", "compose", "down", "--volumes")


@pytest.mark.parametrize("workspace", KINDS, indirect=True, ids=matrix.name)
def test_make_check_and_test(workspace: Workspace) -> None:
    workspace.run("make", "check")
    workspace.run("make", "test")


def test_the_git_hook_runs_the_checks(workspace: Workspace) -> None:
    (workspace.folder / "src/my_service/wrong.py").write_text("import os\n")
    workspace.run("git", "add", "--all")

    with pytest.raises(AssertionError, match="Missing docstring"):
        workspace.run("git", "commit", "--message", "wrong")

    workspace.run("git", "rm", "--quiet", "--force", "src/my_service/wrong.py")
    assert workspace.run("git", "status", "--porcelain") == ""


def test_make_run_answers(workspace: Workspace) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        ["make", "run"],
        cwd=workspace.folder,
        env=os.environ | workspace.environment | {"PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            url = f"http://127.0.0.1:{workspace.environment['PORT']}/health/ready"
            assert eventually(lambda: request(url)[0] == 200)
        finally:
            os.killpg(process.pid, signal.SIGTERM)


@pytest.mark.parametrize("workspace", [{"database": "postgresql"}], indirect=True)
def test_a_new_migration_passes_the_checks_and_the_tests(workspace: Workspace) -> None:
    models = workspace.folder / "src/my_service/models.py"
    models.write_text(models.read_text() + "    colour: Mapped[str | None]\n")
    workspace.run("make", "migrate")

    workspace.run("make", "migration", "m=add colour")
    workspace.run("make", "migrate")

    (written,) = (workspace.folder / "migrations/versions").glob("*_add_colour.py")
    assert "add_column" in written.read_text()
    workspace.run("make", "check")
    workspace.run("make", "test")


@pytest.mark.parametrize("workspace", [{"database": "postgresql"}], indirect=True)
def test_a_migration_without_a_name_is_refused(workspace: Workspace) -> None:
    with pytest.raises(AssertionError, match="Say what changes"):
        workspace.run("make", "migration")


@pytest.mark.parametrize("python", matrix.values("python_version"))
def test_checks_and_tests_pass_on_every_interpreter_here(
    render: Render, tmp_path: Path, python: str
) -> None:
    """Cover a Python whose image cannot be had, too."""
    interpreter = shutil.which(f"python{python}")
    if interpreter is None or not succeeds(interpreter, "--version"):
        pytest.skip(f"no python{python} on this machine; its image is tested all the same")
    answers = {"database": "none", "python_version": python}
    folder = repository(render, answers, tmp_path / "service")
    environment = {"POETRY_VIRTUALENVS_IN_PROJECT": "true"}
    run("poetry", "env", "use", interpreter, cwd=folder, **environment)
    run("poetry", "sync", cwd=folder, **environment)
    run("make", "check", "test", cwd=folder, **environment)


def test_make_lists_all_its_targets(render: Render) -> None:
    service = render()
    phony = (service / "Makefile").read_text().split(".PHONY:")[1].split("\n")[0]

    assert {line.split()[0] for line in run("make", cwd=service).splitlines()} == set(phony.split())

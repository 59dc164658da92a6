"""The Dev Container opens ready to work: tools, dependencies, database, the user's own files."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import matrix
import pytest
from conftest import Render, free_port, run

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("engine")]

CLI = ("npx", "--yes", "@devcontainers/cli@0.89.0")
UID = 1000


@pytest.fixture(scope="module", params=matrix.values("database"))
def workspace(
    request: pytest.FixtureRequest, render: Render, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Bring the Dev Container of a rendering up."""
    if shutil.which("npx") is None:
        pytest.skip("npx (Node.js) is not installed")
    folder = tmp_path_factory.mktemp("dev") / "service"
    shutil.copytree(render(database=request.param, service_slug="dev-test"), folder)
    run("git", "init", "--quiet", cwd=folder)
    if os.getuid() == 0:  # whoever develops is not root
        for path in (folder, *folder.rglob("*")):
            os.chown(path, UID, UID)
    environment = {
        "COMPOSE_PROJECT_NAME": f"dev-{request.param}",
        "PORT": str(free_port()),
        "POSTGRES_PORT": str(free_port()),
        "PROMETHEUS_PORT": str(free_port()),
        "JAEGER_PORT": str(free_port()),
        "GRAFANA_PORT": str(free_port()),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            run(*CLI, "up", f"--workspace-folder={folder}")
            yield folder
        finally:
            run("docker", "compose", "down", "--volumes", "--rmi=local", cwd=folder)


def inside(workspace: Path, command: str) -> str:
    """Run a shell command in the Dev Container, as the developer's terminal does."""
    return run(*CLI, "exec", f"--workspace-folder={workspace}", "sh", "-c", command)


def test_the_configuration_is_read_as_meant(workspace: Path) -> None:
    read = run(*CLI, "read-configuration", f"--workspace-folder={workspace}")
    configuration = json.loads(read)["configuration"]

    assert configuration["service"] == "api"
    assert configuration["remoteUser"] == "dev"


def test_checks_and_tests_run_in_it(workspace: Path) -> None:
    inside(workspace, "make check test")


def test_what_it_writes_belongs_to_the_developer(workspace: Path) -> None:
    inside(workspace, "touch written && test -w pyproject.toml")
    owner = os.getuid() or UID

    assert (workspace / "written").stat().st_uid == owner


def test_the_git_hook_is_installed(workspace: Path) -> None:
    assert (workspace / ".git/hooks/pre-commit").exists()


def test_poetry_changes_the_environment_it_works_in(workspace: Path) -> None:
    path = inside(workspace, "poetry env info --path").strip()

    assert path == "/app/.venv"

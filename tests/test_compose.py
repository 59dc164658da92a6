"""A newcomer's first minute: `make up`, and the service answers with all it needs."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matrix
import pytest
from conftest import Render, eventually, fit_collector, free_port, request, run

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("engine")]

# Awkward answers, so that the image is built from them once too.
ANSWERS = {
    "service_name": "Ünlikely no".replace("Ü", "U"),
    "description": 'It\'s "100 %" \\ of {{ what }} ${you} #need: שלום 🚀',
    "author_name": "Łukasz O'Brien",
    "author_email": "lo+api@example.com",
    "github_owner": "Acme-Corp",
    "package_name": "match",
}


@dataclass(frozen=True)
class Stack:
    """A rendered service, up in Compose."""

    folder: Path
    environment: dict[str, str]
    database: str

    def run(self, *command: str) -> str:
        """Run a command as a user would, in the service's folder."""
        return run(*command, cwd=self.folder, **self.environment)

    @property
    def url(self) -> str:
        """Where the service answers."""
        return f"http://localhost:{self.environment['PORT']}"


@pytest.fixture(scope="module", params=matrix.values("database"))
def stack(
    request: pytest.FixtureRequest, render: Render, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack") / "service"
    shutil.copytree(render(database=request.param, **ANSWERS), folder)
    fit_collector(folder)
    environment = {
        "COMPOSE_PROJECT_NAME": f"stack-{request.param}",
        "PORT": str(free_port()),
        "POSTGRES_PORT": str(free_port()),
        "PROMETHEUS_PORT": str(free_port()),
        "JAEGER_PORT": str(free_port()),
        "GRAFANA_PORT": str(free_port()),
    }
    stack = Stack(folder, environment, request.param)
    try:
        stack.run("make", "up")
        yield stack
    finally:
        stack.run("docker", "compose", "down", "--volumes", "--rmi=local")


def test_make_up_ends_with_a_service_that_answers(stack: Stack) -> None:
    assert request(stack.url + "/health/ready") == (200, {"status": "ok"})


def test_the_documentation_is_there_for_the_developer(stack: Stack) -> None:
    assert request(stack.url + "/openapi.json")[0] == 200


def test_nothing_listens_beyond_this_machine(stack: Stack) -> None:
    for line in stack.run("docker", "compose", "ps", "--format={{.Ports}}").splitlines():
        for port in filter(lambda part: "->" in part, line.split(", ")):
            assert port.startswith("127.0.0.1:")


def test_no_password_leaves_the_env_file(stack: Stack) -> None:
    password = "local-only"

    assert (stack.folder / ".env").read_text().count(password) == (
        2 if stack.database == "postgresql" else 0
    )
    assert password not in (stack.folder / "docker-compose.yml").read_text()


@pytest.mark.parametrize("stack", ["postgresql"], indirect=True)
def test_the_data_survives_a_restart(stack: Stack) -> None:
    created = request(stack.url + "/api/v1/items", {"name": "pencil"})[1]

    stack.run("make", "down")
    stack.run("make", "up")

    assert request(f"{stack.url}/api/v1/items/{created['id']}") == (200, created)


@pytest.mark.parametrize("stack", ["postgresql"], indirect=True)
def test_not_ready_while_the_database_is_away_and_ready_again_by_itself(stack: Stack) -> None:
    stack.run("docker", "compose", "stop", "db")
    status, problem = eventually(
        lambda: answer if (answer := request(stack.url + "/health/ready"))[0] == 503 else None
    )
    assert (status, problem["status"]) == (503, 503)
    assert request(stack.url + "/health")[0] == 200

    stack.run("docker", "compose", "start", "db")
    assert eventually(lambda: request(stack.url + "/health/ready")[0] == 200)
    assert request(stack.url + "/api/v1/items")[0] == 200


def test_without_an_env_file_compose_says_what_to_do(render: Render, tmp_path: Path) -> None:
    folder = tmp_path / "service"
    shutil.copytree(render(), folder)
    environment = {key: "" for key in ("POSTGRES_PASSWORD",) if key in os.environ}

    with pytest.raises(AssertionError, match=r"Copy \.env\.example to \.env first"):
        run("docker", "compose", "config", cwd=folder, **environment)

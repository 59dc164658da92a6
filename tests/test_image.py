"""Promise 3: the first build works, and what it makes is hardened and stops politely."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matrix
import pytest
import yaml
from conftest import ROOT, Render, eventually, request, run, succeeds

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("engine")]

IMAGES = yaml.safe_load((ROOT / "extensions/versions.yml").read_text())["images"]
NETWORK = "template-tests"
DATABASE_URL = "postgresql://postgres:local-only@template-tests-db/postgres"
HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")


@dataclass(frozen=True)
class Build:
    """The images of one rendering."""

    database: str
    test: str
    runtime: str

    @property
    def options(self) -> list[str]:
        """Options of `docker run` that the service needs."""
        if self.database == "none":
            return []
        return [f"--network={NETWORK}", f"--env=DATABASE_URL={DATABASE_URL}"]

    @property
    def resource(self) -> str:
        """Path of the example resource."""
        return "/api/v1/greetings" if self.database == "none" else "/api/v1/items"


@pytest.fixture(scope="module", autouse=True)
def server(engine: None) -> Iterator[None]:
    """Run one PostgreSQL server for all images."""
    image = IMAGES["postgres"]
    run("docker", "network", "create", NETWORK)
    run(
        "docker", "run", "--detach", "--name=template-tests-db", f"--network={NETWORK}",
        "--env=POSTGRES_PASSWORD=local-only", "--env=POSTGRES_INITDB_ARGS=--encoding=UTF8",
        f"{image['name']}:{image['tag']}",
    )  # fmt: skip
    try:
        ready = ("docker", "exec", "template-tests-db", "pg_isready", "--host=127.0.0.1")
        eventually(lambda: succeeds(*ready))
        yield
    finally:
        run("docker", "rm", "--force", "--volumes", "template-tests-db")
        run("docker", "network", "rm", NETWORK)


@pytest.fixture(
    scope="module",
    params=[
        (python, database)
        for python in matrix.values("python_version")
        for database in matrix.values("database")
    ],
    ids="-".join,
)
def build(request: pytest.FixtureRequest, render: Render, server: None) -> Build:
    """Build the images of a rendering and bring its tables up to date."""
    python, database = request.param
    base = f"{IMAGES[f'python-{python}']['name']}:{IMAGES[f'python-{python}']['tag']}"
    if not (succeeds("docker", "image", "inspect", base) or succeeds("docker", "pull", base)):
        pytest.skip(f"{base} cannot be had here")
    context = render(python_version=python, database=database)
    tags = [f"template-tests:{python}-{database}-{target}" for target in ("test", "runtime")]
    for tag in tags:
        run(
            "docker", "build", f"--tag={tag}", f"--target={tag.rsplit('-')[-1]}",
            "--build-arg=COMMIT=abc123", context,
        )  # fmt: skip
    build = Build(database, *tags)
    if database == "postgresql":
        run(
            "docker",
            "run",
            "--rm",
            *HARDENED,
            *build.options,
            build.runtime,
            "alembic",
            "upgrade",
            "head",
        )
    return build


@dataclass(frozen=True)
class Container:
    """A running service."""

    name: str
    port: int

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def running(build: Build, *options: str) -> Iterator[Container]:
    """Run the service as hardened as a platform would, until it answers."""
    name = run(
        "docker", "run", "--detach", "--publish=127.0.0.1::8080", *HARDENED, *build.options,
        *options, build.runtime,
    ).strip()  # fmt: skip
    try:
        published = json.loads(
            run("docker", "inspect", "--format={{json .NetworkSettings.Ports}}", name)
        )
        container = Container(name, int(published["8080/tcp"][0]["HostPort"]))
        eventually(lambda: request(container.url + "/health")[0] == 200)
        yield container
    finally:
        run("docker", "rm", "--force", name)


@pytest.fixture(scope="module")
def service(build: Build) -> Iterator[Container]:
    with running(build) as container:
        yield container


def test_its_own_checks_pass_inside(build: Build) -> None:
    checks = "ruff check && ruff format --check && mypy"
    run("docker", "run", "--rm", *HARDENED, "--tmpfs=/tmp", build.test, "sh", "-c", checks)


def test_its_own_tests_pass_inside(build: Build) -> None:
    run("docker", "run", "--rm", *HARDENED, "--tmpfs=/tmp", *build.options, build.test)


def test_it_answers(build: Build, service: Container) -> None:
    assert request(service.url + "/health") == (200, {"status": "ok"})
    assert request(service.url + "/health/ready") == (200, {"status": "ok"})
    status, answer = request(service.url + build.resource, {"name": "Ada"})
    assert status in (200, 201)
    assert "Ada" in json.dumps(answer)


def test_it_tells_the_commit_it_was_built_from(service: Container) -> None:
    assert request(service.url + "/version")[1]["commit"] == "abc123"


def test_it_is_production_unless_told_otherwise(service: Container) -> None:
    assert request(service.url + "/docs")[0] == 404


def test_it_runs_without_a_name_and_without_pip(service: Container) -> None:
    script = "import importlib.util as u, os; print(os.getuid(), os.getpid(), u.find_spec('pip'))"
    inside = ("docker", "exec", service.name)
    assert run(*inside, "python", "-c", script).split()[0] == "10001"
    assert run(*inside, "/usr/local/bin/python3", "-c", script).split()[2] == "None"
    for tool in ("pip", "poetry", "gcc"):
        assert not succeeds(*inside, tool, "--version")


def test_nothing_in_it_can_be_changed_by_the_service(build: Build) -> None:
    """Even with a writable root file system."""
    writable = run(
        "docker", "run", "--rm", build.runtime, "find", "/app", "/usr", "-writable",
        "-not", "-type", "l",
    )  # fmt: skip
    assert writable == ""


def test_its_health_check_passes(service: Container) -> None:
    state = ("docker", "inspect", "--format={{.State.Health.Status}}", service.name)

    assert eventually(lambda: run(*state).strip() == "healthy")


def test_bytecode_is_there_for_everything_it_imports(service: Container) -> None:
    script = (
        "import sys, PACKAGE.main, pathlib; "
        "print([m.__file__ for m in sys.modules.values() if getattr(m, '__cached__', None)"
        " and not pathlib.Path(m.__cached__).exists()])"
    ).replace("PACKAGE", "my_service")

    assert run("docker", "exec", service.name, "python", "-c", script).strip() == "[]"


def test_another_port_by_environment(build: Build) -> None:
    name = run(
        "docker", "run", "--detach", "--publish=127.0.0.1::9000", "--env=PORT=9000", *HARDENED,
        *build.options, build.runtime,
    ).strip()  # fmt: skip
    try:
        port = run("docker", "port", name, "9000").strip().rpartition(":")[2]
        assert eventually(lambda: request(f"http://127.0.0.1:{port}/health")[0] == 200)
    finally:
        run("docker", "rm", "--force", name)


def test_sigterm_lets_a_running_request_finish(build: Build) -> None:
    body = b'{"name": "slow"}'
    head = (
        f"POST {build.resource} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    with running(build) as container:
        with socket.create_connection(("127.0.0.1", container.port), timeout=10) as client:
            client.sendall(head + body[:5])
            time.sleep(0.5)  # until the request is under way
            start = time.monotonic()
            run("docker", "kill", "--signal=TERM", container.name)
            time.sleep(1)
            client.sendall(body[5:])
            answer = client.recv(65536)
        code = run("docker", "wait", container.name).strip()
        took = time.monotonic() - start
        logged = run("docker", "logs", container.name)

    assert answer.split()[1] in (b"200", b"201")
    assert code == "0"
    assert took < 8
    assert "Finished server process" in logged


def test_every_line_it_writes_is_json(build: Build) -> None:
    with running(build) as container:
        request(container.url + build.resource, {"name": 1})
        run("docker", "stop", container.name)
        done = subprocess.run(
            ["docker", "logs", container.name], capture_output=True, text=True, check=True
        )

    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.stderr == ""
    assert {"access", "uvicorn.error"} <= {line["logger"] for line in lines}


def test_a_missing_setting_stops_it_with_a_sentence(build: Build) -> None:
    done = subprocess.run(
        ["docker", "run", "--rm", "--env=LOG_LEVEL=loud", build.runtime],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "LOG_LEVEL" in done.stderr
    assert "Traceback" not in done.stderr
    assert ("DATABASE_URL: Field required" in done.stderr) == (build.database == "postgresql")


def test_a_change_of_code_ships_kilobytes(render: Render, tmp_path: Path) -> None:
    """Only the last layer is new, and it is small."""
    context = tmp_path / "service"
    shutil.copytree(render(database="none"), context)
    layers = []
    for number in range(2):
        with (context / "src/my_service/__init__.py").open("a") as module:
            module.write(f"NUMBER = {number}\n")
        tag = f"template-tests:change-{number}"
        run("docker", "build", f"--tag={tag}", context)
        layers.append(json.loads(run("docker", "inspect", "--format={{json .RootFS.Layers}}", tag)))
        sizes = run("docker", "history", "--human=false", "--format={{.Size}}", tag).split()

    assert layers[0][:-1] == layers[1][:-1]
    assert layers[0][-1] != layers[1][-1]
    assert next(int(size) for size in sizes if size != "0") < 500_000

"""What the tests share: rendering, the matrix of answers, the Docker engine."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import copier
import jinja2
import pytest
import yaml

ROOT = Path(__file__).parents[1]

Answers = dict[str, Any]
Render = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def isolation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the developer's own settings of Copier, git and Poetry out of the tests."""
    settings = tmp_path_factory.mktemp("settings") / "copier.yml"
    settings.write_text("{}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COPIER_SETTINGS_PATH", str(settings))
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "Test")
            patch.setenv(f"GIT_{role}_EMAIL", "test@example.com")
        patch.delenv("VIRTUAL_ENV", raising=False)
        yield


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a plain copy of the working tree: Copier renders it faster than a repository."""
    folder = tmp_path_factory.mktemp("template")
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT
    )
    for name in listed.decode().split("\0")[:-1]:
        if (
            name.startswith(("CHANGELOG.md", "copier.yml", "template/", "extensions/"))
            and (ROOT / name).exists()
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


_compiled: dict[tuple[Any, ...], Any] = {}
_compile = jinja2.Environment.compile


def compile_once(environment: jinja2.Environment, source: str, *args: Any, **kwargs: Any) -> Any:
    """Do what `jinja2.Environment.compile` does, with a memory."""
    key = (source, *args, *kwargs.items())
    if key not in _compiled:
        _compiled[key] = _compile(environment, source, *args, **kwargs)
    return _compiled[key]


def render_into(template: Path, destination: Path, answers: Answers) -> Path:
    """Render a service as `copier copy` does, without trust.

    Raises:
        ValueError: an answer does not pass its validator.
    """
    with pytest.MonkeyPatch.context() as patch:
        # Saves a `git config` for every file; a plain folder needs no git.
        patch.setattr("copier._main.is_git_available", lambda: False)
        # Copier compiles every template at every copy. The settings of Jinja
        # are the same each time, so once a session is enough.
        patch.setattr("jinja2.Environment.compile", compile_once)
        copier.run_copy(
            str(template), destination, data=answers, defaults=True, quiet=True, unsafe=False
        )
    return destination


@pytest.fixture(scope="session")
def render(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Render:
    """Return `render(**answers)`: a folder, rendered once a session. Do not write into it."""
    rendered: dict[str, Path] = {}

    def render(**answers: Any) -> Path:
        key = json.dumps(answers, sort_keys=True)
        if key not in rendered:
            rendered[key] = render_into(
                template, tmp_path_factory.mktemp("rendered") / "service", answers
            )
        return rendered[key]

    return render


@pytest.fixture(scope="session")
def engine() -> None:
    """Skip without a Docker engine; `.ci/run` fails when that happens."""
    if shutil.which("docker") is None or not succeeds("docker", "version"):
        pytest.skip("no Docker engine answers")


def succeeds(*command: str | Path) -> bool:
    """Tell whether a command exits with 0."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def run(*command: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """Run a command, with more environment variables, and return its standard output.

    Raises:
        AssertionError: it failed; the message holds what it printed.
    """
    # Poetry, copier and the linters are those of the tests' own environment.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-8000:]}\n{done.stderr[-8000:]}"
    return done.stdout


def eventually(check: Callable[[], Any], seconds: float = 30) -> Any:
    """Call until it returns something true and raises nothing; return that.

    Raises:
        TimeoutError: it did not come true in time; the last error is its cause.
    """
    end = time.monotonic() + seconds
    last: Exception | None = None
    while time.monotonic() < end:
        try:
            if result := check():
                return result
        except (AssertionError, OSError) as error:
            last = error
        time.sleep(0.2)
    raise TimeoutError(f"not true within {seconds} s") from last


def request(url: str, document: Any = None) -> tuple[int, dict[str, Any]]:
    """Ask for a JSON document, with POST when one is sent; return the status and the answer."""
    body = None if document is None else json.dumps(document).encode()
    sent = urllib.request.Request(url, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(sent, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def fit_collector(service: Path) -> None:
    """Let an older Collector stand in: before 0.144 it knew one exporter by another name."""
    compose = yaml.safe_load((service / "docker-compose.yml").read_text())
    image = compose["services"]["otel-collector"]["image"]
    if "otlp_grpc" not in run("docker", "run", "--rm", image, "components"):
        config = service / "otel/otel-config.yaml"
        config.write_text(config.read_text().replace("otlp_grpc", "otlp"))


def free_port() -> int:
    """Find a TCP port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port

"""What the tests share: rendering, the matrix of answers, the Docker engine."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import copier
import jinja2
import pytest

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
        if name.startswith(("copier.yml", "template/", "extensions/")) and (ROOT / name).exists():
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
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "version"], capture_output=True).returncode
    ):
        pytest.skip("no Docker engine answers")

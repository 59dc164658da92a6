"""Promises 1 and 7: plain Copier is enough, and one table holds every version."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matrix
import pytest
import yaml
from conftest import ROOT, Render
from packaging.version import Version
from poetry.packages.locker import Locker

VERSIONS: dict[str, Any] = yaml.safe_load((ROOT / "extensions/versions.yml").read_text())
LOCKS = sorted((ROOT / "extensions/locks").glob("*.lock"))

# Copier ignores a misspelt key without a word.
SETTINGS = {
    "_answers_file",
    "_envops",
    "_exclude",
    "_message_after_copy",
    "_message_after_update",
    "_min_copier_version",
    "_subdirectory",
}
QUESTION_KEYS = {"type", "help", "default", "choices", "multiselect", "validator", "when"}


def sources() -> Iterator[Path]:
    """List the files below template/, but locks."""
    paths = (path for path in (ROOT / "template").rglob("*") if path.is_file())
    return (path for path in paths if "__pycache__" not in path.parts)


def test_nothing_asks_for_trust() -> None:
    needs_trust = {"_tasks", "_migrations", "_jinja_extensions", "_external_data"}

    assert needs_trust.isdisjoint(matrix.CONFIG)


def test_only_known_settings() -> None:
    assert {key for key in matrix.CONFIG if key.startswith("_")} <= SETTINGS


@pytest.mark.parametrize("name", [name for name in matrix.CONFIG if not name.startswith("_")])
def test_only_known_keys_in_a_question(name: str) -> None:
    assert set(matrix.CONFIG[name]) <= QUESTION_KEYS


@pytest.mark.parametrize("name", matrix.QUESTIONS)
def test_every_question_has_help_and_a_default(name: str) -> None:
    assert {"help", "default"} <= set(matrix.QUESTIONS[name])


def test_every_excluded_path_exists(render: Render) -> None:
    listed = set(re.findall(r"^\s*(/\S.*)$", "\n".join(matrix.CONFIG["_exclude"]), re.MULTILINE))
    listed = {path.replace("{{ package_name }}", "my_service") for path in listed}
    rendered = [
        service
        for database in matrix.values("database")
        for service in [render(database=database, github_owner="acme")]
    ]

    assert {
        path for path in listed if not any((s / path.lstrip("/")).exists() for s in rendered)
    } == set()


def test_the_template_writes_no_version_itself() -> None:
    # Addresses look like versions; 0.1.0 is the service's own first one.
    harmless = re.compile(r"\b(127\.0\.0\.1|0\.0\.0\.0|0\.1\.0|\d+(\.\d+){3}(/\d+)?)\b")
    version = re.compile(r"\b\d+\.\d+\.\d+\b|@[0-9a-f]{40}|sha256:[0-9a-f]{64}")
    found = {
        str(path.relative_to(ROOT)): match.group()
        for path in sources()
        if (match := version.search(harmless.sub("", path.read_text())))
    }

    assert found == {}


def test_every_version_in_the_table_is_used(render: Render) -> None:
    macros = (ROOT / "extensions/macros.jinja").read_text()
    own = (ROOT / ".github/workflows").glob("*.yml")
    text = macros + "".join(path.read_text() for path in [*sources(), *own])
    unused = [
        f"{table}.{entry}"
        for table in VERSIONS
        for entry in VERSIONS[table]
        if f"'{entry}'" not in text
        and f".{entry} " not in text
        and f" {entry}@" not in text
        and not entry.startswith("python-3.")
    ]

    assert unused == []


def test_every_python_choice_has_an_image() -> None:
    images = {key.removeprefix("python-") for key in VERSIONS["images"] if "python-" in key}

    assert images == set(matrix.values("python_version"))


locks = pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)


@locks
def test_a_lock_knows_no_source(path: Path) -> None:
    assert "://" not in path.read_text()
    assert all("source" not in p for p in tomllib.loads(path.read_text())["package"])


@locks
def test_every_file_of_a_lock_has_a_hash(path: Path) -> None:
    for package in tomllib.loads(path.read_text())["package"]:
        assert package["files"], package["name"]
        assert all(file["hash"].startswith("sha256:") for file in package["files"])


@locks
def test_a_lock_holds_the_floors(path: Path) -> None:
    locked = {p["name"]: p["version"] for p in tomllib.loads(path.read_text())["package"]}
    floors = {name: floor for name, floor in VERSIONS["python"].items() if name in locked}

    assert floors
    assert all(Version(locked[name]) >= Version(floor) for name, floor in floors.items())


@locks
def test_a_lock_serves_every_python(path: Path) -> None:
    assert tomllib.loads(path.read_text())["metadata"]["python-versions"] == ">=3.11"


def test_every_lock_is_rendered_as_it_stands(render: Render) -> None:
    rendered = {(render(**answers) / "poetry.lock").read_bytes() for answers in matrix.COMBINATIONS}

    assert rendered == {path.read_bytes() for path in LOCKS}


def test_every_rendered_lock_fits_its_project(render: Render) -> None:
    """Check what `poetry check --lock` checks, for every combination."""
    for answers in matrix.COMBINATIONS:
        service = render(**answers)
        project = tomllib.loads((service / "pyproject.toml").read_text())
        assert Locker(service / "poetry.lock", project).is_fresh(), matrix.name(answers)


def test_reserved_names_cover_what_is_locked() -> None:
    reserved = yaml.safe_load((ROOT / "extensions/reserved.yml").read_text())
    locked = {
        package["name"] for path in LOCKS for package in tomllib.loads(path.read_text())["package"]
    }

    assert set(reserved["distributions"].split()) == locked


def test_the_readme_of_the_template_names_every_question() -> None:
    readme = (ROOT / "README.md").read_text()

    assert [name for name in matrix.QUESTIONS if f"`{name}`" not in readme] == []


def test_the_dev_container_is_a_compose_service(render: Render) -> None:
    folder = render() / ".devcontainer"
    text = re.sub(r"^\s*//.*$", "", (folder / "devcontainer.json").read_text(), flags=re.MULTILINE)
    container = json.loads(text)
    override = yaml.safe_load((folder / "docker-compose.yml").read_text())

    service = override["services"][container["service"]]
    assert f".:{container['workspaceFolder']}" in service["volumes"]
    assert all((folder / path).exists() for path in container["dockerComposeFile"])

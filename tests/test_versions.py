"""Promise 7: a bot finds every entry of the table of versions and moves it where it stands."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Render, run

VERSIONS: dict[str, Any] = yaml.safe_load((ROOT / "extensions/versions.yml").read_text())
# The system's Node.js is often older than the one that Renovate wants.
MACHINE = {"x86_64": "x64", "AMD64": "x64"}.get(platform.machine(), "arm64")
NODE = f"node-{sys.platform}-{MACHINE}"
PACKAGES = ["renovate@44.121.2", f"{NODE}@24.21.0"]


class Renovate:
    """Renovate from npm, with the Node.js that it wants."""

    def __init__(self, folder: Path) -> None:
        self.modules = folder / "node_modules"

    def node(self, *arguments: str | Path, cwd: Path, **environment: str) -> str:
        """Run Node.js and return what it prints, with a log in JSON."""
        done = subprocess.run(
            [self.modules / NODE / "bin/node", *arguments],
            cwd=cwd,
            env=os.environ | {"LOG_FORMAT": "json"} | environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    def script(self, name: str) -> Path:
        """Return the path of one of Renovate's modules."""
        return self.modules / "renovate/dist" / name

    def extract(self, repository: Path) -> dict[str, list[dict[str, Any]]]:
        """List the dependencies that Renovate finds, by manager and file; asks no network."""
        # It reads what git knows.
        run("git", "init", "--quiet", repository)
        run("git", "add", "--all", cwd=repository)
        log = self.node(
            self.script("renovate.js"),
            "--platform=local",
            "--dry-run=extract",
            cwd=repository,
            LOG_LEVEL="debug",
        )
        records = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        found = next(r for r in records if r["msg"] == "Extracted dependencies")["packageFiles"]
        dependencies: dict[str, list[dict[str, Any]]] = {}
        for manager, files in found.items():
            for file in files:
                name = f"{manager} {file['packageFile']}"
                dependencies.setdefault(name, []).extend(file["deps"])
        return dependencies


@pytest.fixture(scope="session")
def renovate() -> Renovate:
    """Install Renovate once a machine."""
    if shutil.which("npm") is None:
        pytest.skip("no npm on this machine to install Renovate with")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = cache / "fastapi-template" / "-".join(PACKAGES)
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *PACKAGES]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-4000:]
        (folder / "ready").touch()
    return Renovate(folder)


def own_files(folder: Path) -> Path:
    """Copy what the bot reads of this repository."""
    for name in ("renovate.json", "pyproject.toml", "extensions", ".github", "template"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name)
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, folder)
    return folder


def expected() -> set[tuple[str, str, str | None, str]]:
    """Compute what has to be found: package, version, digest, kind of source."""
    comments = dict(
        re.findall(
            r"^  ([\w-]+): \S+ # (.+)$",
            (ROOT / "extensions/versions.yml").read_text(),
            re.MULTILINE,
        )
    )
    wanted: set[tuple[str, str, str | None, str]] = set()
    for name, version in {**VERSIONS["python"], **VERSIONS["tools"]}.items():
        source, package = comments.get(name, f"pypi {name}").split()
        wanted.add((package, version.removeprefix("ubuntu-"), None, source))
    for image in VERSIONS["images"].values():
        wanted.add((image["name"], image["tag"], image.get("digest"), "docker"))
    for name, pin in VERSIONS["actions"].items():
        package = "/".join(name.split("/")[:2])
        wanted.add((package, pin["version"], pin["sha"], "github-tags"))
    return wanted


def test_tools_of_the_tests_have_the_version_of_the_table() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    tests = dict(requirement.split("==") for requirement in groups["dev"])
    table = {**VERSIONS["python"], **VERSIONS["tools"]}

    shared = tests.keys() & table.keys()

    assert {"copier", "mypy", "poetry", "ruff"} <= shared
    assert {name: tests[name] for name in shared} == {name: table[name] for name in shared}


def test_own_workflows_use_the_pins_of_the_table() -> None:
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        text = path.read_text()
        for action, sha, version in re.findall(r"uses: ([^@\s]+)@(\S+) # (\S+)", text):
            pin = VERSIONS["actions"][action]
            assert (sha, version) == (pin["sha"], pin["version"]), f"{action} in {path.name}"
        assert set(re.findall(r"runs-on: (\S+)", text)) == {VERSIONS["tools"]["runner"]}, path.name
        installed = re.findall(r"\b([a-z-]+)==(\S+)", text)
        assert all(VERSIONS["tools"][name] == version for name, version in installed), path.name


@pytest.mark.project
def test_the_settings_of_renovate_are_valid(renovate: Renovate) -> None:
    renovate.node(renovate.script("config-validator.js"), "--strict", "renovate.json", cwd=ROOT)


@pytest.mark.project
def test_renovate_finds_every_entry_of_the_table(renovate: Renovate, tmp_path: Path) -> None:
    found = renovate.extract(own_files(tmp_path))

    assert {
        (
            dep.get("packageName", dep["depName"]),
            dep["currentValue"],
            dep.get("currentDigest"),
            dep.get("datasource", ""),
        )
        for dep in found["regex extensions/versions.yml"]
    } == expected()
    assert not [file for file in found if "template/" in file]


@pytest.mark.project
def test_renovate_finds_what_must_move_with_the_table(renovate: Renovate, tmp_path: Path) -> None:
    found = renovate.extract(own_files(tmp_path))

    tools = {dep["depName"] for dep in found["pep621 pyproject.toml"]}
    assert {"copier", "poetry", "ruff"} <= tools
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        actions = {dep["depName"] for dep in found[f"github-actions .github/workflows/{path.name}"]}
        assert set(re.findall(r"uses: ([^@\s]+)@", path.read_text())) <= actions


@pytest.mark.project
def test_renovate_moves_an_entry_and_no_other(renovate: Renovate, tmp_path: Path) -> None:
    name = "extensions/versions.yml"
    (tmp_path / "extensions").mkdir()
    shutil.copy2(ROOT / name, tmp_path / name)
    arguments = (renovate.script(""), ROOT / "renovate.json", tmp_path, name)
    output = renovate.node(ROOT / "tests/replace.mjs", *arguments, cwd=tmp_path)
    moves = json.loads(output.splitlines()[-1])

    assert len(moves) == sum(len(entries) for entries in VERSIONS.values())
    for move in moves:
        now = yaml.safe_load(move["content"])
        changed = [
            (VERSIONS[table][entry], now[table][entry])
            for table in VERSIONS
            for entry in VERSIONS[table]
            if now[table][entry] != VERSIONS[table][entry]
        ]
        assert len(changed) == 1, move["dep"]
        old, new = changed[0]
        value, digest = move["update"]["newValue"], move["update"].get("newDigest")
        if isinstance(old, str):
            assert new.removeprefix("ubuntu-") == value
        elif "sha" in old:
            assert new == {"version": value, "sha": digest}
        else:
            assert new == {"name": old["name"], "tag": value, "digest": digest}


@pytest.mark.project
def test_renovate_updates_a_service(renovate: Renovate, render: Render, tmp_path: Path) -> None:
    """The setting that the README of a service gives works in a service as it is."""
    readme = (render() / "README.md").read_text()
    setting = re.findall(r"```json\n(.*?)```", readme, re.DOTALL)
    assert len(setting) == 1
    (tmp_path / "renovate.json").write_text(setting[0])
    answers = "_commit: v0.1.0\n_src_path: https://example.com/template.git\n"
    (tmp_path / ".copier-answers.yml").write_text(answers)

    renovate.node(renovate.script("config-validator.js"), "--strict", "renovate.json", cwd=tmp_path)
    found = renovate.extract(tmp_path)

    assert list(found) == ["copier .copier-answers.yml"]
    assert found["copier .copier-answers.yml"][0]["currentValue"] == "v0.1.0"

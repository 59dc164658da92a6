"""Promise 6, by hand and by the clock: `make update`, and the workflow that proposes it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import run
from releases import (
    LAST,
    NEXT,
    TABLE,
    Repository,
    commit,
    conflicts,
    contents,
    edit,
    git,
)
from shell import Done, Job, attempt

SCRIPT = ".github/update.sh"
# Switches the answers, not the release.
WITHOUT_DATABASE = ("--data", "database=none", "--vcs-ref=:current:")
POETRY = {"POETRY_VIRTUALENVS_IN_PROJECT": "true"}


@pytest.fixture(scope="module")
def older(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a tree of an older release, whose update.sh has other lines at other places."""
    tree = tmp_path_factory.mktemp("older") / "tree"
    shutil.copytree(template, tree)
    edit(tree / "template/README.md.jinja", "With Docker:", "With a Docker engine:")
    edit(tree / "template" / SCRIPT, "set -eu\n", "set -eu\n" + "# An old line\n" * 500)
    edit(tree / "template/.github/workflows/template-update.yml.jinja", "17 5", "18 5")
    (tree / "template/.editorconfig").rename(tree / "template/.oldconfig")
    return tree


@pytest.fixture(scope="module")
def newer(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the working tree, with a change log."""
    tree = tmp_path_factory.mktemp("newer") / "tree"
    shutil.copytree(template, tree)
    sections = [
        ("Unreleased", "Not yet"),
        (NEXT[1:], "Brand new"),
        ("0.0.3", "New"),
        (LAST[1:], "Old"),
    ]
    text = "".join(f"## [{version}]\n\n- {entry}.\n\n" for version, entry in sections)
    (tree / "CHANGELOG.md").write_text("# Changelog\n\n" + text)
    return tree


@pytest.fixture(scope="module")
def repository(older: Path, newer: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    repository = Repository(tmp_path_factory.mktemp("template"))
    repository.release(older, LAST)
    repository.release(newer, NEXT)
    return repository


# ------------------------------------------------------------- .github/update.sh


def test_work_in_a_file_that_would_go_stops_the_update(
    repository: Repository, tmp_path: Path
) -> None:
    service = repository.copy(tmp_path / "service", NEXT)
    models = service / "src/my_service/models.py"
    models.write_text(models.read_text() + "\n# mine\n")
    commit(service)
    before = contents(service)

    done = attempt(service, SCRIPT, *WITHOUT_DATABASE)

    assert done.returncode == 1
    assert "src/my_service/models.py" in done.stderr.splitlines()
    assert "src/my_service/database.py" not in done.stderr
    assert contents(service) == before
    assert git(service, "status", "--porcelain") == ""


def test_a_renamed_file_with_work_in_it_stops_the_update(
    repository: Repository, tmp_path: Path
) -> None:
    service = repository.copy(tmp_path / "service", LAST)
    (service / ".oldconfig").write_text("mine\n")
    commit(service)

    done = attempt(service, SCRIPT)

    assert done.returncode == 1
    assert ".oldconfig" in done.stderr.splitlines()
    assert (service / ".oldconfig").read_text() == "mine\n"


def test_files_without_work_go_and_own_files_stay(repository: Repository, tmp_path: Path) -> None:
    service = repository.copy(tmp_path / "service", NEXT)
    own = service / "migrations/versions/0002_mine.py"
    own.write_text("mine\n")
    commit(service)
    fresh = repository.copy(tmp_path / "fresh", NEXT, database="none")

    done = attempt(service, SCRIPT, *WITHOUT_DATABASE)

    assert done.returncode == 0, done.stderr
    assert contents(service) == contents(fresh) | {str(own.relative_to(service)): b"mine\n"}


def test_the_update_replaces_the_script_that_runs_it(
    repository: Repository, tmp_path: Path
) -> None:
    service = repository.copy(tmp_path / "service", LAST)
    fresh = repository.copy(tmp_path / "fresh", NEXT)

    done = attempt(service, SCRIPT)

    assert done.returncode == 0, done.stderr
    assert contents(service) == contents(fresh)


def test_a_conflict_is_named(repository: Repository, tmp_path: Path) -> None:
    service = repository.copy(tmp_path / "service", LAST)
    edit(service / "README.md", "With a Docker engine:", "With Podman:")
    commit(service)

    done = attempt(service, SCRIPT)

    assert done.returncode == 1
    assert "README.md" in done.stderr.splitlines()
    assert conflicts(service) == ["README.md"]
    assert {"With Podman:", "With Docker:"} <= {*(service / "README.md").read_text().splitlines()}


def test_a_dirty_tree_is_left_alone(repository: Repository, tmp_path: Path) -> None:
    service = repository.copy(tmp_path / "service", LAST)
    (service / "README.md").write_text("not committed\n")
    before = contents(service)

    done = attempt(service, SCRIPT)

    assert done.returncode == 1
    assert "Commit or stash" in done.stderr
    assert contents(service) == before


def test_a_failed_update_changes_nothing(repository: Repository, tmp_path: Path) -> None:
    service = repository.copy(tmp_path / "service", LAST)
    before = contents(service)

    done = attempt(service, SCRIPT, "--data", "database=oracle")

    assert done.returncode == 1
    assert "nothing has changed" in done.stderr
    assert contents(service) == before


def test_a_missing_tool_is_named(repository: Repository, tmp_path: Path) -> None:
    service = repository.copy(tmp_path / "service", LAST)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").symlink_to(shutil.which("git") or "git")

    done = attempt(service, "/bin/sh", SCRIPT, PATH=str(tmp_path / "bin"))

    assert done.returncode == 1
    assert "needs copier" in done.stderr


# --------------------------------------------------------------------- the lock


@pytest.fixture(scope="module")
def locked(
    older: Path, newer: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Repository, str]:
    """Return a repository whose releases have different locks, and the new floor of Ruff."""
    floor = yaml.safe_load((newer / TABLE).read_text())["python"]["ruff"]
    tree = tmp_path_factory.mktemp("older") / "tree"
    shutil.copytree(older, tree)
    edit(tree / TABLE, f'ruff: "{floor}"', f'ruff: "0.1,<{floor}"')
    draft = Repository(tmp_path_factory.mktemp("draft"))
    draft.release(tree, LAST)
    service = draft.copy(tmp_path_factory.mktemp("solve") / "service", LAST, database="none")
    rendered = (service / "poetry.lock").read_bytes()
    run("poetry", "lock", cwd=service)
    for lock in (tree / "extensions/locks").glob("*.lock"):
        if lock.read_bytes() == rendered:
            shutil.copy2(service / "poetry.lock", lock)
    repository = Repository(tmp_path_factory.mktemp("template"))
    repository.release(tree, LAST)
    repository.release(newer, NEXT)
    return repository, floor


@pytest.mark.project
def test_make_update_solves_the_lock_of_both_sides_and_checks(
    locked: tuple[Repository, str], tmp_path: Path
) -> None:
    repository, floor = locked
    service = repository.copy(tmp_path / "service", LAST, database="none")
    run("poetry", "add", "tenacity<9.1", cwd=service, **POETRY)
    run("poetry", "sync", cwd=service, **POETRY)
    commit(service)
    mine = (service / "poetry.lock").read_text()

    options = "with=--data description='In other words'"
    done = attempt(service, "make", "update", options, **POETRY)

    assert done.returncode == 0, done.stdout + done.stderr
    lock = (service / "poetry.lock").read_text()
    assert lock != mine
    assert f'name = "ruff"\nversion = "{floor}"' in lock
    assert 'name = "tenacity"\nversion = "9.0.' in lock
    assert 'description = "In other words"' in (service / "pyproject.toml").read_text()
    assert "Success: no issues found" in done.stdout  # mypy ran


# ----------------------------------------------------------------- the workflow


class Proposal(Job):
    """The job of template-update.yml, in a service with a bare remote."""

    def __init__(self, service: Path, folder: Path) -> None:
        workflow = service / ".github/workflows/template-update.yml"
        super().__init__(workflow, "update", service, folder)
        self.remote = folder / "remote.git"
        self.answer("pr list", "0\n")
        run("git", "init", "--quiet", "--bare", self.remote)
        git(service, "remote", "add", "origin", str(self.remote))
        git(service, "push", "--quiet", "origin", "HEAD:refs/heads/main")

    def run(self) -> Done:
        """Run the job, without the installation of tools that the tests have."""
        done = self.step("Update", **POETRY)
        outputs = self.outputs()
        if done.returncode or "version" not in outputs:
            return done
        handed = {"DRAFT": "draft", "VERSION": "version"}
        for variable, output in handed.items():
            declared = self.steps[-1]["env"][variable]
            assert declared == "${{ steps.update.outputs." + output + " }}"
        values = {variable: outputs[output] for variable, output in handed.items()}
        return self.step("Open the pull request", **values)

    def branch(self) -> Path:
        """Clone the branch that was pushed."""
        clone = self.temp / "clone"
        git(
            self.checkout,
            "clone",
            "--quiet",
            "--branch",
            f"template-update/{NEXT}",
            str(self.remote),
            str(clone),
        )
        return clone

    def pull_request(self) -> tuple[list[str], str]:
        """Return the arguments of `gh pr create`, and the text of the pull request."""
        (created,) = self.calls("pr create")
        return created, (self.temp / "body.md").read_text()


Start = Callable[..., Proposal]


@pytest.fixture
def start(repository: Repository, tmp_path: Path) -> Start:
    """Return `start(change)`: a service of the old release with a change, and its remote."""

    def start(change: Callable[[Path], Any] | None = None, tag: str = LAST) -> Proposal:
        service = repository.copy(tmp_path / "service", tag, database="none")
        if change:
            change(service)
            commit(service)
        return Proposal(service, tmp_path)

    return start


@pytest.mark.project
def test_the_workflow_proposes_the_release(
    start: Start, repository: Repository, tmp_path: Path
) -> None:
    workflow = start()
    fresh = contents(repository.copy(tmp_path / "fresh", NEXT, database="none"))

    done = workflow.run()

    assert done.returncode == 0, done.stdout + done.stderr
    arguments, body = workflow.pull_request()
    assert arguments[arguments.index("--head") + 1] == f"template-update/{NEXT}"
    assert "Brand new." in body
    assert "New." in body
    assert "Old." not in body
    assert "Not yet." not in body
    assert "Conflicts" not in body
    assert "checks fail" not in body
    # GITHUB_TOKEN cannot push workflows: the patch has them.
    assert "--draft" in arguments
    clone = workflow.branch()
    proposed = contents(clone)
    changed = {name for name in fresh if proposed.get(name) != fresh[name]}
    assert changed == {".github/workflows/template-update.yml"}
    commands = body.split("~~~sh\n")[-1].split("~~~")[0]
    applied = attempt(clone, "bash", "-e", "-c", commands)
    assert applied.returncode == 0, applied.stderr
    assert contents(clone) == fresh


def test_the_workflow_proposes_conflicts_as_a_draft(start: Start) -> None:
    workflow = start(lambda s: edit(s / "README.md", "With a Docker engine:", "With Podman:"))

    done = workflow.run()

    assert done.returncode == 0, done.stdout + done.stderr
    arguments, body = workflow.pull_request()
    assert "--draft" in arguments
    assert "README.md" in body.splitlines()
    readme = (workflow.branch() / "README.md").read_text().splitlines()
    assert {"With Podman:", "With Docker:", "<<<<<<< before updating"} <= {*readme}


def test_the_workflow_fails_when_work_would_be_lost(start: Start) -> None:
    workflow = start(lambda service: (service / ".oldconfig").write_text("mine\n"))

    done = workflow.run()

    assert done.returncode == 1
    assert ".oldconfig" in done.stderr.splitlines()
    assert workflow.calls("pr") == []


def test_the_workflow_does_not_propose_twice(start: Start) -> None:
    workflow = start(lambda s: edit(s / "README.md", "With a Docker engine:", "With Podman:"))
    workflow.answer("pr list", "1\n")

    done = workflow.run()

    assert done.returncode == 0, done.stdout + done.stderr
    assert workflow.calls("pr create") == []
    assert git(workflow.remote, "branch", "--list", "template-update/*") == ""


def test_the_workflow_rests_when_there_is_nothing_new(start: Start) -> None:
    workflow = start(tag=NEXT)

    done = workflow.run()

    assert done.returncode == 0, done.stdout + done.stderr
    assert workflow.calls("pr") == []
    assert git(workflow.checkout, "status", "--porcelain") == ""

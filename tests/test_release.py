"""A release is tagged when all is green, and the branches of the bot are completed."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, run
from releases import commit, git
from shell import Job

WORKFLOWS = ROOT / ".github/workflows"
CHANGELOG = """\
# Changelog

## [Unreleased]

## [0.2.0] - 2027-01-02

### Added

- Two.

## [0.1.0] - 2026-12-01

- One.
"""
CHECK = "Check the version, write the notes"
GREEN = "CI: completed success\nRefresh: completed skipped\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    run("git", "init", "--quiet", "--initial-branch", "main", folder)
    (folder / "CHANGELOG.md").write_text(CHANGELOG)
    commit(folder)
    git(folder, "tag", "v0.1.0")
    return folder


@pytest.fixture
def release(checkout: Path, tmp_path: Path) -> Job:
    return Job(WORKFLOWS / "release.yml", "release", checkout, tmp_path)


def test_a_release_carries_its_part_of_the_change_log(release: Job) -> None:
    checked = release.step(CHECK, VERSION="0.2.0", GITHUB_REF="refs/heads/main")
    assert checked.returncode == 0, checked.stdout

    release.step("Tag and publish", VERSION="0.2.0", GITHUB_SHA="c0ffee")

    notes = release.temp / "notes.md"
    assert release.calls("release create") == [
        ["release", "create", "v0.2.0", "--target", "c0ffee", "--title", "v0.2.0",
         "--notes-file", str(notes)]
    ]  # fmt: skip
    assert notes.read_text().strip() == "### Added\n\n- Two."


def test_a_candidate_is_marked_as_one(release: Job) -> None:
    release.step("Tag and publish", VERSION="0.3.0rc1", GITHUB_SHA="c0ffee")

    assert release.calls("release create")[0][-1] == "--prerelease"


@pytest.mark.parametrize(
    ("version", "ref", "change", "reason"),
    [
        ("0.2.0", "refs/heads/topic", "", "from main"),
        ("v0.2.0", "refs/heads/main", "", "is not like"),
        ("0.2", "refs/heads/main", "", "is not like"),
        ("0.2.0-rc.1", "refs/heads/main", "", "is not like"),
        ("0.1.0", "refs/heads/main", "", "exists"),
        ("0.3.0", "refs/heads/main", "", "nothing below"),
        ("0.2.0", "refs/heads/main", "- Forgotten.\n", "move what is below"),
    ],
)
def test_a_wrong_release_is_refused(
    release: Job, version: str, ref: str, change: str, reason: str
) -> None:
    changelog = release.checkout / "CHANGELOG.md"
    changelog.write_text(CHANGELOG.replace("[Unreleased]\n", f"[Unreleased]\n\n{change}"))

    checked = release.step(CHECK, VERSION=version, GITHUB_REF=ref)

    assert checked.returncode == 1
    assert "::error::" in checked.stdout
    assert reason in checked.stdout


@pytest.mark.parametrize(
    ("runs", "code"),
    [
        (GREEN, 0),
        (GREEN + "CodeQL: completed failure\n", 1),
        (GREEN + "CodeQL: in_progress \n", 1),
        (GREEN.replace("success", "cancelled"), 1),
        ("Refresh: completed success\n", 1),
        ("", 1),
    ],
)
def test_nothing_is_tagged_unless_all_is_green(release: Job, runs: str, code: int) -> None:
    release.answer("run list", runs)

    checked = release.step("Check that every workflow is green", GITHUB_SHA="c0ffee")

    assert checked.returncode == code
    assert release.calls("run list")[0][2:4] == ["--commit", "c0ffee"]


def test_the_checks_come_before_the_tag(release: Job) -> None:
    assert [step["name"] for step in release.steps][-3:] == [
        CHECK,
        "Check that every workflow is green",
        "Tag and publish",
    ]
    assert not any("if" in step or "continue-on-error" in step for step in release.steps)


def test_the_change_log_is_in_the_format_it_names() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[(.+?)\](?: - \d{4}-\d{2}-\d{2})?$", text, re.MULTILINE)
    parts = set(re.findall(r"^### (.+)$", text, re.MULTILINE))

    assert versions[0] == "Unreleased"
    assert len(versions) == text.count("\n## ")
    assert parts <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_a_branch_of_the_bot_is_completed_and_nothing_else_gets_in(
    checkout: Path, tmp_path: Path
) -> None:
    lock, stowaway = checkout / "extensions/locks/none.lock", checkout / "copier.yml"
    lock.parent.mkdir(parents=True)
    lock.write_text("old\n")
    stowaway.write_text("old\n")
    commit(checkout)
    remote, pushed = tmp_path / "remote.git", tmp_path / "pushed"
    git(tmp_path, "clone", "--quiet", "--bare", str(checkout), str(remote))
    git(tmp_path, "clone", "--quiet", str(remote), str(pushed))
    solve = Job(WORKFLOWS / "refresh.yml", "solve", checkout, tmp_path)
    push = Job(WORKFLOWS / "refresh.yml", "push", pushed, tmp_path)

    # What "Solve and read" may have been made to write.
    lock.write_text("new\n")
    stowaway.write_text("evil\n")
    assert solve.step("Pack what has changed").returncode == 0
    assert solve.outputs() == {"changed": "true"}
    shutil.copy2(solve.temp / "refresh.patch", push.temp)
    branch = {"GITHUB_REF": "refs/heads/renovate/x", "GITHUB_REF_NAME": "renovate/x"}
    done = push.step("Commit and push", **branch)

    assert done.returncode == 0, done.stderr
    assert git(remote, "show", "renovate/x:extensions/locks/none.lock") == "new"
    assert git(remote, "show", "renovate/x:copier.yml") == "old"
    assert push.calls("workflow run") == [["workflow", "run", "ci.yml", "--ref", "renovate/x"]]


def test_the_scripts_that_are_called_exist() -> None:
    for workflow in WORKFLOWS.glob("*.yml"):
        scripts = re.findall(r"python (\S+\.py)", workflow.read_text())
        assert [script for script in scripts if not (ROOT / script).exists()] == []


def test_ci_can_be_started_on_the_branches_of_the_bot() -> None:
    text = (WORKFLOWS / "ci.yml").read_text()

    assert "workflow_dispatch" in yaml.safe_load(text)[True]  # YAML reads `on` as true


def test_a_branch_that_is_complete_is_left_alone(checkout: Path, tmp_path: Path) -> None:
    solve = Job(WORKFLOWS / "refresh.yml", "solve", checkout, tmp_path)

    assert solve.step("Pack what has changed").returncode == 0
    assert solve.outputs() == {}

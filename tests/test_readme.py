"""What the README tells a stranger to type works, word for word."""

import re
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, run, succeeds

README = (ROOT / "README.md").read_text()


def command(last_word: str) -> str:
    """Find the one command of the README that sets a machine up and ends with a word."""
    found = re.findall(rf"^python3 -m venv .*{re.escape(last_word)}$", README, re.MULTILINE)
    assert len(found) == 1
    return str(found[0])


@pytest.mark.project
def test_the_first_command_scaffolds_a_service_from_a_clone(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    run("git", "clone", "--quiet", ROOT, clone)
    # As it stands now, also where it is not committed yet.
    for name in ("copier.yml", "template", "extensions"):
        source, copy = ROOT / name, clone / name
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy2(source, copy)
    run("git", "add", "--all", cwd=clone)
    if not succeeds("git", "-C", clone, "diff", "--cached", "--quiet"):
        run("git", "commit", "--quiet", "--message", "now", cwd=clone)

    run("bash", "-c", command("../my-service"), cwd=clone)

    assert (tmp_path / "my-service/src/my_service/main.py").exists()


def test_the_second_command_installs_what_the_tests_need() -> None:
    words = command("pytest")

    assert "--upgrade-deps" in words, "an old pip does not know dependency groups"
    assert "pip install --group dev" in words

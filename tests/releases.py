"""Throw-away repositories that release the template, and services made from them."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import copier
import pytest
from conftest import ROOT, Answers, compile_once, run

PARTS = ("CHANGELOG.md", "copier.yml", "template", "extensions")
TABLE = "extensions/versions.yml"

# The releases of every repository here: an old one, and the working tree.
FIRST, LAST, NEXT = "v0.0.1", "v0.0.2", "v9999.0.0"


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder and return what it prints."""
    return run("git", *arguments, cwd=folder).strip()


def commit(folder: Path, message: str = "change") -> None:
    """Commit all there is."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--no-verify", "--message", message)


def edit(path: Path, old: str, new: str) -> None:
    """Replace text that must be there, once."""
    text = path.read_text()
    assert old in text, f"{path} has no {old!r}"
    path.write_text(text.replace(old, new, 1))


def contents(folder: Path) -> dict[str, bytes]:
    """Read every file of a service, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def conflicts(service: Path) -> list[str]:
    """List the files that git knows to be in conflict."""
    return git(service, "diff", "--name-only", "--diff-filter=U").splitlines()


def checkout(revision: str, folder: Path) -> Path:
    """Write the template as it was at a revision of this repository."""
    folder.mkdir(parents=True)
    archive = subprocess.check_output(["git", "archive", revision], cwd=ROOT)
    subprocess.run(["tar", "--extract"], input=archive, cwd=folder, check=True)
    return folder


def first() -> str:
    """Find the first commit that can render.

    Raises:
        AssertionError: the history is cut off, as in a shallow clone.
    """
    assert git(ROOT, "rev-parse", "--is-shallow-repository") == "false", (
        "the update tests need the whole history: git fetch --unshallow --tags"
    )
    commits = git(ROOT, "log", "--diff-filter=A", "--format=%H", "--", "copier.yml")
    return commits.splitlines()[-1]


def last(template: Path, folder: Path) -> Path:
    """Write the template as last released; before the first release, a made-up older one."""
    if tags := git(ROOT, "tag", "--list", "v*", "--merged", "HEAD", "--sort=-version:refname"):
        return checkout(tags.splitlines()[0], folder)
    shutil.copytree(template, folder)
    table = folder / TABLE
    old, count = re.subn(
        r"(name: \S+(?:/\S*otel\S*|postgres), tag: )[^ }]+", r'\1"0.1"', table.read_text()
    )
    table.write_text(old)
    assert count > 1
    edit(folder / "template/.editorconfig", "root = true\n", "root = true\n# An old line\n")
    edit(folder / "template/README.md.jinja", "With Docker:", "With a Docker engine:")
    return folder


@contextmanager
def fast() -> Iterator[None]:
    """Let Jinja compile each template once a session: Copier does it for each rendering."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jinja2.Environment.compile", compile_once)
        yield


class Repository:
    """The template as users find it: a repository whose releases are tags."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        run("git", "init", "--quiet", folder)

    def release(self, tree: Path, tag: str) -> None:
        """Release a tree under a tag."""
        for part in PARTS:
            git(self.folder, "rm", "-r", "--quiet", "--ignore-unmatch", part)
            if (tree / part).is_dir():
                shutil.copytree(tree / part, self.folder / part)
            elif (tree / part).exists():
                shutil.copy2(tree / part, self.folder / part)
        commit(self.folder, tag)
        git(self.folder, "tag", tag)

    def copy(self, service: Path, tag: str, **answers: Any) -> Path:
        """Do `copier copy`, without trust, and the first commit."""
        with fast():
            copier.run_copy(
                str(self.folder), service, answers, vcs_ref=tag, defaults=True, quiet=True
            )
        run("git", "init", "--quiet", service)
        commit(service, "start")
        return service


def update(service: Path, to: str | None = NEXT, answers: Answers | None = None) -> None:
    """Do `copier update`, without trust; to the latest release for None.

    Raises:
        copier.errors.CopierError: the update refuses.
        ValueError: a question has no answer.
    """
    with fast():
        copier.run_update(
            service, answers or {}, vcs_ref=to, defaults=True, overwrite=True, quiet=True
        )

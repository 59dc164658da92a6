"""Runs what would run elsewhere: commands that may fail, and the shell of a workflow's job."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

Done = subprocess.CompletedProcess[str]


def attempt(folder: Path, *command: str, path: str = "", **environment: str) -> Done:
    """Run a command that may fail, with the tools of the tests' environment.

    Args:
        folder: where to run it.
        command: the program and its arguments.
        path: a folder whose programs come before all others.
        environment: more variables.
    """
    tools = [path, str(Path(sys.executable).parent), os.environ["PATH"]]
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": os.pathsep.join(filter(None, tools))} | environment,
        capture_output=True,
        text=True,
    )


class Job:
    """One job of a workflow, whose shell runs as on GitHub's runner; `gh` only takes notes."""

    def __init__(self, workflow: Path, job: str, checkout: Path, scratch: Path) -> None:
        self.steps: list[dict[str, Any]] = yaml.safe_load(workflow.read_text())["jobs"][job][
            "steps"
        ]
        self.checkout = checkout
        self.temp = scratch / f"{job}-temp"
        self.temp.mkdir()
        self._bin = scratch / f"{job}-bin"
        self._bin.mkdir()
        gh = self._bin / "gh"
        gh.write_text(
            "#!/bin/sh\n"
            f"printf '%s\\t' \"$@\" >> '{self.temp}/notes'; echo >> '{self.temp}/notes'\n"
            f"cat '{self.temp}/gh '\"$1 $2\" 2>/dev/null || true\n"
        )
        gh.chmod(0o755)

    def answer(self, command: str, text: str) -> None:
        """Have `gh` print something, such as for `pr list`."""
        (self.temp / f"gh {command}").write_text(text)

    def step(self, name: str, **environment: str) -> Done:
        """Run the shell of a step. Variables that are expressions have to be given."""
        step = next(step for step in self.steps if step["name"] == name)
        expressions = {key for key, value in step.get("env", {}).items() if "${{" in str(value)}
        given = {"GH_TOKEN": "token", "GH_REPO": "acme/service"} | environment
        assert expressions <= given.keys()
        return attempt(
            self.checkout, "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"],
            path=str(self._bin), RUNNER_TEMP=str(self.temp),
            GITHUB_OUTPUT=str(self.temp / "output"), **given,
        )  # fmt: skip

    def outputs(self) -> dict[str, str]:
        """Read what the steps hand on."""
        file = self.temp / "output"
        lines = file.read_text().splitlines() if file.exists() else []
        return dict(line.split("=", 1) for line in lines)

    def calls(self, command: str) -> list[list[str]]:
        """List the arguments of each call of `gh`, such as of `pr create`."""
        notes = self.temp / "notes"
        lines = notes.read_text().splitlines() if notes.exists() else []
        return [
            line.split("\t")[:-1] for line in lines if line.startswith("\t".join(command.split()))
        ]

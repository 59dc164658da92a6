"""A small GitHub Actions runner: it executes the `run:` steps of a workflow as they stand.

Actions (`uses:`) are played by functions, see `Action`. Expressions follow
https://docs.github.com/en/actions/reference/workflows-and-actions/expressions;
what a workflow here does not use is an error, not a guess.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|\d+|&&|\|\||==|!=|[!()\[\],.]|[A-Za-z_][\w-]*)")
_STATUS = re.compile(r"\b(success|failure|cancelled|always)\(\)")


def _lower(value: Any) -> Any:
    """Make values comparable as GitHub does: text without case, nothing as the empty text."""
    return "" if value is None else value.lower() if isinstance(value, str) else value


class _Expression:
    """A recursive descent parser that evaluates as it goes."""

    def __init__(self, text: str, contexts: dict[str, Any], status: dict[str, bool]) -> None:
        self.tokens: list[str] = []
        position = 0
        while text[position:].strip():
            match = _TOKEN.match(text, position)
            if not match:
                raise ValueError(f"cannot read {text[position:]!r}")
            self.tokens.append(match[1])
            position = match.end()
        self.contexts = contexts
        self.status = status

    def take(self, *expected: str) -> str:
        if not self.tokens or (expected and self.tokens[0] not in expected):
            raise ValueError(f"expected {expected}, got {self.tokens[:3]}")
        return self.tokens.pop(0)

    def next_is(self, *tokens: str) -> bool:
        return bool(self.tokens) and self.tokens[0] in tokens

    def value(self) -> Any:
        """Read the whole expression."""
        result = self.any_of()
        if self.tokens:
            raise ValueError(f"left over: {self.tokens}")
        return result

    def any_of(self) -> Any:
        left = self.all_of()
        while self.next_is("||"):
            self.take()
            right = self.all_of()
            left = left or right
        return left

    def all_of(self) -> Any:
        left = self.comparison()
        while self.next_is("&&"):
            self.take()
            right = self.comparison()
            left = left and right
        return left

    def comparison(self) -> Any:
        left = self.operand()
        if self.next_is("==", "!="):
            equal = self.take() == "=="
            return (_lower(left) == _lower(self.operand())) == equal
        return left

    def operand(self) -> Any:
        token = self.take()
        if token == "!":
            return not self.operand()
        if token == "(":
            inner = self.any_of()
            self.take(")")
            return inner
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if token.isdigit():
            return int(token)
        if token in {"true", "false", "null"}:
            return json.loads(token)
        if self.next_is("("):
            return self.call(token)
        result = self.contexts[token]
        while self.next_is("."):
            self.take()
            result = (result or {}).get(self.take())
        return result

    def call(self, name: str) -> Any:
        self.take("(")
        arguments = []
        while not self.next_is(")"):
            arguments.append(self.any_of())
            if self.next_is(","):
                self.take()
        self.take(")")
        if name in self.status:
            return self.status[name]
        if name == "contains":
            return _lower(arguments[1]) in [_lower(item) for item in arguments[0]]
        if name == "fromJSON":
            return json.loads(arguments[0])
        raise ValueError(f"unknown function {name}")


@dataclass
class Step:
    """What happened to one step; `outcome` is success, failure or skipped."""

    job: str
    name: str
    outcome: str
    log: str = ""


@dataclass
class Job:
    """A running job, as actions see it."""

    name: str
    workspace: Path
    permissions: dict[str, str]
    env: dict[str, str]


Action = Callable[[Job, dict[str, str]], dict[str, str]]
"""Plays one action: gets the job and the inputs, returns outputs, raises to fail."""


@dataclass
class Run:
    """A finished run of a workflow."""

    jobs: dict[str, str]
    """The result of each job: success, failure or skipped."""
    outputs: dict[str, dict[str, str]]
    steps: list[Step]
    summary: str

    def log(self, job: str, step: str) -> str:
        """Return what a step wrote."""
        return next(s.log for s in self.steps if (s.job, s.name) == (job, step))

    def ran(self, job: str) -> list[str]:
        """Return the names of a job's steps that were not skipped."""
        return [s.name for s in self.steps if s.job == job and s.outcome != "skipped"]


class Runner:
    """Runs one workflow file.

    Args:
        workflow: the file.
        actions: who plays which action, by name without version.
        folder: an empty folder for workspaces.
        env: variables of the machine, added to each step's environment.
        workflow_env: replaces values of the workflow's own `env`.
    """

    def __init__(
        self,
        workflow: Path,
        actions: dict[str, Action],
        folder: Path,
        env: dict[str, str],
        workflow_env: dict[str, str],
    ) -> None:
        self.workflow = yaml.safe_load(workflow.read_text())
        self.actions = actions
        self.folder = folder
        self.env = env
        self.workflow_env = self.workflow.get("env", {}) | workflow_env
        self.summary = folder / "summary.md"

    def run(
        self,
        github: dict[str, Any],
        *,
        inputs: dict[str, str] | None = None,
        variables: dict[str, str] | None = None,
        read_only: bool = False,
        passed: tuple[str, ...] = (),
    ) -> Run:
        """Run all jobs, in the order that `needs` asks for.

        Args:
            github: the `github` context.
            inputs: of a workflow_dispatch.
            variables: the `vars` context.
            read_only: the token is cut down to reading, as for forks and Dependabot.
            passed: jobs without outputs that are taken to have succeeded, to save time.
        """
        self.summary.write_text("")
        self.contexts = {
            "github": github,
            "inputs": inputs or {},
            "vars": variables or {},
            "env": self.workflow_env,
        }
        self.read_only = read_only
        finished = Run(dict.fromkeys(passed, "success"), {job: {} for job in passed}, [], "")
        waiting = {name: job for name, job in self.workflow["jobs"].items() if name not in passed}
        while waiting:
            name = next(n for n in waiting if self._needs(n) <= finished.jobs.keys())
            self._job(name, waiting.pop(name), finished)
        finished.summary = self.summary.read_text()
        return finished

    def _needs(self, job: str) -> set[str]:
        needs = self.workflow["jobs"][job].get("needs", [])
        return {needs} if isinstance(needs, str) else {*needs}

    def _ancestors(self, job: str) -> set[str]:
        needs = self._needs(job)
        return needs.union(*(self._ancestors(need) for need in needs))

    def _condition(self, text: Any, contexts: dict[str, Any], status: dict[str, bool]) -> bool:
        expression = str(text if text is not None else "success()").strip()
        expression = expression.removeprefix("${{").removesuffix("}}")
        met = bool(_Expression(expression, contexts, status).value())
        # Without a status function, success() is implied.
        return met and (status["success"] or bool(_STATUS.search(expression)))

    def _fill(self, value: Any, contexts: dict[str, Any], status: dict[str, bool]) -> str:
        def fill(match: re.Match[str]) -> str:
            result = _Expression(match[1], contexts, status).value()
            return "" if result is None else str(result)

        text = json.dumps(value) if isinstance(value, bool) else str(value)
        return re.sub(r"\$\{\{(.*?)\}\}", fill, text)

    def _job(self, name: str, job: dict[str, Any], run: Run) -> None:
        # success() and failure() ask all jobs before this one, not only `needs`.
        results = {run.jobs[ancestor] for ancestor in self._ancestors(name)}
        status = {
            "success": results <= {"success"},
            "failure": "failure" in results,
            "cancelled": False,
            "always": True,
        }
        needs = {n: {"result": run.jobs[n], "outputs": run.outputs[n]} for n in self._needs(name)}
        contexts: dict[str, Any] = self.contexts | {"needs": needs}
        run.outputs[name] = {}
        if not self._condition(job.get("if"), contexts, status):
            run.jobs[name] = "skipped"
            return
        workspace = self.folder / name
        workspace.mkdir()
        permissions = {
            right: "read" if self.read_only else level
            for right, level in job.get("permissions", {}).items()
        }
        env = self.workflow_env | {
            k: self._fill(v, contexts, status) for k, v in job.get("env", {}).items()
        }
        running = Job(name, workspace, permissions, self._environment(env, permissions))
        contexts |= {"steps": {}, "env": env}
        status = {"success": True, "failure": False, "cancelled": False, "always": True}
        for step in job["steps"]:
            outcome = self._step(step, running, contexts, status)
            run.steps.append(outcome)
            if outcome.outcome == "failure":
                status |= {"success": False, "failure": True}
        run.jobs[name] = "success" if status["success"] else "failure"
        run.outputs[name] = {
            k: self._fill(v, contexts, status) for k, v in job.get("outputs", {}).items()
        }

    def _environment(self, env: dict[str, str], permissions: dict[str, str]) -> dict[str, str]:
        github = self.contexts["github"]
        told = {
            "GITHUB_REPOSITORY": github["repository"],
            "GITHUB_SERVER_URL": github["server_url"],
            "GITHUB_SHA": github["sha"],
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_WORKFLOW_REF": github["workflow_ref"],
        }
        # GitHub hands out this token only to a job that asked for it.
        token = {"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "token"}
        return {
            **os.environ,
            **self.env,
            **told,
            **(token if permissions.get("id-token") == "write" else {}),
            **env,
        }

    def _step(
        self, step: dict[str, Any], job: Job, contexts: dict[str, Any], status: dict[str, bool]
    ) -> Step:
        name = step["name"]
        if not self._condition(step.get("if"), contexts, status):
            return Step(job.name, name, "skipped")
        if "uses" in step:
            action = self.actions[step["uses"].partition("@")[0]]
            given = {k: self._fill(v, contexts, status) for k, v in step.get("with", {}).items()}
            try:
                outputs, log, failed = action(job, given), "", False
            except (AssertionError, OSError, subprocess.CalledProcessError) as error:
                outputs, log, failed = {}, f"{error}\n{getattr(error, 'stderr', '')}", True
        else:
            outputs, log, failed = self._shell(step, job, contexts, status)
        if "id" in step:
            contexts["steps"][step["id"]] = {"outputs": outputs}
        # GitHub shows what a step writes; so does pytest when the test fails.
        print(f"--- {job.name}: {name}{' (failed)' if failed else ''}\n{log}")
        return Step(job.name, name, "failure" if failed else "success", log)

    def _shell(
        self, step: dict[str, Any], job: Job, contexts: dict[str, Any], status: dict[str, bool]
    ) -> tuple[dict[str, str], str, bool]:
        output = self.folder / "output"
        output.write_text("")
        script = self.folder / "script.sh"
        script.write_text(step["run"])
        shell = step.get("shell", self.workflow.get("defaults", {}).get("run", {}).get("shell"))
        options = {None: ["-e"], "bash": ["--noprofile", "--norc", "-e", "-o", "pipefail"]}[shell]
        env = {k: self._fill(v, contexts, status) for k, v in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", *options, script],
            cwd=job.workspace,
            env=job.env | env | {"GITHUB_OUTPUT": str(output)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
        return outputs, done.stdout, done.returncode != 0

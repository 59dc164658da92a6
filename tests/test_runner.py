"""The runner of the pipeline's tests decides as GitHub does."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from runner import Run, Runner

GITHUB = {
    "repository": "acme/probe",
    "server_url": "https://github.com",
    "sha": "0" * 40,
    "workflow_ref": "acme/probe/.github/workflows/w.yml@refs/heads/main",
    "ref": "refs/heads/Main",
}


def run(folder: Path, jobs: dict[str, Any], **options: Any) -> Run:
    workflow = folder / "workflow.yml"
    workflow.write_text(yaml.safe_dump({"jobs": jobs}))
    return Runner(workflow, {}, folder, env={}, workflow_env={}).run(GITHUB, **options)


def job(script: str = "true", **keys: Any) -> dict[str, Any]:
    return {"steps": [{"name": "Only", "id": "only", "run": script}]} | keys


@pytest.mark.parametrize(
    ("expression", "met"),
    [
        ("github.ref == 'refs/heads/main'", True),
        ("github.ref != 'refs/heads/main' || !inputs.digest", True),
        ("inputs.digest && true", False),
        ("contains(fromJSON('[\"a\", \"b\"]'), 'B')", True),
        ("contains(fromJSON('[\"ab\"]'), 'a')", False),
        ("!(vars.A && vars.B)", False),
        ("failure()", False),
    ],
)
def test_expressions(tmp_path: Path, expression: str, met: bool) -> None:
    jobs = {"only": job(**{"if": f"${{{{ {expression} }}}}"})}

    result = run(tmp_path, jobs, variables={"A": "1", "B": "2"}).jobs["only"]

    assert result == ("success" if met else "skipped")


def test_a_skipped_ancestor_skips_unless_the_condition_asks_otherwise(tmp_path: Path) -> None:
    jobs = {
        "first": job(**{"if": "false"}),
        "second": job(needs="first", **{"if": "${{ !cancelled() }}"}),
        "implied": job(needs="second"),
        "asked": job(needs="second", **{"if": "${{ !cancelled() && needs.second.result != '' }}"}),
    }

    assert run(tmp_path, jobs).jobs == {
        "first": "skipped",
        "second": "success",
        "implied": "skipped",
        "asked": "success",
    }


def test_outputs_reach_later_jobs(tmp_path: Path) -> None:
    jobs = {
        "first": job(
            'echo "a=1=2" >> "$GITHUB_OUTPUT"', outputs={"b": "x${{ steps.only.outputs.a }}"}
        ),
        "second": job('echo "$B"', needs="first", env={"B": "${{ needs.first.outputs.b }}"}),
    }

    assert run(tmp_path, jobs).log("second", "Only") == "x1=2\n"


def test_the_identity_is_for_jobs_that_ask(tmp_path: Path) -> None:
    script = 'test -n "${ACTIONS_ID_TOKEN_REQUEST_TOKEN:-}"'
    jobs = {"with": job(script, permissions={"id-token": "write"}), "without": job(script)}

    assert run(tmp_path, jobs).jobs == {"with": "success", "without": "failure"}


def test_after_a_failure_only_steps_that_ask_run(tmp_path: Path) -> None:
    steps = [
        {"name": "Fails", "run": "false | true", "shell": "bash"},
        {"name": "Implied", "run": "true"},
        {"name": "Asked", "run": "true", "if": "failure()"},
    ]
    ran = run(tmp_path, {"only": {"steps": steps}})

    assert json.dumps(ran.jobs) == '{"only": "failure"}'
    assert ran.ran("only") == ["Fails", "Asked"]

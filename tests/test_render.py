"""Promises 2 and 8: every combination of answers renders whole, the same bytes each time."""

import ast
import configparser
import filecmp
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matrix
import pytest
import yaml
from conftest import Answers, Render, render_into

pytestmark = pytest.mark.parametrize("answers", matrix.COMBINATIONS, ids=matrix.name)


def files(service: Path) -> Iterator[Path]:
    return (path for path in sorted(service.rglob("*")) if path.is_file())


def json_with_comments(text: str) -> Any:
    return json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))


def ini(text: str) -> None:
    configparser.ConfigParser(interpolation=None).read_string(text)


def assignments(text: str) -> None:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]*=\S*", line) for line in lines)


class Yaml(yaml.SafeLoader):
    """YAML, with the tags of CloudFormation."""


Yaml.add_multi_constructor("!", lambda loader, suffix, node: node)


PARSERS: dict[str, Callable[[str], Any]] = {
    ".example": assignments,
    ".ini": ini,
    ".json": json_with_comments,
    ".lock": tomllib.loads,
    ".py": ast.parse,
    ".toml": tomllib.loads,
    ".yaml": lambda text: list(yaml.load_all(text, Yaml)),
    ".yml": lambda text: list(yaml.load_all(text, Yaml)),
}


def test_every_file_parses(render: Render, answers: Answers) -> None:
    for path in files(render(**answers)):
        PARSERS.get(path.suffix, str)(path.read_text())


def test_no_jinja_is_left(render: Render, answers: Answers) -> None:
    names = "|".join([*matrix.CONFIG, "versions", "image", "uses", "gha", "floor"])
    jinja = re.compile(rf"\{{%|\{{#|(?<!\$)\{{\{{-?\s*({names})\b")
    service = render(**answers)
    description = answers["description"] or "-"
    left = {
        str(path.relative_to(service)): found.group()
        for path in files(service)
        if (found := jinja.search(path.read_text().replace(description, "")))
    }

    assert left == {}


def test_text_is_tidy(render: Render, answers: Answers) -> None:
    for path in files(render(**answers)):
        text = path.read_text()
        if path.name == "py.typed":
            continue
        assert text.endswith("\n"), path
        assert not text.endswith("\n\n"), path
        assert "\r" not in text, path
        assert "\n\n\n\n" not in text, path
        if path.name != ".copier-answers.yml":
            assert not re.search(r"[ \t]$", text, flags=re.MULTILINE), path


def test_no_folder_is_empty(render: Render, answers: Answers) -> None:
    folders = [path for path in render(**answers).rglob("*") if path.is_dir()]

    assert [folder for folder in folders if not any(folder.iterdir())] == []


def test_same_answers_give_the_same_bytes(
    render: Render, template: Path, answers: Answers, tmp_path: Path
) -> None:
    first, again = render(**answers), render_into(template, tmp_path / "again", answers)
    names = [str(path.relative_to(first)) for path in files(first)]

    assert names == [str(path.relative_to(again)) for path in files(again)]
    assert filecmp.cmpfiles(first, again, names, shallow=False)[1:] == ([], [])


def test_the_answers_are_stored_and_nothing_else(render: Render, answers: Answers) -> None:
    stored = yaml.safe_load((render(**answers) / ".copier-answers.yml").read_text())

    assert {key for key in stored if not key.startswith("_")} == set(matrix.QUESTIONS)
    assert {key: stored[key] for key in answers} == answers


def test_what_was_not_chosen_leaves_no_trace(render: Render, answers: Answers) -> None:
    observability = answers["observability"]
    traces = {
        # databaseId is what GitHub's client calls the number of a run.
        "postgresql": (r"postgres|sqlalchemy|alembic|psycopg|database(?!Id)", answers["database"]),
        "metrics": (r"prometheus|promtool|alerts|\bmeters?\b|api_requests", observability),
        "traces": (r"jaeger|\bspans?\b|trace_id|tracer|tracing", observability),
        "dashboards": (r"grafana|dashboard", observability),
    }
    if not observability:
        # What Azure's client sends home is not ours.
        traces["any"] = (r"(?<!COLLECT_)telemetry|otel|collector|\bgrpc", [])
    service = render(**answers)
    found = [
        f"{choice} in {path.relative_to(service)}"
        for choice, (words, chosen) in traces.items()
        if choice not in chosen
        for path in files(service)
        if path.name not in (".copier-answers.yml", "poetry.lock")
        and re.search(words, str(path.relative_to(service)) + path.read_text(), re.IGNORECASE)
    ]

    assert found == []

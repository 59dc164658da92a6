"""Which answers are met by which tier of tests, read from the tests themselves.

As a plugin it writes the tier and the parameters of every test that renders:

    PYTHONPATH=tests RATCHET=tests.json pytest --collect-only -p ratchet
"""

import json
import os
from collections.abc import Iterator, Mapping
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest

TIERS = ("project", "container", "cloud")

Tests = list[tuple[str, dict[str, Any]]]
Answer = tuple[str, str]  # a question, and an answer to it in JSON


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write what was collected, where RATCHET says."""
    if "RATCHET" not in os.environ:
        return
    tests = [
        (
            next((tier for tier in TIERS if item.get_closest_marker(tier)), "render"),
            item.callspec.params if hasattr(item, "callspec") else {},
        )
        for item in session.items
        if {"render", "template"} & {*getattr(item, "fixturenames", ())}
    ]
    Path(os.environ["RATCHET"]).write_text(json.dumps(tests, default=lambda other: None))


def given(parameters: Mapping[Any, Any], questions: dict[str, list[Any]]) -> dict[str, Any]:
    """Read the answers that a test gives: a dict of them, or parameters that are choices.

    Args:
        parameters: of the test, by name.
        questions: every answer to each question.
    """
    answers: dict[str, Any] = {}
    for name, value in parameters.items():
        if value in questions.get(name, ()):
            answers[name] = value
        elif isinstance(value, dict):
            answers |= {key: value[key] for key in value.keys() & questions.keys()}
        elif value and isinstance(value, str | list):
            # The choices of different questions have different names.
            whole = [q for q in questions for answer in (value, [value]) if answer in questions[q]]
            if whole:
                answers[whole[0]] = value if value in questions[whole[0]] else [value]
            elif isinstance(value, list):
                answers |= given(dict(enumerate(value)), questions)
    return answers


def met(
    tests: Tests, questions: dict[str, list[Any]], defaults: dict[str, Any]
) -> dict[frozenset[Answer], set[str]]:
    """Compute the tiers that meet each answer and each pair of answers."""
    found: dict[frozenset[Answer], set[str]] = {}
    for tier, parameters in tests:
        answers = {**defaults, **given(parameters, questions)}
        each = [(question, json.dumps(answers[question])) for question in questions]
        for one, other in product(each, each):
            found.setdefault(frozenset((one, other)), set()).add(tier)
    return found


def pairs(questions: dict[str, list[Any]]) -> Iterator[tuple[dict[str, Any], frozenset[Answer]]]:
    """List every pair of answers to two questions, as answers and as a key of `met`."""
    for one, other in combinations(questions, 2):
        for first, second in product(questions[one], questions[other]):
            key = frozenset(((one, json.dumps(first)), (other, json.dumps(second))))
            yield {one: first, other: second}, key

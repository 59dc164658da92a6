"""A new answer does not get in without tests: every pair is rendered, every choice is run."""

import json
import sys
from pathlib import Path

import matrix
import pytest
from conftest import ROOT, run
from ratchet import Tests, met, pairs

# The tier that has to run a service with each choice of a question ...
RUN_BY = {
    "clouds": "cloud",
    "database": "container",
    "observability": "container",
    "python_version": "container",
}
# ... or why rendering and linting are enough.
RENDERED_ONLY = {
    "dependency_auto_merge": "one workflow more or less; GitHub alone can run it",
}

QUESTIONS = {
    name: matrix.values(name)
    for name, question in matrix.QUESTIONS.items()
    if "choices" in question or question["type"] == "bool"
}
DEFAULTS = {name: matrix.QUESTIONS[name]["default"] for name in QUESTIONS}


@pytest.fixture(scope="module")
def tests(tmp_path_factory: pytest.TempPathFactory) -> Tests:
    """Collect all tests, whichever of them this session runs."""
    file = tmp_path_factory.mktemp("ratchet") / "tests.json"
    command = (sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-p", "ratchet")
    run(*command, cwd=ROOT, PYTHONPATH=str(Path(__file__).parent), RATCHET=str(file))
    collected: Tests = json.loads(file.read_text())
    return collected


def missing(tests: Tests, questions: dict[str, list[object]]) -> list[str]:
    """Say which pairs no test renders, and which choices their tier does not run."""
    tiers = met(tests, questions, DEFAULTS)
    found = [
        f"no test renders {answers}"
        for answers, pair in pairs(questions)
        if matrix.allowed(answers) and pair not in tiers
    ]
    for question, tier in RUN_BY.items():
        every = {choice for answer in questions[question] for choice in choices(answer)}
        run = {
            choice
            for answer in questions[question]
            if tier in tiers.get(frozenset([(question, json.dumps(answer))]), ())
            for choice in choices(answer)
        }
        found += [f"no {tier} test runs {question}={choice}" for choice in sorted(every - run)]
    return found


def choices(answer: object) -> list[str]:
    """List what was chosen: of a multiple choice all that is ticked."""
    return [str(choice) for choice in answer] if isinstance(answer, list) else [str(answer)]


def test_every_question_says_who_runs_it() -> None:
    assert RUN_BY.keys() | RENDERED_ONLY.keys() == QUESTIONS.keys()


def test_every_pair_is_rendered_and_every_choice_is_run(tests: Tests) -> None:
    assert missing(tests, QUESTIONS) == []


def test_a_new_choice_is_missed(tests: Tests) -> None:
    found = missing(tests, {**QUESTIONS, "database": [*QUESTIONS["database"], "mysql"]})

    assert "no container test runs database=mysql" in found
    assert any("no test renders" in line and "mysql" in line for line in found)


def test_a_tier_that_is_dropped_is_missed(tests: Tests) -> None:
    rest = [(tier, parameters) for tier, parameters in tests if "3.15" not in str(parameters)]

    assert "no container test runs python_version=3.15" in missing(rest, QUESTIONS)
    assert "no container test runs python_version=3.14" not in missing(rest, QUESTIONS)

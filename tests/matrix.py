"""Every combination of answers that the tests render, computed from copier.yml itself."""

from itertools import combinations
from pathlib import Path
from typing import Any

import yaml
from allpairspy import AllPairs

CONFIG: dict[str, Any] = yaml.safe_load((Path(__file__).parents[1] / "copier.yml").read_text())

QUESTIONS: dict[str, dict[str, Any]] = {
    name: question
    for name, question in CONFIG.items()
    if not name.startswith("_") and question.get("when", True)
}

# The text questions whose answer adds or removes lines, each with and without.
TEXTS = {
    "author_name": ["", "Ada Lovelace"],
    "author_email": ["", "ada@example.com"],
    "description": ["", 'Says "hi" \\ to {{ you }}: 100 % #1'],
    "github_owner": ["", "Acme-Corp"],
    # The longest name, so that a line which breaks with its length is seen.
    "package_name": ["api", "x" * 40],
}


def values(name: str) -> list[Any]:
    """List all answers to a question with choices, for a multiple choice every subset.

    Raises:
        KeyError: it is a question without choices.
    """
    question = QUESTIONS[name]
    if question["type"] == "bool":
        return [True, False]
    choices = question["choices"]
    options = list(choices.values()) if isinstance(choices, dict) else choices
    if not question.get("multiselect"):
        return options
    return [
        list(subset) for size in range(len(options) + 1) for subset in combinations(options, size)
    ]


def allowed(answers: dict[str, Any]) -> bool:
    """Tell whether answers obey the one rule that ties two of them together."""
    observability = answers.get("observability", [])
    return "dashboards" not in observability or "metrics" in observability


def _pairwise() -> list[dict[str, Any]]:
    choices = [name for name in QUESTIONS if "choices" in QUESTIONS[name] or name not in TEXTS]
    choices = [name for name in choices if name not in ("service_name", "service_slug")]
    names = [*choices, *TEXTS]
    columns = [values(name) for name in choices] + list(TEXTS.values())

    def valid(row: list[Any]) -> bool:
        return allowed(dict(zip(names, row, strict=False)))

    return [dict(zip(names, row, strict=True)) for row in AllPairs(columns, filter_func=valid)]


# Each pair of answers occurs in at least one of these, each set of clouds too.
COMBINATIONS = _pairwise()


def name(answers: dict[str, Any]) -> str:
    """Name a combination for people who read a test report."""
    parts = []
    for key, value in answers.items():
        if key in TEXTS:
            parts.append(f"{key}+" if value else "")
        elif isinstance(value, list):
            parts.append(f"{key}=" + ("+".join(value) or "none"))
        else:
            parts.append(f"{key}={value}")
    return " ".join(filter(None, parts))

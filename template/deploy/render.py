#!/usr/bin/env python3
"""Fill the ${NAME} places of a deploy file from the environment: render.py FILE > RESULT.

A place without a value, a value that could change the meaning of the file, and
anything that still looks like a place afterwards are errors; nothing is printed then.
"""

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

PLACE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")
# Names, numbers, addresses, digests. No quote, space or line break: a value
# needs no escaping, in JSON or in YAML.
VALUE = re.compile(r"[A-Za-z0-9/][A-Za-z0-9@:./_+-]*")


def render(text: str, values: Mapping[str, str]) -> str:
    """Return the text with every place filled.

    Raises:
        ValueError: names each place that cannot be filled, one a line.
    """
    problems = []
    for name in sorted(set(PLACE.findall(text))):
        if not values.get(name):
            problems.append(f"{name} is not set")
        elif not VALUE.fullmatch(values[name]):
            problems.append(f"{name} holds a character that a deploy file cannot take")
    problems += [f'"{left}" is not a place of the form ${{NAME}}' for left in _leftovers(text)]
    if problems:
        raise ValueError("\n".join(problems))
    return PLACE.sub(lambda place: values[place[1]], text)


def _leftovers(text: str) -> list[str]:
    return re.findall(r"\$\S*|\{\{.*?\}\}|<[A-Z][A-Z0-9_]+>", PLACE.sub("", text))


def main() -> None:
    """Render the file that the command line names."""
    try:
        _, name = sys.argv
    except ValueError:
        sys.exit("usage: render.py FILE")
    path = Path(name)
    try:
        result = render(path.read_text(encoding="utf-8"), os.environ)
        if path.suffix == ".json":
            json.loads(result)
    except (OSError, ValueError) as error:
        sys.exit("\n".join(f"{path}: {line}" for line in str(error).splitlines()))
    sys.stdout.write(result)


if __name__ == "__main__":
    main()

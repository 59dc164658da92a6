"""Any answer either gets a message that states the rule, or renders a service that is whole."""

import re
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from conftest import Answers, Render, render_into
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from poetry.core.factory import Factory

TEXT_QUESTIONS = (
    "service_name",
    "service_slug",
    "package_name",
    "description",
    "author_name",
    "author_email",
    "github_owner",
)

# What has broken templates before, beside what Hypothesis finds by itself.
HOSTILE = (
    "",
    " ",
    "'",
    '"',
    '"""',
    "\\",
    "a\\",
    "\\n",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "{# no #}",
    "${HOME}",
    "$(id)",
    "# no comment",
    "a # b",
    "- item",
    "--help",
    "key: value",
    "'''",
    "%(here)s",
    "100 %",
    "\u202eolleh",
    "שלום",
    "Grüße 🚀",
    "é́́",
    "line\nbreak",
    "tab\there",
    "nul\0",
    "\x7f",
    "\u2028",
    "x" * 10_000,
    "class",
    "test",
    "fastapi",
    "tests",
    "null",
    "true",
    "1e3",
    "0x10",
    "2026-11-24",
    "<script>",
    "a@b.co",
    "A B",
    "ab\n",
    "ada@example.com\n",
)

texts = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=60),
    st.from_regex(r"[a-zA-Z][a-zA-Z0-9 _-]{0,39}", fullmatch=True),
    st.from_regex(r"[\w .'-]{1,40}", fullmatch=True),
)
cheap = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def attempt(template: Path, service: Path, answers: Answers) -> str | None:
    """Render, and return the message of a refusal if there is one."""
    try:
        render_into(template, service, answers)
    except ValueError as refused:
        return str(refused)
    return None


def check_whole(service: Path, answers: Answers) -> None:
    """Check each file that carries a text answer, as its own readers read it."""
    stored = yaml.safe_load((service / ".copier-answers.yml").read_text())
    assert {key: stored[key] for key in answers} == answers

    project = tomllib.loads((service / "pyproject.toml").read_text())["project"]
    assert project["name"] == stored["service_slug"]
    assert project.get("description", "") == stored["description"]
    # What `poetry check` and the build of the image read.
    assert Factory.validate(tomllib.loads((service / "pyproject.toml").read_text())) == {
        "errors": [],
        "warnings": [],
    }
    author = project.get("authors", [{}])[0]
    assert author.get("name", "") == stored["author_name"]
    assert author.get("email", "") == stored["author_email"]
    assert Factory().create_poetry(service).package.description == stored["description"]

    for path in (service / "src").rglob("*.py"):
        compile(path.read_text(), path.name, "exec")
    for path in service.rglob("*.yml"):
        yaml.safe_load(path.read_text())
    package = service / "src" / stored["package_name"]
    assert (package / "main.py").exists()


@pytest.mark.parametrize("question", TEXT_QUESTIONS)
@cheap
@given(data=st.data())
def test_any_text_is_refused_with_its_rule_or_renders_whole(
    template: Path, question: str, data: st.DataObject
) -> None:
    answers = {question: data.draw(texts)}
    with TemporaryDirectory() as folder:
        service = Path(folder) / "service"
        refusal = attempt(template, service, answers)
        if refusal:
            assert question in refusal
            assert re.search(r"\b(Use|Choose)\b", refusal), "the message states no rule"
            assert not service.exists()
        else:
            check_whole(service, answers)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_hostile_description_breaks_the_service(
    template: Path, tmp_path: Path, hostile: str
) -> None:
    answers = {"description": hostile}
    refusal = attempt(template, tmp_path / "service", answers)
    if refusal:
        assert len(hostile) > 200 or not hostile.isprintable(), refusal
    else:
        check_whole(tmp_path / "service", answers)


@cheap
@given(name=st.from_regex(r"[A-Za-z][A-Za-z0-9 _-]{0,48}[A-Za-z0-9]", fullmatch=True))
@example("FastAPI")
@example("Test")
@example("class")
@example("A" * 32 + "-b")
@example("Pytest Cov")
@example("a" * 31 + " - " + "b" * 10)
def test_every_valid_name_has_valid_defaults(template: Path, name: str) -> None:
    with TemporaryDirectory() as folder:
        service = render_into(template, Path(folder) / "service", {"service_name": name})
        check_whole(service, {"service_name": name})


@pytest.mark.parametrize("name", ["class", "json", "fastapi", "tests", "alembic", "httpx2", "pip"])
def test_a_package_that_would_hide_another_is_refused(
    template: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ValueError, match="cannot be imported as your own"):
        render_into(template, tmp_path / "service", {"package_name": name})


def test_no_module_of_this_python_can_be_taken(template: Path, tmp_path: Path) -> None:
    reserved = yaml.safe_load((template / "extensions/reserved.yml").read_text())["modules"].split()
    own = {name for name in sys.stdlib_module_names if name.islower() and name[0] != "_"}

    assert own <= set(reserved)


@pytest.mark.parametrize(
    ("answers", "rule"),
    [
        ({"service_name": "1st"}, "Start with a letter"),
        ({"service_name": "x"}, "2 to 50"),
        ({"service_slug": "ab\n"}, "Use 2 to 32"),
        ({"service_slug": "a--b"}, 'single "-"'),
        ({"service_slug": "a" * 33}, "2 to 32"),
        ({"service_slug": "fastapi"}, "depends on"),
        ({"package_name": "My_Package"}, "a-z"),
        ({"author_email": "nobody"}, "name@example.com"),
        ({"author_name": "Ada <ada@example.com>"}, "letters"),
        ({"github_owner": "-acme"}, "GitHub"),
        ({"github_owner": "a" * 40}, "39"),
        ({"observability": ["dashboards"]}, "metrics"),
    ],
    ids=str,
)
def test_a_refusal_states_the_rule(
    template: Path, tmp_path: Path, answers: Answers, rule: str
) -> None:
    with pytest.raises(ValueError, match=rule):
        render_into(template, tmp_path / "service", answers)

    assert not (tmp_path / "service").exists()


@pytest.mark.parametrize(
    "answers",
    [
        {"author_name": "Łukasz O'Brien-Müller"},
        {"author_name": "李小龍"},
        {"author_name": "R&D (Platform), no comma".replace(",", "")},
        {"author_email": "first.last+tag@sub.example.co"},
        {"github_owner": "Acme-Corp"},
        {"github_owner": "jane_acme"},
        {"clouds": []},
        {"observability": []},
    ],
    ids=str,
)
def test_what_real_people_answer_is_taken(render: Render, answers: Answers) -> None:
    check_whole(render(**answers), answers)

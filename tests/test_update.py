"""Promise 6: an update brings in what is new and loses nothing of the user's."""

import re
import shutil
import string
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import matrix
import pytest
import yaml
from conftest import Answers, free_port, render_into, run
from copier.errors import CopierError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from releases import (
    FIRST,
    LAST,
    NEXT,
    Repository,
    checkout,
    commit,
    conflicts,
    contents,
    edit,
    first,
    git,
    last,
    update,
)

# Every cloud, kind of telemetry and database alone, beside all and nothing.
SWITCHES = ("clouds", "observability", "database")
NOTHING: Answers = {"clouds": [], "observability": [], "database": "none"}
ALONE: list[Answers] = [
    {},
    NOTHING,
    *({**NOTHING, "clouds": [cloud]} for cloud in ("aws", "azure", "gcp")),
    *({**NOTHING, "observability": [kind]} for kind in ("metrics", "traces")),
    {**NOTHING, "observability": ["metrics", "dashboards"]},
    {**NOTHING, "database": "postgresql"},
]

old = pytest.mark.parametrize("tag", [FIRST, LAST], ids=["first commit", "last release"])
switched = pytest.mark.parametrize("answers", ALONE[1:], ids=matrix.name)


@pytest.fixture(scope="module")
def older(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the tree of the last release."""
    return last(template, tmp_path_factory.mktemp("last") / "tree")


@pytest.fixture(scope="module")
def repository(template: Path, older: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Return a repository that released the first commit, the last release and the working tree."""
    repository = Repository(tmp_path_factory.mktemp("template"))
    repository.release(checkout(first(), tmp_path_factory.mktemp("first") / "tree"), FIRST)
    repository.release(older, LAST)
    repository.release(template, NEXT)
    git(repository.folder, "tag", "v9999.1.0rc1")
    return repository


# ------------------------------------------------------------------ the gate


def gone(before: Path, now: Path, answers: Answers) -> set[str]:
    """List the files that the same answers gave before and give no longer.

    Renders empty files: only their names matter here.
    """
    found: list[set[str]] = []
    with TemporaryDirectory() as folder:
        for tree in (before, now):
            hollow = Path(folder) / f"tree{len(found)}"
            shutil.copytree(tree / "extensions", hollow / "extensions")
            shutil.copy2(tree / "copier.yml", hollow)
            for path in (tree / "template").rglob("*"):
                if path.is_file():
                    empty = hollow / path.relative_to(tree)
                    empty.parent.mkdir(parents=True, exist_ok=True)
                    empty.touch()
            service = render_into(hollow, Path(folder) / f"service{len(found)}", answers)
            found.append({str(p.relative_to(service)) for p in service.rglob("*") if p.is_file()})
    return found[0] - found[1]


def findings(before: Path, now: Path) -> list[str]:
    """Say what is wrong with an update from one tree of the template to another.

    A file that goes on purpose is named below "Removed" in the change log.
    """
    log = (now / "CHANGELOG.md").read_text()
    removed = "".join(re.findall(r"^### Removed\n(.*?)(?=^#|\Z)", log, re.MULTILINE | re.DOTALL))
    announced = set(re.findall(r"`([^`\s]+)`", removed))
    found: list[str] = []
    with TemporaryDirectory() as folder:
        repository = Repository(Path(folder) / "template")
        repository.release(before, LAST)
        repository.release(now, NEXT)
        service = repository.copy(Path(folder) / "service", LAST)
        fresh = Path(folder) / "fresh"
        try:
            for answers in ALONE:
                lost = gone(before, now, answers) - announced
                found += [f"{name} is gone for {answers}" for name in sorted(lost)]
            update(service)
            repository.copy(fresh, NEXT)
        except (CopierError, ValueError) as error:
            return [*found, f"{type(error).__name__}: {error}"]
        updated, expected = contents(service), contents(fresh)
        found += [
            f"{name} is not as in a fresh copy"
            for name in sorted(updated.keys() | expected.keys())
            if updated.get(name) != expected.get(name)
        ]
        try:
            run("poetry", "check", "--lock", cwd=service)
        except AssertionError as error:
            found.append(str(error))
    return found


def test_an_update_from_the_last_release_has_no_findings(older: Path, template: Path) -> None:
    assert findings(older, template) == []


def rename(tree: Path) -> None:
    (tree / "template/Makefile.jinja").rename(tree / "template/makefile.jinja")


def ask_without_default(tree: Path) -> None:
    with (tree / "copier.yml").open("a") as config:
        config.write("\nteam:\n  type: str\n  help: Who?\n")


def add_a_task(tree: Path) -> None:
    with (tree / "copier.yml").open("a") as config:
        config.write('\n_tasks: ["true"]\n')


def outgrow_the_lock(tree: Path) -> None:
    edit(
        tree / "template/pyproject.toml.jinja", "dependencies = [", 'dependencies = [\n    "idna",'
    )


def move_between_answers(tree: Path) -> None:
    line = "    /migrations\n"
    edit(tree / "copier.yml", line, "")
    edit(
        tree / "copier.yml",
        "_exclude:",
        "_exclude:\n  - |\n    {% if 'aws' not in clouds %}\n    /migrations\n    {% endif %}",
    )


@pytest.mark.parametrize(
    ("fault", "finding"),
    [
        (rename, "Makefile is gone"),
        (ask_without_default, "team"),
        (add_a_task, "UnsafeTemplateError"),
        (outgrow_the_lock, "changed significantly since poetry.lock"),
        (move_between_answers, "migrations/env.py is gone"),
    ],
)
def test_a_fault_is_found(
    template: Path, older: Path, tmp_path: Path, fault: Callable[[Path], None], finding: str
) -> None:
    faulty = tmp_path / "faulty"
    shutil.copytree(template, faulty)
    fault(faulty)

    assert any(finding in found for found in findings(older, faulty))


def test_a_file_that_goes_on_purpose_is_announced(
    template: Path, older: Path, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(template, tree)
    rename(tree)
    log = tree / "CHANGELOG.md"
    log.write_text(log.read_text() + "\n### Removed\n\n- `Makefile`: it is `makefile` now.\n")

    assert findings(older, tree) == []


# ------------------------------------------------------- what is new arrives


@old
@pytest.mark.parametrize("answers", [{}, NOTHING], ids=["all", "nothing"])
def test_an_untouched_service_becomes_a_fresh_copy(
    repository: Repository, tmp_path: Path, tag: str, answers: Answers
) -> None:
    service = repository.copy(tmp_path / "service", tag, **answers)
    fresh = repository.copy(tmp_path / "fresh", NEXT, **answers)
    assert contents(service) != contents(fresh)

    update(service)

    assert contents(service) == contents(fresh)


def test_an_update_to_the_same_release_changes_nothing(
    repository: Repository, tmp_path: Path
) -> None:
    service = repository.copy(tmp_path / "service", NEXT)

    update(service)

    assert git(service, "status", "--porcelain") == ""


def test_a_release_candidate_is_left_alone(repository: Repository, tmp_path: Path) -> None:
    service = repository.copy(tmp_path / "service", LAST)

    update(service, None)

    assert yaml.safe_load((service / ".copier-answers.yml").read_text())["_commit"] == NEXT


# ------------------------------------------------- what is the user's stays


@pytest.fixture(scope="module", params=[FIRST, LAST], ids=["first commit", "last release"])
def updated(
    request: pytest.FixtureRequest,
    repository: Repository,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return a service with a bit of everything that users do, after an update."""
    service = repository.copy(tmp_path_factory.mktemp("edited") / "service", request.param)
    edit(
        service / "pyproject.toml",
        "dependencies = [\n",
        'dependencies = [\n    "a-dependency>=1",\n',
    )
    edit(
        service / "docker-compose.yml",
        "    environment:\n",
        "    environment:\n      PAYMENT_KEY: ${PAYMENT_KEY}\n",
    )
    edit(
        service / "src/my_service/settings.py",
        "class Settings",
        "A_SETTING = 1\n\n\nclass Settings",
    )
    (service / "src/my_service/orders.py").write_text('"""Orders."""\n')
    (service / "migrations/versions/0002_orders.py").write_text('"""Orders."""\n')
    (service / "tests/test_errors.py").unlink()
    edit(service / "README.md", "# My Service\n", "# My Service\n\nOur own words.\n")
    commit(service, "mine")
    update(service)
    return service


def test_edits_survive(updated: Path) -> None:
    assert "a-dependency>=1" in (updated / "pyproject.toml").read_text()
    assert "PAYMENT_KEY" in (updated / "docker-compose.yml").read_text()
    assert "A_SETTING = 1" in (updated / "src/my_service/settings.py").read_text()
    assert "Our own words." in (updated / "README.md").read_text()


def test_own_files_survive(updated: Path) -> None:
    assert (updated / "src/my_service/orders.py").read_text() == '"""Orders."""\n'
    assert (updated / "migrations/versions/0002_orders.py").read_text() == '"""Orders."""\n'


def test_a_deleted_file_stays_deleted(updated: Path) -> None:
    assert not (updated / "tests/test_errors.py").exists()


def test_edits_do_not_keep_the_update_out(
    updated: Path, repository: Repository, tmp_path: Path
) -> None:
    fresh = contents(repository.copy(tmp_path / "fresh", NEXT))
    edited = {
        "pyproject.toml", "docker-compose.yml", "src/my_service/settings.py", "README.md",
        "tests/test_errors.py",
    }  # fmt: skip
    now = contents(updated)

    assert {name for name in fresh if now.get(name) != fresh[name]} == edited


def test_edits_apart_from_the_template_s_do_not_conflict(updated: Path) -> None:
    assert conflicts(updated) == []


def test_an_added_cloud_secret_survives(repository: Repository, tmp_path: Path) -> None:
    service = repository.copy(tmp_path / "service", LAST)
    files = ("deploy/aws/task-definition.json", "deploy/gcp/service.yaml")
    aws, gcp = (service / name for name in files)
    secret = '{ "name": "PAYMENT_KEY", "valueFrom": "arn:aws:ssm:payment" }'
    edit(aws, '"secrets": [\n', f'"secrets": [\n        {secret},\n')
    edit(gcp, "          env:\n", "          env:\n            - {name: PAYMENT_KEY}\n")
    commit(service, "mine")

    update(service)

    assert conflicts(service) == []
    assert secret in aws.read_text()
    assert "{name: PAYMENT_KEY}" in gcp.read_text()
    changed = git(service, "diff", "--name-only", "HEAD").splitlines()
    assert {*files} <= {*changed}, "the update has nothing to merge the secret with"


def test_an_edit_of_the_same_line_is_a_conflict(repository: Repository, tmp_path: Path) -> None:
    service = repository.copy(tmp_path / "service", LAST)
    was = {name: text.decode() for name, text in contents(service).items()}
    will = contents(repository.copy(tmp_path / "fresh", NEXT))
    changed = [n for n in was if n != ".copier-answers.yml" and was[n].encode() != will.get(n)]
    for name in changed:
        lines, new = was[name].splitlines(), will[name].decode().splitlines()
        mine = [line if line in new else f"mine {number}" for number, line in enumerate(lines)]
        (service / name).write_text("\n".join(mine) + "\n")
    commit(service, "mine")

    update(service)

    assert changed
    assert sorted(conflicts(service)) == sorted(changed)
    for name in changed:
        text = (service / name).read_text()
        assert set(re.findall(r"mine \d+", git(service, "show", f"HEAD:{name}"))) <= set(
            re.findall(r"mine \d+", text)
        )
        assert set(will[name].decode().splitlines()) <= set(text.splitlines())


@pytest.mark.project
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("database", matrix.values("database"))
def test_a_service_of_the_first_commit_passes_its_tests_afterwards(
    repository: Repository, tmp_path: Path, database: str
) -> None:
    service = repository.copy(tmp_path / "service", FIRST, database=database)
    (service / "src/my_service/prices.py").write_text(
        '"""Prices."""\n\n\ndef total(*prices: int) -> int:\n'
        '    """Add prices up, in cents."""\n    return sum(prices)\n'
    )
    (service / "tests/test_prices.py").write_text(
        "from my_service.prices import total\n\n\n"
        "def test_total() -> None:\n    assert total(1, 2) == 3\n"
    )
    commit(service, "mine")

    update(service)

    assert conflicts(service) == []
    environment = {
        "COMPOSE_PROJECT_NAME": f"updated-{database}",
        "POETRY_VIRTUALENVS_IN_PROJECT": "true",
    }
    settings = (service / ".env.example").read_text().replace("5432", str(free_port()))
    (service / ".env").write_text(settings)
    try:
        run("make", "install", "check", cwd=service, **environment)
        assert "tests/test_prices.py" in run("make", "test", cwd=service, **environment)
    finally:
        run("docker", "compose", "down", "--volumes", cwd=service, **environment)


# ------------------------------------------------------ answers that change


def touch_everything(service: Path) -> None:
    """Give each file of a service a last line of the user's, and each folder a file."""
    for name in contents(service):
        if name not in (".copier-answers.yml", "poetry.lock"):
            path = service / name
            path.write_text(path.read_text() + "# mine\n")
            (path.parent / "mine.txt").write_text("mine\n")
    commit(service, "mine")


def check_switch(repository: Repository, folder: Path, before: Answers, after: Answers) -> None:
    """Change answers on a service whose every file is edited."""
    service = repository.copy(folder / "service", NEXT, **before)
    touch_everything(service)

    update(
        service, answers={**{key: matrix.QUESTIONS[key]["default"] for key in SWITCHES}, **after}
    )

    fresh = contents(repository.copy(folder / "fresh", NEXT, **after))
    now = contents(service)
    clean = [name for name in fresh if name in now and name not in conflicts(service)]
    assert fresh.keys() <= now.keys()
    assert {now[name].replace(b"# mine\n", b"") == fresh[name] for name in clean} == {True}
    # Files that both answers have keep the edit, conflict or not.
    kept = fresh.keys() & set(git(service, "ls-tree", "-r", "--name-only", "HEAD").splitlines())
    kept -= {".copier-answers.yml", "poetry.lock"}
    assert [name for name in kept if b"# mine" not in now[name]] == []
    own = git(service, "ls-files", "mine.txt", "*/mine.txt").splitlines()
    assert [name for name in own if now.get(name) != b"mine\n"] == []


@switched
def test_answers_can_be_switched_off(
    repository: Repository, tmp_path: Path, answers: Answers
) -> None:
    check_switch(repository, tmp_path, {}, answers)


@switched
def test_answers_can_be_switched_on(
    repository: Repository, tmp_path: Path, answers: Answers
) -> None:
    check_switch(repository, tmp_path, answers, {})


# ----------------------------------------------------------- any edit at all


edits = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),  # which file
        st.floats(0, 1),  # where in it
        st.sampled_from(["insert", "replace", "delete", "remove file"]),
        st.text(string.ascii_letters + string.digits + " #{}%<>=|", max_size=30),
    ),
    min_size=1,
    max_size=40,
)


@pytest.fixture(scope="module")
def start(repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return repository.copy(tmp_path_factory.mktemp("start") / "service", FIRST)


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(edits=edits)
def test_no_edit_is_lost(start: Path, edits: list[tuple[float, float, str, str]]) -> None:
    with TemporaryDirectory() as folder:
        service = Path(folder) / "service"
        shutil.copytree(start, service)
        names = [
            n
            for n, text in sorted(contents(service).items())
            if text and n != ".copier-answers.yml"
        ]
        mine: dict[str, set[str]] = {}
        removed: set[str] = set()
        for number, (which, where, how, text) in enumerate(edits):
            path = service / (name := names[int(which * len(names))])
            if name in removed:
                continue
            if how == "remove file":
                path.unlink()
                removed.add(name)
                continue
            lines = path.read_text().splitlines()
            at = int(where * (len(lines) - 1))
            line = f"{text} mine-{number}."
            lines[at : at + (how != "insert")] = [] if how == "delete" else [line]
            path.write_text("\n".join(lines) + "\n")
            mine.setdefault(name, set())
        for name in mine.keys() - removed:
            mine[name] = {
                line for line in (service / name).read_text().splitlines() if "mine-" in line
            }
        commit(service, "mine")

        update(service)

        assert [name for name in removed if (service / name).exists()] == []
        for name in mine.keys() - removed:
            assert mine[name] <= set((service / name).read_text().splitlines()), name
        assert not list(service.rglob("*.rej"))

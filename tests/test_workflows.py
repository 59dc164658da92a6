"""Every rendered workflow passes the strictest linters, and says only what its actions know."""

import re
import shutil
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import actions
import jinja2.meta
import matrix
import pytest
import yaml
from conftest import ROOT, Render, render_into, run

NAMES = ("clouds", "database", "observability", "dependency_auto_merge")
ANSWERS = {name: matrix.values(name) for name in NAMES}
FACTS: dict[str, Any] = yaml.safe_load(actions.FACTS.read_text())
VERSIONS = yaml.safe_load((ROOT / "extensions/versions.yml").read_text())

# Inputs that action.yml calls optional, because there are other ways to log in.
OIDC = {
    "aws-actions/configure-aws-credentials": {"aws-region", "role-to-assume"},
    "azure/login": {"client-id", "subscription-id", "tenant-id"},
    "google-github-actions/auth": {"project_id", "service_account", "workload_identity_provider"},
}


def steps_of(job: dict[str, Any]) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = job["steps"]
    return steps


def findings(text: str, facts: dict[str, Any]) -> list[str]:
    """Compare a workflow with what its actions are known to take and give."""
    jobs = yaml.safe_load(text)["jobs"]
    comments = iter(re.findall(r"^\s*(?:- )?uses: \S+(.*)$", text, re.MULTILINE))
    found = []
    for job in jobs.values():
        outputs: dict[str, set[str]] = {}
        for step in steps_of(job):
            if "uses" not in step:
                outputs[step.get("id", "")] = set(re.findall(r"([\w-]+)=", step["run"]))
                continue
            action, _, ref = step["uses"].partition("@")
            comment = next(comments).strip()
            fact = facts.get(action)
            if fact is None:
                found.append(f"{action}: unknown action")
                continue
            given = set(step.get("with", {}))
            outputs[step.get("id", "")] = set(fact["outputs"])
            if not re.fullmatch("[0-9a-f]{40}", ref):
                found.append(f"{action}: {ref} is a branch or tag")
            elif ref != fact["sha"]:
                found.append(f"{action}: {ref} is not the commit of {fact['version']}")
            if comment != f"# {fact['version']}":
                found.append(f"{action}: the comment is not '# {fact['version']}'")
            if unknown := given - set(fact["inputs"]):
                found.append(f"{action}: no such input: {unknown}")
            if missing := {*fact["required"], *OIDC.get(action, ())} - given:
                found.append(f"{action}: input missing: {missing}")
            if fact["runs"] not in {"node24", "composite", "docker"}:
                found.append(f"{action}: retired runtime {fact['runs']}")
        for step, output in re.findall(r"steps\.([\w-]+)\.outputs\.([\w-]+)", str(job)):
            if output not in outputs.get(step, ()):
                found.append(f"steps.{step}: no such output: {output}")
    return found


ZIZMOR = ("zizmor", "--offline", "--quiet", "--persona=auditor", "--strict-collection")


def answers_that_matter(template: Path) -> dict[str, list[Any]]:
    """Leave out the answers that no template of `.github` reads: they can change nothing there."""
    excludes = yaml.safe_load((template / "copier.yml").read_text())["_exclude"]
    sources = [entry for entry in excludes if "/.github" in entry]
    sources += [f.read_text() for f in (template / "template/.github").rglob("*.jinja")]
    sources.append((template / "extensions/macros.jinja").read_text())
    parse = jinja2.Environment().parse
    read = set().union(*(jinja2.meta.find_undeclared_variables(parse(s)) for s in sources))
    return {name: values for name, values in ANSWERS.items() if name in read}


@pytest.fixture(scope="module")
def combinations(
    template: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[dict[str, Any], Path]]:
    """Render the `.github` of every combination of answers."""
    small = tmp_path_factory.mktemp("small")
    for name in ("extensions", "template/.github"):
        shutil.copytree(template / name, small / name)
    shutil.copy(template / "copier.yml", small)
    matter = answers_that_matter(template)
    combined = [dict(zip(matter, values, strict=True)) for values in product(*matter.values())]
    combined = [answers for answers in combined if matrix.allowed(answers)]
    return [(a, render_into(small, tmp_path_factory.mktemp("github"), a)) for a in combined]


@pytest.fixture(scope="module")
def projects(
    combinations: list[tuple[dict[str, Any], Path]], tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Return a folder with `.github` for each combination, and for this repository."""
    own = tmp_path_factory.mktemp("own")
    shutil.copytree(ROOT / ".github", own / ".github")
    return [*(project for _, project in combinations), own]


@pytest.fixture(scope="module")
def workflows(projects: list[Path]) -> list[Path]:
    return [file for project in projects for file in (project / ".github/workflows").iterdir()]


@pytest.fixture(scope="module")
def text(render: Render) -> str:
    return (render() / ".github/workflows/ci-cd.yml").read_text()


@pytest.fixture(scope="module")
def jobs(text: str) -> dict[str, Any]:
    jobs: dict[str, Any] = yaml.safe_load(text)["jobs"]
    return jobs


def step(job: dict[str, Any], name: str) -> dict[str, Any]:
    return next(s for s in steps_of(job) if s["name"] == name)


# ------------------------------------------------------- every combination


def test_all_answers_that_matter_are_combined(template: Path) -> None:
    assert set(answers_that_matter(template)) == {"clouds", "database", "dependency_auto_merge"}


def test_zizmor_finds_nothing_as_an_auditor(projects: list[Path]) -> None:
    run(*ZIZMOR, *projects)


def test_actionlint_finds_nothing(workflows: list[Path]) -> None:
    run("actionlint", *workflows)


@pytest.mark.parametrize(
    ("schema", "pattern"),
    [
        ("vendor.github-workflows", ".github/workflows/*.yml"),
        ("custom.github-workflows-require-timeout", ".github/workflows/*.yml"),
        ("vendor.dependabot", ".github/dependabot.yml"),
    ],
)
def test_schemas_hold(projects: list[Path], schema: str, pattern: str) -> None:
    files = [file for project in projects for file in project.glob(pattern)]

    run("check-jsonschema", "--builtin-schema", schema, *files)


def test_nothing_is_ignored(projects: list[Path]) -> None:
    ignores = [
        line
        for project in projects
        for file in project.rglob("*.yml")
        for line in file.read_text().splitlines()
        if "zizmor:" in line or "shellcheck disable" in line
    ]

    assert ignores == []


def test_actions_are_used_as_they_are_declared(workflows: list[Path]) -> None:
    found = {str(file): findings(file.read_text(), FACTS) for file in workflows}

    assert not any(found.values()), found


def test_shell_gets_expressions_through_the_environment_only(workflows: list[Path]) -> None:
    for file in workflows:
        for job in yaml.safe_load(file.read_text())["jobs"].values():
            for step in steps_of(job):
                assert "${{" not in step.get("run", ""), (file, step)


def test_every_job_asks_for_its_own_rights(workflows: list[Path]) -> None:
    for file in workflows:
        workflow = yaml.safe_load(file.read_text())
        assert workflow["permissions"] == {}, file
        assert all(job["permissions"] for job in workflow["jobs"].values()), file


def test_deploys_to_the_clouds_that_were_chosen(
    combinations: list[tuple[dict[str, Any], Path]],
) -> None:
    for answers, project in combinations:
        workflow = yaml.safe_load((project / ".github/workflows/ci-cd.yml").read_text())
        deploys = {job for job in workflow["jobs"] if job.startswith("deploy-")}
        inputs = (workflow[True]["workflow_dispatch"] or {}).get("inputs", {})

        assert deploys == {f"deploy-{cloud}" for cloud in answers["clouds"]}
        assert ("release" in workflow["jobs"]) == bool(answers["clouds"])
        assert ("digest" in inputs) == bool(answers["clouds"])


def test_auto_merge_is_there_when_asked(
    combinations: list[tuple[dict[str, Any], Path]],
) -> None:
    for answers, project in combinations:
        file = project / ".github/workflows/dependabot-auto-merge.yml"
        assert file.exists() == answers["dependency_auto_merge"]


# ------------------------------------------------- the rules, and that they bite


def test_versions_come_from_one_table() -> None:
    pins = VERSIONS["actions"]

    assert {name: (pin["version"], pin["sha"]) for name, pin in pins.items()} == {
        name: (fact["version"], fact["sha"]) for name, fact in FACTS.items()
    }


def test_runners_come_from_one_table(workflows: list[Path]) -> None:
    runners = {
        job["runs-on"]
        for file in workflows
        for job in yaml.safe_load(file.read_text())["jobs"].values()
    }

    assert runners == {VERSIONS["tools"]["runner"]}


BUILD = f"docker/build-push-action@{FACTS['docker/build-push-action']['sha']} # v7.3.0"
RETIRED = {
    "version": "v2",
    "sha": "8dff69dac3367c32ceb2690d8f13adbeab462703",
    "runs": "node16",
    "inputs": ["imageToDeploy"],
    "required": [],
    "outputs": [],
}


@pytest.mark.parametrize(
    ("right", "wrong", "finding"),
    [
        pytest.param(BUILD, "docker/build-push-action@master # v7.3.0", "branch", id="branch pin"),
        pytest.param(BUILD, "docker/build-push-action@v7.3.0 # v7.3.0", "or tag", id="tag pin"),
        pytest.param(
            BUILD,
            f"docker/build-push-action@{'c0ffee' * 7:.40} # v7.3.0",
            "not the commit of v7.3.0",
            id="made-up SHA",
        ),
        pytest.param(BUILD, BUILD.replace("7.3.0", "7.4.0"), "comment", id="wrong comment"),
        pytest.param("load: true", "laod: true", "no such input", id="misspelt input"),
        pytest.param(
            "key: trivy-${{ steps.date.outputs.today }}",
            "restore-keys: trivy",
            "input missing",
            id="missing required input",
        ),
        pytest.param("push.outputs.digest", "push.outputs.sha", "no such output", id="output"),
        pytest.param(
            BUILD,
            f"azure/container-apps-deploy-action@{RETIRED['sha']} # v2",
            "retired runtime node16",
            id="retired runtime",
        ),
        pytest.param(
            "role-to-assume:", "role-session-name:", "input missing", id="no role to assume"
        ),
    ],
)
def test_a_mistake_is_caught(text: str, right: str, wrong: str, finding: str) -> None:
    facts = FACTS | {"azure/container-apps-deploy-action": RETIRED}
    assert findings(text, facts) == []
    assert right in text

    assert any(finding in found for found in findings(text.replace(right, wrong, 1), facts))


def test_the_linters_catch_an_injection(text: str, tmp_path: Path) -> None:
    file = tmp_path / ".github/workflows/ci-cd.yml"
    file.parent.mkdir(parents=True)
    file.write_text(text.replace("printenv COMMIT", "printenv ${{ github.head_ref }}"))

    with pytest.raises(AssertionError, match="template-injection"):
        run(*ZIZMOR, tmp_path)
    with pytest.raises(AssertionError, match="potentially untrusted"):
        run("actionlint", file)


def test_facts_are_read_at_the_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "acme" / "act"

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(repository), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    (repository / "sub").mkdir(parents=True)
    git("init")
    action = "{inputs: {a: {required: true}, b: {required: true, default: ''}, c: }, outputs: {o: }"
    (repository / "sub/action.yaml").write_text(action + ", runs: {using: node24}}")
    git("add", ".")
    git("commit", "--message", "First")
    git("tag", "--annotate", "--message", "First", "v1.0.0")
    tagged = git("rev-parse", "HEAD")
    git("commit", "--message", "Second", "--allow-empty")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.file://{tmp_path}/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://github.com/")

    assert actions.read("acme/act/sub", "v1.0.0") == {
        "version": "v1.0.0",
        "sha": tagged,
        "runs": "node24",
        "inputs": ["a", "b", "c"],
        "required": ["a"],
        "outputs": ["o"],
    }


# ------------------------------------------ what only GitHub can run: said in the file


def test_a_pull_request_can_write_nothing_but_findings(jobs: dict[str, Any]) -> None:
    rights = {
        f"{right}: {level}"
        for job in ("verify", "scan")
        for right, level in jobs[job]["permissions"].items()
    }

    assert rights == {"contents: read", "packages: read", "security-events: write"}


def test_the_image_is_pushed_for_both_platforms_without_a_tag(jobs: dict[str, Any]) -> None:
    build = step(jobs["build"], "Build and push")["with"]

    assert build["platforms"] == "linux/amd64,linux/arm64"
    assert {"push=true", "push-by-digest=true", "name-canonical=true"} < {
        *build["outputs"].split(",")
    }
    assert "tags" not in build


def test_the_image_carries_what_it_is_made_of(jobs: dict[str, Any]) -> None:
    build = step(jobs["build"], "Build and push")["with"]

    assert build["provenance"] == "mode=max"
    assert build["sbom"].startswith("generator=docker/buildkit-syft-scanner:")


def test_the_published_image_comes_from_no_cache(jobs: dict[str, Any]) -> None:
    for step in steps_of(jobs["build"]):
        assert not {"cache-from", "cache-to"} & set(step.get("with", {}))
        assert not step.get("uses", "").startswith("actions/cache")


def test_one_digest_goes_through_all_jobs(jobs: dict[str, Any]) -> None:
    digest = "${{ needs.build.outputs.image }}"

    assert jobs["publish"]["env"]["IMAGE"] == jobs["publish"]["outputs"]["image"] == digest
    assert jobs["scan"]["env"]["IMAGE"].startswith("${{ needs.build.outputs.image || ")
    assert jobs["publish"]["needs"] == ["build", "scan"]
    names = [s["name"] for s in steps_of(jobs["publish"])]
    assert names.index("Sign") < names.index("Tag")


@pytest.mark.parametrize("cloud", ["aws", "azure", "gcp"])
def test_a_cloud_is_entered_without_a_stored_key(jobs: dict[str, Any], cloud: str) -> None:
    job = jobs[f"deploy-{cloud}"]

    assert job["environment"] == f"production-{cloud}"
    assert job["permissions"]["id-token"] == "write"
    assert job["concurrency"] == {"group": f"deploy-{cloud}", "cancel-in-progress": False}
    assert "secrets." not in str(job)


def test_dependabot_waits_a_week_for_everything(render: Render) -> None:
    updates = yaml.safe_load((render() / ".github/dependabot.yml").read_text())["updates"]

    assert {update["package-ecosystem"] for update in updates} == {
        "pip",
        "docker",
        "docker-compose",
        "github-actions",
        "devcontainers",
    }
    assert all(update["cooldown"]["default-days"] >= 7 for update in updates)
    assert all(update["open-pull-requests-limit"] <= 5 for update in updates)


def test_dependabot_leaves_python_and_the_data_alone(render: Render) -> None:
    updates = yaml.safe_load((render() / ".github/dependabot.yml").read_text())["updates"]
    ignored = {
        (update["package-ecosystem"], ignore["dependency-name"]): {*ignore["update-types"]}
        for update in updates
        for ignore in update.get("ignore", [])
    }
    major, minor = "version-update:semver-major", "version-update:semver-minor"

    assert ignored == {
        ("docker", "python"): {major, minor},
        ("docker-compose", "postgres"): {major},
    }


def test_this_repository_tests_with_the_default_python() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    default = yaml.safe_load((ROOT / "copier.yml").read_text())["python_version"]["default"]
    pythons = {
        step["with"]["python-version"]
        for job in workflow["jobs"].values()
        for step in steps_of(job)
        if step.get("uses", "").startswith("actions/setup-python@")
    }

    assert pythons == {default}

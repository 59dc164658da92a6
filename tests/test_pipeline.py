"""The steps of CI/CD are executed as they stand, with the real Docker, Buildx and a registry.

Played by stand-ins: the actions, Trivy, cosign, gh and the deploy scripts.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from conftest import ROOT, Render, free_port
from runner import Job, Run, Runner

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("engine")]

STAND_INS = Path(__file__).parent / "stand_ins"
SLUG = "pipeline-probe"
SHA = "0123456789abcdef0123456789abcdef01234567"
PUSH = {
    "event_name": "push",
    "ref": "refs/heads/main",
    "sha": SHA,
    "actor": "ada",
    "token": "token",
    "repository": "Acme-Inc/Pipeline-Probe",
    "server_url": "https://github.com",
    "workflow_ref": "Acme-Inc/Pipeline-Probe/.github/workflows/ci-cd.yml@refs/heads/main",
    "event": {"repository": {"private": True}},
}
DISPATCH = PUSH | {"event_name": "workflow_dispatch"}
PULL_REQUEST = PUSH | {
    "event_name": "pull_request",
    "ref": "refs/pull/7/merge",
    "workflow_ref": "Acme-Inc/Pipeline-Probe/.github/workflows/ci-cd.yml@refs/pull/7/merge",
}
AWS = {"AWS_REGION": "eu-central-1", "AWS_DEPLOY_ROLE_ARN": "arn:aws:iam::1:role/deploy"}
JOBS = ("verify", "build", "scan", "publish", "release", "deploy-aws", "deploy-azure")
# Debian's package, whose own settings ask for a password, on an image that is needed anyway.
BASE = yaml.safe_load((ROOT / "extensions/versions.yml").read_text())["images"]["python-3.14"]
REGISTRY = rf"""
FROM {BASE["name"]}:{BASE["tag"]}
RUN apt-get update && apt-get install --yes --no-install-recommends docker-registry
RUN printf '%s\n' 'version: 0.1' 'storage: {{filesystem: {{rootdirectory: /tmp/registry}}}}' \
    'http: {{addr: ":5000"}}' > /etc/docker/registry/config.yml
CMD ["docker-registry", "serve", "/etc/docker/registry/config.yml"]
"""


def output(*command: str, **options: Any) -> str:
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options)
    return str(done.stdout).strip()


@pytest.fixture(scope="module")
def registry(engine: None) -> Iterator[str]:
    """Run a registry; yield its host and port. Skip without what GitHub's runners have."""
    if missing := [tool for tool in ("bash", "curl", "jq") if shutil.which(tool) is None]:
        pytest.skip(f"not on this machine: {missing}")
    image = output("docker", "build", "--quiet", "-", input=REGISTRY)
    container = output("docker", "run", "--rm", "--detach", "--publish=127.0.0.1::5000", image)
    host = output("docker", "port", container, "5000").replace("127.0.0.1", "localhost")
    yield host
    output("docker", "rm", "--force", "--volumes", container)
    for image in {*output("docker", "images", "--quiet", f"{host}/*/*").split()}:
        output("docker", "image", "rm", "--force", image)


class Machine:
    """A repository on GitHub, with its runners, its registry and the tools they have."""

    def __init__(self, project: Path, registry: str, folder: Path) -> None:
        self.folder = folder
        self.registry = registry
        self.image = f"{registry}/acme-inc/pipeline-probe"
        self.repository = folder / "repository"
        shutil.copytree(project, self.repository)
        for script in ("deploy/aws/deploy.sh", "deploy/azure/deploy.sh"):
            (self.repository / script).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(STAND_INS / "deploy.sh", self.repository / script)
        self.tools = folder / "tools"
        self.tools.mkdir()
        self.env = {
            "CALLS": str(folder / "calls"),
            "COMPOSE_PROJECT_NAME": f"probe-{uuid4().hex[:8]}",
            "PATH": f"{self.tools}:{os.environ['PATH']}",
            "PORT": str(free_port()),
            "POSTGRES_PORT": str(free_port()),
            "SIGNATURES": str(folder / "signatures"),
        }
        self.actions: dict[str, Callable[[Job, dict[str, str]], dict[str, str]]] = {
            "actions/cache": self._nothing,
            "actions/checkout": self._checkout,
            "aquasecurity/setup-trivy": self._install("trivy"),
            "aws-actions/configure-aws-credentials": self._cloud,
            "azure/login": self._cloud,
            "dependabot/fetch-metadata": self._nothing,
            "docker/build-push-action": self._build,
            "docker/login-action": self._login,
            "docker/setup-buildx-action": self._nothing,
            "docker/setup-qemu-action": self._nothing,
            "github/codeql-action/upload-sarif": self._upload,
            "sigstore/cosign-installer": self._install("cosign"),
        }
        self.record: list[tuple[str, dict[str, str]]] = []

    def run(self, github: dict[str, Any], workflow: str = "ci-cd.yml", **options: Any) -> Run:
        """Run a workflow on fresh runners; afterwards only the registry is as it was left."""
        folder = self.folder / uuid4().hex
        folder.mkdir()
        runner = Runner(
            self.repository / ".github/workflows" / workflow,
            self.actions,
            folder,
            env=self.env,
            workflow_env={"REGISTRY": self.registry},
        )
        try:
            return runner.run(github, **options)
        finally:
            output(
                *("docker", "compose", "--project-name", self.env["COMPOSE_PROJECT_NAME"]),
                *("down", "--volumes", "--remove-orphans"),
            )

    def calls(self, tool: str) -> list[Any]:
        """Return what a stand-in was asked for."""
        file = Path(self.env["CALLS"])
        lines = file.read_text().splitlines() if file.exists() else []
        return [call[tool] for call in map(json.loads, lines) if tool in call]

    def digest(self, tag: str) -> str:
        """Return the digest that a tag points to in the registry."""
        manifest = output(
            *("docker", "buildx", "imagetools", "inspect", f"{self.image}:{tag}"),
            *("--format", "{{json .Manifest}}"),
        )
        digest: str = json.loads(manifest)["digest"]
        return digest

    def tags(self) -> set[str]:
        """Return the tags in the registry, but for the one that `build` needs here."""
        url = f"http://{self.image.replace('/', '/v2/', 1)}/tags/list"
        listed = json.loads(output("curl", "--silent", url)).get("tags") or []
        return {tag for tag in listed if not tag.startswith("no-tag-")}

    # ------------------------------------------------- the actions

    def _nothing(self, job: Job, given: dict[str, str]) -> dict[str, str]:
        return {}

    def _checkout(self, job: Job, given: dict[str, str]) -> dict[str, str]:
        assert job.permissions["contents"] == "read"
        assert given["persist-credentials"] == "false"
        shutil.copytree(self.repository, job.workspace, dirs_exist_ok=True)
        self.record.append(("checkout", {"job": job.name, "ref": given.get("ref", "")}))
        return {}

    def _install(self, tool: str) -> Callable[[Job, dict[str, str]], dict[str, str]]:
        def action(job: Job, given: dict[str, str]) -> dict[str, str]:
            shutil.copy(STAND_INS / tool, self.tools / tool)
            return {}

        return action

    def _login(self, job: Job, given: dict[str, str]) -> dict[str, str]:
        assert given == {"registry": self.registry, "username": "ada", "password": "token"}
        assert job.permissions.get("packages") in {"read", "write"}
        self.record.append(("login", {"job": job.name}))
        return {}

    def _build(self, job: Job, given: dict[str, str]) -> dict[str, str]:
        """Build in earnest; the engine can push by tag only, so a tag of its own is made."""
        exports = dict(pair.split("=", 1) for pair in given.get("outputs", "").split(",") if pair)
        tag = f"{exports['name']}:no-tag-{uuid4().hex}" if exports else given["tags"]
        command = ["docker", "build", "--quiet", "--target", given["target"], "--tag", tag]
        for argument in given.get("build-args", "").splitlines():
            command += ["--build-arg", argument]
        for label in given.get("labels", "").splitlines():
            command += ["--label", label]
        subprocess.run(
            [*command, given["context"]], cwd=job.workspace, check=True, capture_output=True
        )
        self.record.append(("build", {"job": job.name, "target": given["target"]}))
        if not exports:
            assert given["load"] == "true"
            return {}
        assert job.permissions["packages"] == "write"
        output("docker", "push", "--quiet", tag)
        # An index, as BuildKit pushes for two platforms.
        output("docker", "buildx", "imagetools", "create", "--tag", tag, tag)
        return {"digest": self.digest(tag.rpartition(":")[2])}

    def _upload(self, job: Job, given: dict[str, str]) -> dict[str, str]:
        assert job.permissions["security-events"] == "write"
        sarif = json.loads((job.workspace / given["sarif_file"]).read_text())
        self.record.append(("sarif", {"results": str(len(sarif["runs"][0]["results"]))}))
        return {}

    def _cloud(self, job: Job, given: dict[str, str]) -> dict[str, str]:
        assert job.permissions["id-token"] == "write"
        self.record.append(("cloud", given))
        return {}


def make(render: Render, registry: str, folder: Path, database: str = "postgresql") -> Machine:
    project = render(
        service_name="Pipeline Probe",
        github_owner="Acme-Inc",
        clouds=["aws", "azure"],
        database=database,
    )
    return Machine(project, registry, folder)


@pytest.fixture
def machine(render: Render, registry: str, tmp_path: Path) -> Machine:
    return make(render, registry, tmp_path)


@pytest.fixture(scope="module")
def pushed(
    render: Render, registry: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Machine, Run]:
    """Push to main, where AWS is set up and Azure is not."""
    machine = make(render, registry, tmp_path_factory.mktemp("pushed"))
    return machine, machine.run(PUSH, variables=AWS)


@pytest.fixture
def later(pushed: tuple[Machine, Run]) -> Machine:
    """Return the machine after the push, with nothing called yet."""
    machine, _ = pushed
    Path(machine.env["CALLS"]).unlink(missing_ok=True)
    machine.record.clear()
    return machine


def jobs(result: str, *names: str) -> dict[str, str]:
    """Return the results of all jobs, when those named ended so and the rest was skipped."""
    return {job: result if job in names else "skipped" for job in JOBS}


def test_what_is_published_is_what_was_tried_and_scanned(pushed: tuple[Machine, Run]) -> None:
    machine, run = pushed

    assert run.jobs == dict.fromkeys(JOBS, "success")
    digest = machine.digest(SHA)
    published = f"{machine.image}@{digest}"
    assert machine.digest("latest") == digest
    scanned = [call for call in machine.calls("trivy") if call["command"] == "image"]
    assert {(c["image"], c["image_src"], c["platform"]) for c in scanned} == {
        (published, "remote", "linux/amd64"),
        (published, "remote", "linux/arm64"),
    }
    assert {call["image"] for call in machine.calls("cosign")} == {published}
    assert machine.calls("deploy") == [{"IMAGE": published, "COMMIT": SHA}]
    assert published in run.summary


def test_a_cloud_that_is_not_set_up_is_a_notice(pushed: tuple[Machine, Run]) -> None:
    _, run = pushed

    assert run.ran("deploy-azure") == ["Skip, as nothing is set up"]
    assert "::notice" in run.log("deploy-azure", "Skip, as nothing is set up")


def test_a_roll_back_deploys_the_earlier_image_alone(later: Machine) -> None:
    earlier = later.digest(SHA)
    run = later.run(DISPATCH | {"sha": "f" * 40}, inputs={"digest": earlier}, variables=AWS)

    assert run.jobs == jobs("success", "release", "deploy-aws", "deploy-azure")
    assert later.calls("deploy") == [{"IMAGE": f"{later.image}@{earlier}", "COMMIT": SHA}]
    assert ("checkout", {"job": "deploy-aws", "ref": SHA}) in later.record
    login = {"aws-region": AWS["AWS_REGION"], "role-to-assume": AWS["AWS_DEPLOY_ROLE_ARN"]}
    assert [given for what, given in later.record if what == "cloud"] == [login]


def test_only_what_main_has_signed_is_deployed(later: Machine, tmp_path: Path) -> None:
    signatures = Path(later.env["SIGNATURES"]).read_text()
    later.env = later.env | {"SIGNATURES": str(tmp_path / "signatures")}
    elsewhere = signatures.replace("refs/heads/main", "refs/heads/other")
    Path(later.env["SIGNATURES"]).write_text(elsewhere)
    assert elsewhere != signatures
    run = later.run(DISPATCH, inputs={"digest": later.digest(SHA)}, variables=AWS)

    assert run.jobs == jobs("skipped") | {"release": "failure"}
    assert "no matching signatures" in run.log("release", "Verify the signature, read the commit")


@pytest.mark.parametrize("digest", ["latest", "sha256:12", "sha256:" + "0" * 64 + "; id"])
def test_a_malformed_digest_is_refused(machine: Machine, digest: str) -> None:
    run = machine.run(DISPATCH, inputs={"digest": digest}, variables=AWS)

    assert run.jobs == jobs("skipped") | {"release": "failure"}
    assert "64 hexadecimal digits" in run.log("release", "Verify the signature, read the commit")
    assert machine.calls("cosign") == []


@pytest.mark.parametrize(("database", "fork"), [("postgresql", True), ("none", False)])
def test_a_pull_request_is_tested_and_scanned_and_leaves_nothing(
    render: Render, registry: str, tmp_path: Path, database: str, fork: bool
) -> None:
    machine = make(render, registry, tmp_path, database)
    before = machine.tags()
    run = machine.run(PULL_REQUEST, read_only=fork)

    assert run.jobs == jobs("success", "verify", "scan")
    assert {what for what, _ in machine.record} == {"checkout", "build"}
    assert [c["image"] for c in machine.calls("trivy") if c["command"] == "image"] == [
        f"{SLUG}:local"
    ]
    assert machine.tags() == before


def test_a_failing_test_pushes_nothing(machine: Machine) -> None:
    (machine.repository / "tests/test_failing.py").write_text(
        '"""Fails."""\n\n\ndef test_failing() -> None:\n    assert not __doc__\n'
    )
    run = machine.run(PUSH, variables=AWS)

    assert run.jobs == jobs("skipped") | {"verify": "failure"}
    assert "test_failing" in run.log("verify", "Test, against the PostgreSQL of Compose")
    assert [given for what, given in machine.record if what == "build"] == [
        {"job": "verify", "target": "test"}
    ]


def test_vulnerabilities_stop_the_release(machine: Machine) -> None:
    machine.env["FINDINGS"] = '["CVE-2026-1"]'
    before = machine.tags()
    public = PUSH | {"event": {"repository": {"private": False}}}
    run = machine.run(public, variables=AWS, passed=("verify",))

    stopped = jobs("skipped") | {"verify": "success", "build": "success", "scan": "failure"}
    assert run.jobs == stopped
    assert ("sarif", {"results": "1"}) in machine.record
    assert "CVE-2026-1" in run.summary
    assert machine.tags() == before


def test_an_image_of_another_commit_is_not_published(machine: Machine) -> None:
    dockerfile = machine.repository / "Dockerfile"
    wrong = dockerfile.read_text().replace("ENV COMMIT=$COMMIT", "ENV COMMIT=other")
    dockerfile.write_text(wrong)
    run = machine.run(PUSH, passed=("verify",))

    assert run.jobs["scan"] == "failure"
    assert f"not {SHA}" in run.log("scan", "Start it and ask for its commit")
    assert "Show the logs" in run.ran("scan")
    assert run.jobs["publish"] == "skipped"


def test_a_dispatch_elsewhere_than_on_main_publishes_nothing(machine: Machine) -> None:
    branch = DISPATCH | {"ref": "refs/heads/feature"}
    digest = {"digest": "sha256:" + "0" * 64}

    assert machine.run(branch, passed=("verify",)).jobs == jobs("success", "verify", "scan")
    assert machine.run(branch, inputs=digest).jobs == jobs("skipped")


# ------------------------------------------------------- Dependabot


def update(machine: Machine, kind: str, ecosystem: str, author: str = "dependabot[bot]") -> Run:
    shutil.copy(STAND_INS / "gh", machine.tools / "gh")
    machine.actions["dependabot/fetch-metadata"] = lambda job, given: {
        "update-type": kind,
        "package-ecosystem": ecosystem,
    }
    event = {"pull_request": {"user": {"login": author}, "head": {"sha": SHA}}, "number": 7}
    github = PULL_REQUEST | {"event": event}
    sleep = machine.tools / "sleep"
    sleep.write_text("#!/bin/sh\n")
    sleep.chmod(0o755)
    return machine.run(github, "dependabot-auto-merge.yml")


def test_a_minor_update_is_merged_and_published_once_green(machine: Machine) -> None:
    machine.env["CI"] = "green"
    run = update(machine, "version-update:semver-minor", "pip")

    assert run.jobs == {"merge": "success"}
    assert [call for call in machine.calls("gh") if call[:2] != ["run", "list"]] == [
        ["run", "watch", "4711", "--exit-status", "--interval", "30"],
        ["pr", "merge", "7", "--squash", "--match-head-commit", SHA],
        ["workflow", "run", "ci-cd.yml", "--ref", "main"],
    ]


def test_an_update_that_is_not_green_is_not_merged(machine: Machine) -> None:
    machine.env["CI"] = "red"
    run = update(machine, "version-update:semver-patch", "pip")

    assert run.jobs == {"merge": "failure"}
    assert {call[0] for call in machine.calls("gh")} == {"run"}


@pytest.mark.parametrize(
    ("kind", "ecosystem", "author"),
    [
        ("version-update:semver-major", "pip", "dependabot[bot]"),
        ("version-update:semver-patch", "github_actions", "dependabot[bot]"),
        ("version-update:semver-patch", "pip", "mallory"),
        ("", "docker", "dependabot[bot]"),
    ],
)
def test_other_updates_wait_for_a_person(
    machine: Machine, kind: str, ecosystem: str, author: str
) -> None:
    update(machine, kind, ecosystem, author)

    assert machine.calls("gh") == []

"""Promise 4: the real clients bootstrap, deploy, test, undo and roll back, on loopback clouds.

What only a real account can show: that the clouds accept what these stand-ins accept, and
that their own policies (organisation policies, quotas) leave room for it.
"""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from clouds import github
from clouds.amazon import Amazon
from clouds.azure import Azure
from clouds.github import GitHub
from clouds.google import Google
from clouds.images import COMMIT, Registry
from clouds.internet import Internet
from conftest import Answers, Render

pytestmark = [
    pytest.mark.cloud,
    # moto knows no scaling in a stack, and tells so.
    pytest.mark.filterwarnings("ignore:Tried to parse AWS..ApplicationAutoScaling"),
]

# aws comes with the tools of the tests.
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
OTHER = "2" * 40  # the commit of a second image
THIRD = "3" * 40
DATABASE_URL = "postgresql://orders:secret@db.example.com:5432/orders"

Cloud = Amazon | Azure | Google


@dataclasses.dataclass
class World:
    """GitHub, its registry, a service's repository and the way to run its scripts."""

    name: str
    cloud: Cloud
    github: GitHub
    ghcr: Registry
    registry: Registry
    service: Path
    environment: dict[str, str]
    folder: Path

    def run(
        self, *command: str | Path, stdin: str = "", **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script of the service (by its path) or a client, with more variables."""
        first, *rest = map(str, command)
        program = str(self.service / first) if first.startswith("deploy/") else first
        return subprocess.run(
            [program, *rest],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment | more,
            cwd=self.service,
            timeout=600,
        )

    def succeed(self, *command: str | Path, **more: str) -> str:
        """Run a command that must succeed; return what it prints on stdout."""
        result = self.run(*command, **more)
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    def fail(self, *command: str | Path, **more: str) -> str:
        """Run a command that must fail; return what it prints on stderr."""
        result = self.run(*command, **more)
        assert result.returncode, f"{command}\n{result.stdout}\n{result.stderr}"
        return result.stderr

    def image(self, commit: str = COMMIT, *, index: bool = True, **settings: str) -> dict[str, str]:
        """Publish an image; return the variables that deploy it."""
        digest = self.ghcr.push("acme/orders", index=index, COMMIT=commit, **settings)
        return {"IMAGE": f"ghcr.io/acme/orders@{digest}", "COMMIT": commit}

    def log_in(self, folder: Path, token: str = "") -> dict[str, str]:
        """Return the variables of a session: the owner's, or by GitHub's token the deployer's."""
        session = self.cloud.log_in(folder, token)
        if isinstance(self.cloud, Azure):
            self.run(*self.cloud.login_command(token), **session)
        return session

    def deploy(self, **image: str) -> str:
        """Deploy an image; return what then gets the traffic."""
        self.succeed(f"deploy/{self.name}/deploy.sh", **image)
        return self.cloud.deployed()


def clients(request: pytest.FixtureRequest, *names: str) -> None:
    """Tell which clients run; skip when one is missing, on which `.ci/run` fails."""
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    for name in names:
        path = shutil.which(name, path=PATH)
        if path is None:
            pytest.skip(f"{name} is not installed")
        if reporter is not None:
            reporter.write_line(f"client: {path}")


CLOUDS: dict[str, tuple[type[Cloud], str, Answers]] = {
    "azure": (Azure, "az", {"clouds": ["azure", "gcp"], "observability": ["traces"]}),
    "aws": (Amazon, "aws", {"clouds": ["aws", "azure", "gcp"]}),
    "gcp": (Google, "gcloud", {"clouds": ["gcp"]}),
}


@pytest.fixture(scope="module", params=CLOUDS)
def world(
    render: Render, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[World]:
    """Return a world after the bootstrap, with a database's URL and a first deployment."""
    _, client, answers = CLOUDS[request.param]
    clients(request, client, "skopeo", "docker-registry", "gh", "curl")
    service = render(service_name="Orders", **answers)
    with made(request.param, service, tmp_path_factory.mktemp(request.param)) as world:
        world.deploy(**world.image())
        yield world


@contextlib.contextmanager
def made(name: str, service: Path, folder: Path, *, database: bool = True) -> Iterator[World]:
    """Make a world for a rendered service, and run the bootstrap of one cloud there."""
    (folder / "home/.docker").mkdir(parents=True)
    auth = b64encode(b"me:ghcr").decode()
    (folder / "home/.docker/config.json").write_text(
        json.dumps({"auths": {"ghcr.io": {"auth": auth}}})
    )
    internet, hub = Internet(folder), GitHub()
    ghcr, registry = Registry(folder / "ghcr"), Registry(folder / "registry")
    cloud = CLOUDS[name][0](registry)
    internet.site("ghcr.io", ghcr.site(lambda password, request: password == "ghcr"))
    hub.connect(internet)
    cloud.connect(internet)
    environment = {
        "PATH": PATH,
        "HOME": str(folder / "home"),
        "GH_TOKEN": "x",
        "GITHUB_REPOSITORY": github.REPOSITORY,
        "POLL_SECONDS": "0.2",
        "SMOKE_TEST_SECONDS": "2",
        **internet.environment(),
    }
    with internet.online(), ghcr.running(), registry.running():
        world = World(
            name=name,
            cloud=cloud,
            github=hub,
            ghcr=ghcr,
            registry=registry,
            service=service,
            environment=environment,
            folder=folder,
        )
        owner = world.log_in(folder) | {"SET_GITHUB_VARIABLES": "yes"}
        world.environment |= owner
        world.succeed(f"deploy/{world.name}/bootstrap.sh", **cloud.owner)
        if database:
            cloud.store(world.succeed, DATABASE_URL)
        for key in owner:
            del world.environment[key]
        token = github.token(f"production-{world.name}")
        world.environment |= hub.environments[f"production-{world.name}"]
        world.environment |= world.log_in(folder, token)
        yield world


def test_a_deployment_moves_all_traffic_to_the_same_digest(world: World) -> None:
    for index in (True, False):
        image = world.image(OTHER, index=index, TRY=str(index))
        world.deploy(**image)
        digest = image["IMAGE"].partition("@")[2]
        deployed = world.cloud.deployed()
        assert deployed.endswith(f"@{digest}")
        name = deployed.partition("/")[2].partition("@")[0]
        assert world.registry.manifest(name, digest) == world.ghcr.manifest("acme/orders", digest)
        assert world.registry.settings(deployed) == world.ghcr.settings(image["IMAGE"])


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("crashes", "did not become ready"),
        ("other-commit", f"tells commit {THIRD}, not {OTHER}"),
        ("fails-live", "went back to"),
        ("rolled-back", "serve"),
        ("no-migration", "migration failed"),
    ],
)
def test_after_a_failure_the_old_version_serves(world: World, behaviour: str, message: str) -> None:
    serves = world.cloud.deployed()
    commit = THIRD if behaviour == "other-commit" else OTHER
    image = world.image(commit, BEHAVIOUR=behaviour) | {"COMMIT": OTHER}
    error = world.fail(f"deploy/{world.name}/deploy.sh", **image)
    assert message in error
    assert world.cloud.deployed() == serves


MISSPELT = {
    "aws": ("task-definition.json", "stopTimeout", "stopTimeOut"),
    "azure": ("containerapp.json", "targetPort", "targetport"),
    "gcp": ("service.yaml", "startupProbe", "startUpProbe"),
}


def test_a_misspelt_deploy_file_is_refused(world: World, tmp_path: Path) -> None:
    serves = world.cloud.deployed()
    name, right, wrong = MISSPELT[world.name]
    copy = dataclasses.replace(world, service=tmp_path / "service")
    shutil.copytree(world.service / "deploy", copy.service / "deploy")
    file = copy.service / "deploy" / world.name / name
    file.write_text(file.read_text().replace(right, wrong))
    assert wrong in copy.fail(f"deploy/{world.name}/deploy.sh", **world.image(OTHER, TRY="typo"))
    assert world.cloud.deployed() == serves


def test_rollback_goes_to_what_served_before_and_to_what_is_named(world: World) -> None:
    first = world.cloud.deployed()
    image = world.image(OTHER, TRY="rollback")
    second = world.deploy(**image)
    world.succeed(f"deploy/{world.name}/rollback.sh")
    assert world.cloud.deployed() == first
    assert "there is no" in world.fail(f"deploy/{world.name}/rollback.sh", "orders-nothing")
    assert world.cloud.deployed() == first != second
    # And forward again, with an image that the cloud's registry has already.
    assert world.deploy(**image) == second


def test_bootstrap_again_changes_nothing(world: World, tmp_path: Path) -> None:
    before = world.cloud.state()
    world.succeed(
        f"deploy/{world.name}/bootstrap.sh", **world.cloud.owner, **world.log_in(tmp_path)
    )
    assert world.cloud.state() == before


def test_the_deployer_may_only_deploy(world: World) -> None:
    for command in world.cloud.denied:
        error = world.fail(*command.replace("VAULT", world.cloud.vault).split())
        assert re.search("denied|not authorized|AuthorizationFailed|may not perform", error), (
            command
        )


def test_no_script_of_a_deployment_reads_a_secret(world: World) -> None:
    assert not [path for path in world.cloud.secrets_read if path]


@pytest.mark.parametrize("claims", [{"repository_id": "457"}, {"environment": "staging"}])
def test_only_the_repository_and_its_environment_are_trusted(
    world: World, tmp_path: Path, claims: dict[str, str]
) -> None:
    everything = {"repository_id": "456", "environment": f"production-{world.name}"} | claims
    sub = "repo:acme@123/orders@{repository_id}:environment:{environment}".format(**everything)
    token = github.token(f"production-{world.name}", **claims, sub=sub)
    serves = world.cloud.deployed()
    world.fail(
        f"deploy/{world.name}/deploy.sh", **world.image(OTHER), **world.log_in(tmp_path, token)
    )
    assert world.cloud.deployed() == serves


def test_github_knows_the_variables_and_lets_only_main_deploy(world: World) -> None:
    assert world.github.branches == {f"production-{world.name}": ["main"]}


@pytest.mark.parametrize("script", ["bootstrap.sh", "deploy.sh", "rollback.sh"])
def test_what_is_missing_is_named_before_anything_happens(world: World, script: str) -> None:
    before = world.cloud.state()
    kept = {"PATH", "HOME"}
    bare = {key: "" for key in world.environment if key not in kept}
    result = world.run(f"deploy/{world.name}/{script}", **bare)
    assert result.returncode == 1
    assert result.stderr.startswith("error: set these environment variables first:")
    assert world.cloud.state() == before


def test_an_image_is_deployed_by_digest_only(world: World) -> None:
    image = {"IMAGE": "ghcr.io/acme/orders:latest", "COMMIT": COMMIT}
    assert "by digest" in world.fail(f"deploy/{world.name}/deploy.sh", **image)


def test_a_service_without_database_and_telemetry(
    render: Render, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    clients(request, "aws", "skopeo", "docker-registry", "gh", "curl")
    answers = {"clouds": ["aws", "gcp"], "database": "none", "observability": []}
    service = render(service_name="Orders", **answers)
    with made("aws", service, tmp_path, database=False) as world:
        broken = world.image(OTHER, BEHAVIOUR="crashes")
        world.fail("deploy/aws/deploy.sh", **broken)
        assert world.cloud.state()[1] == 0, "tasks run after a first deployment that failed"
        first = world.deploy(**world.image())
        world.fail("deploy/aws/deploy.sh", **broken)
        assert world.cloud.deployed() == first

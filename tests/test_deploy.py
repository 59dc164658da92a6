"""Promise 4: the real clients bootstrap, deploy, test, undo and roll back, on loopback clouds.

What only a real account can show: that the clouds accept what these stand-ins accept, and
that their own policies (organisation policies, quotas) leave room for it.
"""

import json
import os
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from clouds import github, google, images
from clouds.github import GitHub
from clouds.google import Google
from clouds.images import COMMIT, Registry
from clouds.internet import Internet
from conftest import Render

pytestmark = pytest.mark.cloud

OTHER = "2" * 40  # the commit of a second image
THIRD = "3" * 40
DATABASE_URL = "postgresql://orders:secret@db.example.com:5432/orders"


@dataclass
class World:
    """GitHub, its registry, a service's repository and the way to run its scripts."""

    internet: Internet
    github: GitHub
    ghcr: Registry
    registry: Registry
    service: Path
    environment: dict[str, str]

    def run(self, *command: str | Path, input: str = "", **more: str) -> subprocess.CompletedProcess[str]:  # noqa: A002
        """Run a script of the service (by its path) or a client, with more variables."""
        first, *rest = map(str, command)
        program = str(self.service / first) if first.startswith("deploy/") else first
        return subprocess.run(
            [program, *rest],
            input=input,
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


def clients(*names: str) -> None:
    """Skip when a client is missing, else tell which ones run; `.ci/run` fails on a skip."""
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
        print(f"client: {name} at {shutil.which(name)}")


@pytest.fixture
def world(render: Render, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    yield from make_world(render, tmp_path, request.param)


def make_world(render: Render, folder: Path, **answers: Any) -> Iterator[World]:
    clients("skopeo", "docker-registry", "gh", "curl")
    service = render(service_name="Orders", **answers)
    home = folder / "home"
    (home / ".docker").mkdir(parents=True)
    auth = b64encode(b"me:ghcr").decode()
    (home / ".docker/config.json").write_text(json.dumps({"auths": {"ghcr.io": {"auth": auth}}}))
    internet, hub = Internet(folder), GitHub()
    ghcr, registry = Registry(folder / "ghcr"), Registry(folder / "registry")
    internet.site("ghcr.io", ghcr.site(lambda password, request: password == "ghcr"))
    hub.connect(internet)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "GH_TOKEN": "x",
        "GITHUB_REPOSITORY": github.REPOSITORY,
        "POLL_SECONDS": "0.2",
        "SMOKE_TEST_SECONDS": "2",
        **internet.environment(),
    }
    with internet.online(), ghcr.running(), registry.running():
        yield World(internet, hub, ghcr, registry, service, environment)


# ---------------------------------------------------------------- Google Cloud


@dataclass
class OnGoogle(World):
    """A world with a project on Google Cloud."""

    cloud: Google

    def as_deployer(self) -> dict[str, str]:
        """Return what a job has after google-github-actions/auth."""
        return self.github.environments["production-gcp"]


@pytest.fixture(scope="module")
def gcp(render: Render, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnGoogle]:
    clients("gcloud")
    folder = tmp_path_factory.mktemp("gcp")
    for base in make_world(render, folder, clouds=["gcp"], database="postgresql"):
        cloud = Google(base.registry)
        world = OnGoogle(**vars(base), cloud=cloud)
        cloud.connect(world.internet)
        owner = folder / "owner"
        owner.write_text(google.OWNER)
        world.environment |= {
            "CLOUDSDK_CONFIG": str(folder / "gcloud"),
            "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
        }
        bootstrap = {
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(owner),
            "GCP_PROJECT_ID": google.PROJECT,
            "GCP_REGION": "europe-west1",
            "SET_GITHUB_VARIABLES": "yes",
        }
        world.succeed("deploy/gcp/bootstrap.sh", **bootstrap)
        yield world


def test_gcp(gcp: OnGoogle) -> None:
    print(gcp.github.environments, gcp.cloud.policies)

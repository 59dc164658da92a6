"""GitHub on loopback: what `gh` asks for, and the tokens that Actions hands to jobs."""

import json
import re
from base64 import urlsafe_b64encode
from typing import Any

from .internet import Internet, Request, Response, as_json

REPOSITORY, REPOSITORY_ID = "acme/orders", "456"
SUBJECT = "repo:acme@123/orders@456"


class GitHub:
    """One repository with its environments and their variables."""

    def __init__(self) -> None:
        self.environments: dict[str, dict[str, str]] = {}
        self.branches: dict[str, list[str]] = {}

    def connect(self, internet: Internet) -> None:
        """Answer for api.github.com."""
        internet.site("api.github.com", self._api)

    def _api(self, request: Request) -> Response:
        path = request.path.removeprefix(f"/repos/{REPOSITORY}")
        if path == "":
            return as_json({"id": int(REPOSITORY_ID), "full_name": REPOSITORY})
        if path == "/actions/oidc/customization/sub":
            return as_json({"use_default": True, "sub_claim_prefix": SUBJECT})
        found = re.fullmatch(
            r"/environments/([\w-]+)(?:/(variables|deployment-branch-policies)(?:/(\w+))?)?", path
        )
        if not found:
            return as_json({"message": "Not Found"}, 404)
        environment, kind, name = found.groups()
        if kind is None and request.method == "PUT":
            assert request.json()["deployment_branch_policy"]["custom_branch_policies"]
            self.environments.setdefault(environment, {})
            self.branches.setdefault(environment, [])
            return as_json({"name": environment})
        if environment not in self.environments:
            return as_json({"message": "Not Found"}, 404)
        if kind == "deployment-branch-policies":
            if request.method == "POST":
                self.branches[environment].append(request.json()["name"])
            return as_json(
                {"branch_policies": [{"name": one} for one in self.branches[environment]]}
            )
        variables = self.environments[environment]
        if request.method == "PATCH" and name not in variables:
            return as_json({"message": "Not Found"}, 404)
        variables[name or request.json()["name"]] = request.json()["value"]
        return Response(204)


def token(environment: str, /, **claims: str) -> str:
    """Return what Actions gives a job in an environment of the repository (unsigned)."""
    claims = {
        "iss": "https://token.actions.githubusercontent.com",
        "aud": "sts.amazonaws.com" if environment.endswith("aws") else "api://AzureADTokenExchange",
        "sub": f"{SUBJECT}:environment:{environment}",
        "repository_id": REPOSITORY_ID,
        "environment": environment,
    } | claims

    def part(data: Any) -> str:
        return urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}.c2ln"

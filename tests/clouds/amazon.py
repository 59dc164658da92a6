"""AWS on loopback: moto's server, with what it lacks for a deployment to ECS.

Added here: IAM with resources and conditions for the deploy role, the trust in GitHub's
tokens, the load balancer's answers, tasks that end, the deployment circuit breaker,
stack outputs and the network of a service that comes from a stack.
"""

import ast
import copy
import fnmatch
import json
import os
import re
import tempfile
import time
import urllib.parse
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

os.environ["MOTO_ECS_SERVICE_RUNNING"] = "0"

import moto.backends
from moto.cloudformation.parsing import clean_json
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from . import images, validate
from .google import decode
from .internet import Internet, Request, Response, as_json

ACCOUNT, REGION = "123456789012", "eu-west-1"
ARN = f"arn:aws:{{}}:{REGION}:{ACCOUNT}:{{}}"
OWNER = "AKIAOWNER"


class Amazon:
    """One account in one region.

    Args:
        registry: holds what was pushed to ECR.
    """

    owner = MappingProxyType({"AWS_REGION": REGION})
    denied = (
        "aws ssm get-parameter --name /orders/database-url --with-decryption",
        "aws secretsmanager list-secrets",
        "aws ecs delete-service --cluster orders --service orders --force",
        "aws ecs update-service --cluster orders --service another",
        "aws ecs run-task --cluster another --task-definition orders --launch-type FARGATE",
        "aws ecs create-cluster --cluster-name another",
        "aws iam list-roles",
    )

    def __init__(self, registry: images.Registry) -> None:
        self.registry = registry
        self.secrets_read: list[str] = []
        self._deployers: dict[str, str] = {}
        self._tasks: dict[str, tuple[int | None, str]] = {}
        moto_api_backend.reset()  # its state is one for the whole process
        self._app = DomainDispatcherApplication(create_backend_app)

    def connect(self, internet: Internet) -> None:
        """Answer for the hosts of AWS."""
        internet.site("*.dkr.ecr.*.amazonaws.com", self.registry.site(self._may_use_registry))
        internet.site("*.elb.amazonaws.com", self._serve)
        internet.site("*.amazonaws.com", self._api)

    def _backend(self, name: str) -> Any:
        region = "aws" if name == "iam" else REGION
        return moto.backends.get_backend(name)[ACCOUNT][region]  # type: ignore[call-overload]

    # ------------------------------------------------------------- identities

    def _statements(self, role: str) -> Iterator[Any]:
        for document in self._backend("iam").get_role(role).policies.values():
            if isinstance(document, str):  # moto may keep the text of a Python value
                document = ast.literal_eval(document)
            yield from document["Statement"]

    def _may(self, role: str, action: str, resource: str, context: Mapping[str, str]) -> bool:
        def listed(value: Any) -> list[str]:
            return value if isinstance(value, list) else [value]

        return any(
            any(fnmatch.fnmatchcase(action, one) for one in listed(statement["Action"]))
            and any(fnmatch.fnmatchcase(resource, one) for one in listed(statement["Resource"]))
            and all(
                fnmatch.fnmatchcase(context.get(key, ""), wanted)
                for test in statement.get("Condition", {}).values()
                for key, wanted in test.items()
            )
            for statement in self._statements(role)
        )

    def _needs(
        self, service: str, action: str, body: Any
    ) -> Iterator[tuple[str, str, dict[str, str]]]:
        """Yield what a call asks of IAM: action, resource, context."""
        name = f"{service}:{action}"
        resource, context = "*", {}
        if action in ("UpdateService", "DescribeServices", "DeleteService"):
            names = body.get("services") or [body.get("service")]
            resource = ARN.format("ecs", f"service/{body['cluster']}/{names[0]}")
        elif action == "DescribeTasks":
            resource = ARN.format("ecs", f"task/{body['cluster']}/x")
        elif action == "RunTask":
            resource = body["taskDefinition"]
            context = {"ecs:cluster": ARN.format("ecs", f"cluster/{body['cluster']}")}
        yield name, resource, context
        if action == "RegisterTaskDefinition":
            for role in (body["executionRoleArn"], body["taskRoleArn"]):
                yield "iam:PassRole", role, {"iam:PassedToService": "ecs-tasks.amazonaws.com"}

    def _assume(self, request: Request) -> Response | None:
        """Refuse a token that the role does not trust."""
        form = request.form()
        role = self._backend("iam").get_role(form["RoleArn"].rpartition("/")[2])
        document = role.assume_role_policy_document
        [statement] = (json.loads(document) if isinstance(document, str) else document)["Statement"]
        claims = decode(form["WebIdentityToken"])
        issuer = "token.actions.githubusercontent.com"
        provider = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{issuer}"
        known = [one.arn for one in self._backend("iam").open_id_providers.values()]
        if provider in known and statement["Principal"] == {"Federated": provider}:
            conditions = statement["Condition"]["StringEquals"]
            if all(
                claims.get(key.removeprefix(f"{issuer}:")) == value
                for key, value in conditions.items()
            ):
                return None
        return denied(request, "sts:AssumeRoleWithWebIdentity")

    def _may_use_registry(self, password: str, request: Request) -> bool:
        if password not in (OWNER, *self._deployers):
            return False
        if request.path == "/v2/":
            return True
        name = request.path.split("/")[2]
        action = "ecr:BatchGetImage" if request.method in ("GET", "HEAD") else "ecr:PutImage"
        if name not in self._backend("ecr").repositories:
            return False
        role = self._deployers.get(password)
        return not role or self._may(role, action, ARN.format("ecr", f"repository/{name}"), {})

    # -------------------------------------------------------------------- API

    def _api(self, request: Request) -> Response:
        service = request.host.removeprefix("api.").partition(".")[0]
        target = request.headers.get("x-amz-target", "").rpartition(".")[2]
        action = target or request.form().get("Action", "")
        body = request.json() if target else request.form()
        found = re.search(r"Credential=(\w+)/", request.headers.get("authorization", ""))
        key = found[1] if found else ""
        if action == "AssumeRoleWithWebIdentity":
            if (refusal := self._assume(request)) is not None:
                return refusal
        elif key in self._deployers and action != "GetCallerIdentity":
            role = self._deployers[key]
            for need in self._needs(service, action, body):
                if not self._may(role, *need):
                    return denied(request, need[0])
            if service in ("ssm", "secretsmanager"):
                self.secrets_read.append(action)
        elif key != OWNER and action != "GetCallerIdentity":
            return denied(request, f"{service}:{action}")
        match action:
            case "GetAuthorizationToken":
                token = b64encode(f"AWS:{key}".encode()).decode()
                return as_json(
                    {
                        "authorizationData": [
                            {"authorizationToken": token, "expiresAt": time.time() + 3600}
                        ]
                    }
                )
            case "RegisterTaskDefinition":
                if problems := validate.task_definition(body):
                    return as_json(
                        {"__type": "ClientException", "message": "; ".join(problems)}, 400
                    )
            case "DescribeTasks":
                return as_json(
                    {"tasks": [self._ended(arn) for arn in body["tasks"]], "failures": []}
                )
            case "RunTask":
                return as_json({"tasks": [{"taskArn": self._run(body)}], "failures": []})
            case "UpdateService":
                before = self._service().task_definition
        response = self._moto(request)
        if response.status != 200:
            return response
        match action:
            case "AssumeRoleWithWebIdentity":
                key = re.search(r"<AccessKeyId>(\w+)<", response.body.decode())[1]  # type: ignore[index]
                self._deployers[key] = body["RoleArn"].rpartition("/")[2]
            case "ExecuteChangeSet":
                self._complete_stack()
            case "UpdateService":
                self._settle(before)
        return response

    def _moto(self, request: Request) -> Response:
        builder = EnvironBuilder(
            path=urllib.parse.quote(request.path),
            base_url=f"https://{request.host}",
            method=request.method,
            query_string=urllib.parse.urlencode(request.query),
            headers=Headers(request.headers),
            data=request.body,
        )
        parts, status, headers = run_wsgi_app(self._app, builder.get_environ(), buffered=True)
        return Response(int(status.split()[0]), b"".join(parts), dict(headers))

    def _complete_stack(self) -> None:
        """Do what moto leaves out of a stack: outputs, the network of the service."""
        for stack in self._backend("cloudformation").stacks.values():
            stack._parse_template()
            stack.output_map = stack._create_output_map()
            properties = stack.template_dict["Resources"]["Service"]["Properties"]
            network = clean_json(
                copy.deepcopy(properties["NetworkConfiguration"]), stack.resource_map
            )["AwsvpcConfiguration"]
            self._service().network_configuration = {
                "awsvpcConfiguration": {
                    key[0].lower() + key[1:]: value for key, value in network.items()
                }
            }

    # -------------------------------------------------------------------- ECS

    def _service(self) -> Any:
        return self._backend("ecs").services["orders:orders"]

    def _containers(self, task_definition: str) -> Any:
        return self._backend("ecs").describe_task_definition(task_definition).container_definitions

    def _problem(self, task_definition: str) -> str:
        """Return why a task of this definition cannot start, or nothing."""
        [app] = (one for one in self._containers(task_definition) if one["name"] == "app")
        execution = (
            self._backend("ecs").describe_task_definition(task_definition).execution_role_arn
        )
        for secret in app.get("secrets", []):
            name = secret["valueFrom"].partition(":parameter")[2]
            if not self._may(
                execution.rpartition("/")[2], "ssm:GetParameters", secret["valueFrom"], {}
            ):
                return f"ResourceInitializationError: not authorized to read {name}"
            if self._backend("ssm").get_parameter(name) is None:
                return f"ResourceInitializationError: invalid ssm parameters: {name}"
        settings = self.registry.settings(app["image"])
        if settings is None:
            return f"CannotPullContainerError: {app['image']}"
        return (
            "Essential container in task exited" if settings.get("BEHAVIOUR") == "crashes" else ""
        )

    def _run(self, body: Any) -> str:
        arn = ARN.format("ecs", f"task/orders/{len(self._tasks):032x}")
        assert body["networkConfiguration"] == self._service().network_configuration
        [override] = body["overrides"]["containerOverrides"]
        assert override == {"name": "app", "command": ["alembic", "upgrade", "head"]}
        problem = self._problem(body["taskDefinition"])
        [app] = (one for one in self._containers(body["taskDefinition"]) if one["name"] == "app")
        settings = self.registry.settings(app["image"]) or {}
        # A migration does not serve: that an image cannot do that does not matter.
        if problem and settings.get("BEHAVIOUR") != "crashes":
            self._tasks[arn] = None, problem
        else:
            code = int(settings.get("BEHAVIOUR") == "no-migration")
            self._tasks[arn] = code, "Essential container in task exited"
        return arn

    def _ended(self, arn: str) -> Any:
        code, reason = self._tasks[arn]
        container = {"name": "app", "lastStatus": "STOPPED"} | (
            {} if code is None else {"exitCode": code}
        )
        return {
            "taskArn": arn,
            "lastStatus": "STOPPED",
            "stoppedReason": reason,
            "containers": [container],
        }

    def _settle(self, before: str) -> None:
        """The circuit breaker: tasks that do not become healthy bring the old ones back."""
        service = self._service()
        if before == service.task_definition or service.desired_count == 0:
            return
        if (
            self._problem(service.task_definition)
            or self._settings().get("BEHAVIOUR") == "rolled-back"
        ):
            service.task_definition = before

    def _settings(self) -> dict[str, str]:
        return self.registry.settings(self.deployed()) or {"COMMIT": "empty"}

    def _serve(self, request: Request) -> Response:
        settings = self._settings()
        if self._service().desired_count == 0 or settings.get("BEHAVIOUR") == "fails-live":
            return Response(503)
        return images.service(settings, request)

    # ------------------------------------------------------------- for the tests

    def log_in(self, folder: Path, token: str = "") -> dict[str, str]:
        """Return what makes aws act as the owner or, given GitHub's token, as the deployer."""
        if not token:
            return {
                "AWS_ACCESS_KEY_ID": OWNER,
                "AWS_SECRET_ACCESS_KEY": "x",
                "AWS_DEFAULT_REGION": REGION,
            }
        file = Path(tempfile.mkdtemp(dir=folder)) / "token"
        file.write_text(token)
        return {
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/orders-deploy",
            "AWS_ROLE_SESSION_NAME": "github",
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(file),
        }

    def store(self, run: Any, value: str) -> None:
        """Store the database's URL as the README says."""
        name = "--name /orders/database-url --type SecureString --overwrite --value"
        run("aws", "ssm", "put-parameter", "--region", REGION, *name.split(), value)

    vault = ""

    def deployed(self) -> str:
        """Return the image that the service runs."""
        [app] = (
            one for one in self._containers(self._service().task_definition) if one["name"] == "app"
        )
        image: str = app["image"]
        return image

    def state(self) -> Any:
        """Return all there is, to compare."""
        service, iam = self._service(), self._backend("iam")
        return copy.deepcopy(
            (
                service.task_definition,
                service.desired_count,
                service.network_configuration,
                {
                    role.name: (role.assume_role_policy_document, role.policies)
                    for role in iam.get_roles()
                },
                list(iam.open_id_providers),
                list(self._backend("elbv2").load_balancers),
                list(self._backend("elbv2").target_groups),
                list(self._backend("ecr").repositories),
            )
        )


def denied(request: Request, action: str) -> Response:
    """Return the refusal of an action, in the format of the request."""
    message = f"User is not authorized to perform: {action}"
    if "x-amz-target" in request.headers:
        return as_json({"__type": "AccessDeniedException", "message": message}, 400)
    error = f"<Error><Code>AccessDenied</Code><Message>{message}</Message></Error>"
    error = f"<ErrorResponse>{error}</ErrorResponse>"
    return Response(403, error.encode(), {"content-type": "text/xml"})

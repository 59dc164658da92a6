"""Two registries on loopback, and images that tell by their settings how they behave."""

import contextlib
import gzip
import hashlib
import http.client
import json
import shutil
import socket
import subprocess
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .internet import Request, Response, as_json

OCI = "application/vnd.oci.image"
COMMIT = "1" * 40


class Registry:
    """Debian's `docker-registry`, on a free port.

    Args:
        folder: where it keeps its files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    @contextlib.contextmanager
    def running(self) -> Iterator["Registry"]:
        """Serve until the block ends."""
        self.folder.mkdir(parents=True)
        config = self.folder / "config.yml"
        config.write_text(
            json.dumps(
                {
                    "version": 0.1,
                    "log": {"level": "error"},
                    "storage": {"filesystem": {"rootdirectory": str(self.folder)}},
                    "http": {"addr": f"127.0.0.1:{self.port}", "relativeurls": True},
                }
            )
        )
        program = shutil.which("docker-registry")
        assert program, "docker-registry is not installed"
        process = subprocess.Popen(
            [program, "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            for _ in range(100):
                with contextlib.suppress(OSError):
                    self.request("GET", "/v2/")
                    break
                time.sleep(0.05)
            yield self
        finally:
            process.terminate()
            process.wait()

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Response:
        """Send one request to the registry."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            kept = {
                k: v
                for k, v in answer.getheaders()
                if k.lower() not in ("transfer-encoding", "connection")
            }
            return Response(answer.status, answer.read(), kept)
        finally:
            connection.close()

    def site(self, may: Callable[[str, Request], bool]) -> Callable[[Request], Response]:
        """Return a site that shows this registry to whom `may(password, request)` lets in."""

        def site(request: Request) -> Response:
            password = basic_password(request.headers.get("authorization", ""))
            if not password:
                return Response(401, b"{}", {"www-authenticate": f'Basic realm="{request.host}"'})
            if not may(password, request):
                error = {"code": "DENIED", "message": "permission denied"}
                return as_json({"errors": [error]}, 403)
            query = "&".join(f"{k}={v}" for k, v in request.query.items())
            return self.request(
                request.method,
                request.path + (f"?{query}" if query else ""),
                request.body,
                {
                    k: v
                    for k, v in request.headers.items()
                    if k in ("accept", "content-type", "content-range", "range")
                },
            )

        return site

    def push(self, name: str, *, index: bool = True, **settings: str) -> str:
        """Store an image and return its digest.

        Args:
            name: the repository.
            index: with an index above the manifest, which also lists an attestation,
                as BuildKit makes it; without: a plain manifest.
            settings: environment variables of the image. `COMMIT` is what /version
                tells; a `BEHAVIOUR` is understood by the clouds.
        """
        environment = [f"{k}={v}" for k, v in ({"COMMIT": COMMIT} | settings).items()]
        config = {"architecture": "amd64", "os": "linux", "config": {"Env": environment}}
        manifest = self._manifest(
            name, config, f"{OCI}.layer.v1.tar+gzip", gzip.compress(b"", mtime=0)
        )
        if not index:
            plain: str = self._put(name, f"{OCI}.manifest.v1+json", manifest)["digest"]
            return plain
        image = self._put(name, f"{OCI}.manifest.v1+json", manifest)
        unknown = {"architecture": "unknown", "os": "unknown"}
        statement = self._manifest(
            name, unknown, "application/vnd.in-toto+json", b'{"predicate": {}}'
        )
        attestation = self._put(name, f"{OCI}.manifest.v1+json", statement)
        manifests = [
            image | {"platform": {"architecture": "amd64", "os": "linux"}},
            attestation
            | {
                "platform": unknown,
                "annotations": {
                    "vnd.docker.reference.digest": image["digest"],
                    "vnd.docker.reference.type": "attestation-manifest",
                },
            },
        ]
        media = f"{OCI}.index.v1+json"
        body = {"schemaVersion": 2, "mediaType": media, "manifests": manifests}
        digest: str = self._put(name, media, body)["digest"]
        return digest

    def _manifest(self, name: str, config: Any, media: str, layer: bytes) -> dict[str, Any]:
        return {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": self._blob(name, f"{OCI}.config.v1+json", json.dumps(config).encode()),
            "layers": [self._blob(name, media, layer)],
        }

    def _blob(self, name: str, media: str, data: bytes) -> dict[str, Any]:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        place = self.request("POST", f"/v2/{name}/blobs/uploads/").headers["Location"]
        answer = self.request(
            "PUT", f"{place}&digest={digest}", data, {"content-type": "application/octet-stream"}
        )
        assert answer.status == 201, answer
        return {"mediaType": media, "digest": digest, "size": len(data)}

    def _put(self, name: str, media: str, manifest: Any) -> dict[str, Any]:
        data = json.dumps(manifest).encode()
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        answer = self.request(
            "PUT", f"/v2/{name}/manifests/{digest}", data, {"content-type": media}
        )
        assert answer.status == 201, answer
        return {"mediaType": media, "digest": digest, "size": len(data)}

    def manifest(self, name: str, reference: str) -> bytes | None:
        """Return the bytes of a manifest, None when there is no such one."""
        accept = ", ".join(f"{OCI}.{kind}.v1+json" for kind in ("index", "manifest"))
        answer = self.request(
            "GET", f"/v2/{name}/manifests/{reference}", headers={"accept": accept}
        )
        return answer.body if answer.status == 200 else None

    def settings(self, image: str) -> dict[str, str] | None:
        """Return the environment of HOST/NAME@DIGEST, None when it cannot be pulled."""
        name, _, digest = image.partition("/")[2].partition("@")
        raw = self.manifest(name, digest)
        if raw is None:
            return None
        manifest = json.loads(raw)
        if "manifests" in manifest:
            if any(self.manifest(name, part["digest"]) is None for part in manifest["manifests"]):
                return None
            manifest = json.loads(self.manifest(name, manifest["manifests"][0]["digest"]) or b"")
        config = self.request("GET", f"/v2/{name}/blobs/{manifest['config']['digest']}").body
        return dict(pair.split("=", 1) for pair in json.loads(config)["config"]["Env"])


def basic_password(authorization: str) -> str:
    """Return the password of basic authentication, or the token of bearer authentication."""
    kind, _, value = authorization.partition(" ")
    return b64decode(value).decode().partition(":")[2] if kind == "Basic" else value


def service(settings: dict[str, str], request: Request) -> Response:
    """Answer as the service would that runs an image with these settings."""
    if request.path == "/version":
        return as_json({"version": "0.1.0", "commit": settings["COMMIT"]})
    if request.path == "/health/ready" and settings.get("BEHAVIOUR") == "not-ready":
        return as_json({"title": "Service Unavailable"}, 503)
    return as_json({"status": "ok"}, 200 if request.path.startswith("/health") else 404)

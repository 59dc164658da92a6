"""`python -m` entry point: one process, the same in a container and on a laptop."""

import sys

import uvicorn
from pydantic import ValidationError

from .main import create_app
from .settings import Settings


def main() -> None:
    """Read the settings and serve until SIGTERM or SIGINT, then drain.

    Raises:
        SystemExit: a setting is missing or invalid; the message names each one.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        sys.exit("Invalid settings\n  " + "\n  ".join(problems))
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        timeout_graceful_shutdown=settings.shutdown_grace_seconds,
        # Above the idle timeout of load balancers (60 s on AWS), which would
        # otherwise reuse a connection that is being closed and answer 502.
        timeout_keep_alive=75,
        # logs.py formats every line and middleware.py writes the access log.
        log_config=None,
        access_log=False,
        server_header=False,
    )


if __name__ == "__main__":
    main()

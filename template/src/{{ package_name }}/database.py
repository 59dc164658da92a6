"""The database: one engine a process, one session a request."""

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

from .settings import Settings


def create_engine(settings: Settings) -> AsyncEngine:
    """Make an engine; the first query opens the first connection."""
    return create_async_engine(
        settings.database_url.get_secret_value(),
        pool_size=settings.database_pool_size,
        max_overflow=0,
        # Tests a connection before use, so that a restart of the database costs no request.
        pool_pre_ping=True,
        # Parameters of a failed statement may be personal data: keep them out of the logs.
        hide_parameters=True,
        connect_args={"connect_timeout": 5},
    )


def create_sessions(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """Make the factory of sessions. Objects stay readable after the commit."""
    return async_sessionmaker(engine, expire_on_commit=False)


async def get_session(request: Request) -> AsyncGenerator[AsyncSession]:
    """Open a transaction for one request; commit it, or roll it back after an error."""
    async with request.app.state.sessions.begin() as session:
        yield session


# Scope "function": the commit comes before the response. A client is never told
# that something was stored which then was not.
Session = Annotated[AsyncSession, Depends(get_session, scope="function")]

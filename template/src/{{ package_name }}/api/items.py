"""Items: an example resource, stored in the database. Replace it with your own."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response, status
from pydantic import BaseModel, ConfigDict, StringConstraints
from sqlalchemy import select

from ..database import Session
from ..models import Item

router = APIRouter(prefix="/items", tags=["items"])

_MAX_ID = 2**63 - 1  # of a bigint


class ItemCreate(BaseModel):
    """What a client sends to create an item."""

    # The pattern keeps out NUL, which PostgreSQL cannot store.
    name: Annotated[
        str,
        StringConstraints(
            strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00]*$"
        ),
    ]


class ItemRead(BaseModel):
    """An item as clients see it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    created_at: datetime


@router.post("", status_code=status.HTTP_201_CREATED, response_model=ItemRead)
async def create_item(
    item: ItemCreate, session: Session, request: Request, response: Response
) -> Item:
    """Create an item."""
    row = Item(name=item.name)
    session.add(row)
    await session.flush()
    response.headers["location"] = request.app.url_path_for("read_item", item_id=row.id)
    return row


@router.get("", response_model=list[ItemRead])
async def list_items(
    session: Session,
    after: Annotated[int, Query(ge=0, le=_MAX_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> list[Item]:
    """List items, oldest first. `after` is the id of the last item of the page before."""
    query = select(Item).where(Item.id > after).order_by(Item.id).limit(limit)
    return list(await session.scalars(query))


@router.get("/{item_id}", response_model=ItemRead)
async def read_item(item_id: Annotated[int, Path(ge=1, le=_MAX_ID)], session: Session) -> Item:
    """Read one item."""
    item = await session.get(Item, item_id)
    if item is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"There is no item {item_id}.")
    return item

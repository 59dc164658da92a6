"""Greetings: an example resource. Replace it with your own."""

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, StringConstraints

router = APIRouter(prefix="/greetings", tags=["greetings"])

_TEMPLATES = {"en": "Hello, {}!", "fr": "Bonjour, {} !", "de": "Hallo, {}!"}


class GreetingRequest(BaseModel):
    """Whom to greet, and in which language."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    language: Literal["en", "fr", "de"] = "en"


class Greeting(BaseModel):
    """A greeting."""

    message: str


@router.post("")
async def create_greeting(request: GreetingRequest) -> Greeting:
    """Greet somebody."""
    return Greeting(message=_TEMPLATES[request.language].format(request.name))

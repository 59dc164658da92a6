import pytest
from httpx2 import AsyncClient


@pytest.mark.parametrize(("language", "message"), [("en", "Hello, Ada!"), ("fr", "Bonjour, Ada !")])
async def test_greets_in_the_language_asked_for(
    client: AsyncClient, language: str, message: str
) -> None:
    response = await client.post("/api/v1/greetings", json={"name": " Ada ", "language": language})

    assert response.status_code == 200
    assert response.json() == {"message": message}


@pytest.mark.parametrize("body", [{}, {"name": " "}, {"name": "Ada", "language": "tlh"}])
async def test_refuses_what_it_cannot_greet(client: AsyncClient, body: dict[str, str]) -> None:
    response = await client.post("/api/v1/greetings", json=body)

    assert response.status_code == 422

"""`POST /connect/token` (partner spec 2; RFC 6749, section 4.4)."""

from partners import Broker


async def test_it_gives_a_token_for_a_day(broker: Broker) -> None:
    answer = await broker.ask_token()
    assert answer.status_code == 200
    assert list(answer.json()) == ["access_token", "token_type", "expires_in"]
    assert answer.json() | {"access_token": ""} == {
        "access_token": "",
        "token_type": "Bearer",
        "expires_in": 1440,
    }


async def test_its_keys_are_published(broker: Broker) -> None:
    answer = await broker.client.get("/.well-known/jwks.json")
    assert answer.headers["cache-control"] == "public, max-age=300"
    print(answer.text)

"""What Earnest leaves to others is 404 as JSON, and documented so."""

from pathlib import Path

import httpx
import pytest

from refusals import refused
from web import Caller, Cast, problem

DOCUMENTED = (Path(__file__).parent.parent / "docs" / "people.md").read_text()
USER = "66aa00000000000000000b01"

# As it is documented, as it is asked.
PATHS = [
    ("/api/media/upload", "POST", "/api/media/upload"),
    (
        "/api/freelancer/profile/upload-image/:id",
        "POST",
        f"/api/freelancer/profile/upload-image/{USER}",
    ),
    ("/api/auth/google-login", "POST", "/api/auth/google-login"),
    ("/socket.io/", "GET", "/socket.io/?EIO=4&transport=polling"),
    ("/socket.io/", "POST", "/socket.io/?EIO=4&transport=polling&sid=abc"),
    ("/socket.io/", "GET", "/socket.io/socket.io.js"),
]


@pytest.mark.parametrize(("documented", "method", "path"), PATHS)
async def test_it_is_not_here_whoever_asks(
    cast: Cast, documented: str, method: str, path: str
) -> None:
    assert f"{documented}`" in DOCUMENTED.partition("## Out of scope")[2]
    everybody: tuple[Caller, ...] = (cast.anybody, cast.alice, cast.bob, cast.olga)
    for who in everybody:
        await refused(cast, who.request(method, path), 404)
        await refused(cast, who.request(method, path, json={"token": "x", "role": "admin"}), 404)


@pytest.mark.parametrize("path", ["/api/media/upload", PATHS[1][2]])
async def test_it_takes_no_file(cast: Cast, path: str) -> None:
    picture = {"profilePic": ("me.png", b"\x89PNG" + b"x" * 200_000, "image/png")}
    for who in (cast.anybody, cast.bob):
        await refused(cast, who.post(path, files=picture), 404)


async def test_it_opens_no_socket(served: httpx.AsyncClient) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    answer = await served.get("/socket.io/?EIO=4&transport=websocket", headers=upgrade)
    problem(answer, 404)

"""The application's routes, made once and used again by the next test.

Registering some hundred routes takes a quarter of a second, most of what a test of one request
takes. They know nothing of a database: `build_app` gives them all that they work with. An
application that lives longer than a test (of a module's or a session's fixture) keeps its own.
"""

from collections import defaultdict
from collections.abc import Iterator

import pytest
from litestar.types import ASGIApp

from earnest import app
from earnest.settings import Settings
from earnest.web.envelope import Envelope

_build_faces = app.build_faces
_free: dict[tuple[bool, str], list[tuple[Envelope, ASGIApp]]] = defaultdict(list)
_taken: list[tuple[tuple[bool, str], Envelope, ASGIApp]] = []


def _borrow(settings: Settings) -> Envelope:
    kind = (settings.is_production, settings.provider)
    faces, bare = _free[kind].pop() if _free[kind] else (None, None)
    if faces is None or bare is None:
        faces = _build_faces(settings)
        bare = faces.asgi_handler
    faces.asgi_handler = bare
    _taken.append((kind, faces, bare))
    return faces


@pytest.fixture(autouse=True)
def faces_are_borrowed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What this test builds, the next one may have."""
    _taken.clear()
    monkeypatch.setattr(app, "build_faces", _borrow)
    yield
    for kind, faces, bare in _taken:
        _free[kind].append((faces, bare))
    _taken.clear()


@pytest.fixture
def own_faces(faces_are_borrowed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test that changes what the routes are made of: they are made for it alone."""
    monkeypatch.setattr(app, "build_faces", _build_faces)

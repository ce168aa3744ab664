"""Earnest's application on granian instead of uvicorn: `python -m bench.on_granian 8123`.

As `earnest.serving` runs it otherwise: one process on uvloop, its lines in the log, nothing old for
the garbage collector to look at. What `web.connection` adds to uvicorn is not there. granian is
installed in .venv-peers only.
"""

import gc
import os
import sys

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings

from earnest import logs
from earnest.app import build_app
from earnest.settings import read_settings
from earnest.store.db import Pool
from earnest.web.envelope import Envelope

HEADER_MILLISECONDS_MAX = 4_000


def make() -> Envelope:
    """The application, by the settings in the environment."""
    settings = read_settings(os.environ)
    logs.start(settings.log_format, "api")
    app = build_app(settings, Pool(settings.database_url, application_name="earnest api"))
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    return app


def main(port: int) -> None:
    Granian(
        f"{__spec__.name}:make",
        port=port,
        factory=True,
        interface=Interfaces.ASGI,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_MILLISECONDS_MAX),
        websockets=False,
        log_access=False,
    ).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]))

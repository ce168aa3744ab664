"""How we reach providers over HTTP."""

import functools
import ssl

import httpx


def open_client(timeout: httpx.Timeout | float) -> httpx.AsyncClient:
    """A client without proxies and netrc of the environment: the URL is what was configured."""
    return httpx.AsyncClient(trust_env=False, timeout=timeout, verify=_trusted())


@functools.cache
def _trusted() -> ssl.SSLContext:
    # Reading all certificates takes longer than any call on this machine.
    return httpx.create_ssl_context(trust_env=False)

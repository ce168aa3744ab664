"""What `earnest verify` compares the books with: the **anchors** of an installation, or a copy.

Invariant: it takes the secret key where there is one, and makes none.
"""

from collections.abc import Sequence
from pathlib import Path

from earnest.anchors import AnchorsRefused, Signer, key_from_text, place_of, survey
from earnest.sealing import derive_key
from earnest.settings import Settings
from earnest.store.verify import Outside


def outside_of(settings: Settings, copy: Path | None, keys: Sequence[str]) -> Outside:
    """The anchors of `settings`, or those in `copy`; signed by our key or by one of `keys`.

    Raises AnchorsRefused for a copy that is not there, what cannot be read, and keys that are none.
    """
    if copy is not None and not copy.is_dir():
        raise AnchorsRefused(f"--anchors: expected a directory with anchors, not {copy}")
    believed = {key_from_text(key) for key in keys}
    secret = secret_key_of(settings)
    if secret:
        believed.add(Signer(derive_key(secret, "anchors")).public)
    directory = settings.anchors_path
    anchors = survey(copy or directory, believed, is_copy=copy is not None)
    return Outside(anchors, place_of(directory))


def secret_key_of(settings: Settings) -> bytes:
    """The secret key that there is, in `settings` or in the data directory; b"" for none."""
    path = settings.data_dir / "secret_key"
    return settings.secret_key or (path.read_bytes().strip() if path.exists() else b"")

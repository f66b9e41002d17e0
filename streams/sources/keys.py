"""Access keys: which ones a post may carry. Never logged, compared in constant time, exchanged without a restart."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Sequence
from pathlib import Path

from streams.changed import state

log = logging.getLogger(__name__)


class AccessKeys:
    """Keys from settings and from a file, one a line, that is read again when it changes.

    No keys and no file: every post is taken. A file is always a lock: emptied or gone, the keys read last stay valid.
    """

    def __init__(self, keys: Sequence[str] = (), file: Path | None = None, name: str = "access_key_file") -> None:
        """name: the file's setting. Raises ValueError for a file without a key, or that can't be read."""
        self._given = tuple(_bytes(key) for key in keys)
        self._file = file
        self._seen = state(file)
        self._read = self._from_file()
        if file and not self._read:
            message = f"{name}: expected a file with an access key a line, found none in {file}"
            raise ValueError(message)

    def accept(self, key: str | None) -> bool:
        """Whether a post with this key (None: without one) may come in."""
        if not self._given and not self._file:
            return True
        self._reload()
        given = _bytes(key or "")
        found = False
        for valid in (*self._given, *self._read):
            # All keys are compared, whichever fits: time tells nothing.
            found |= hmac.compare_digest(given, valid)
        return found and bool(key)

    def _reload(self) -> None:
        found = state(self._file)
        if found == self._seen:
            return
        self._seen = found
        keys = self._from_file()
        if keys:
            self._read = keys
        else:
            log.warning("file of keys has no keys, the old ones stay valid: %s", self._file)

    def _from_file(self) -> tuple[bytes, ...]:
        try:
            lines = self._file.read_bytes().split(b"\n") if self._file else []
        except OSError:
            return ()
        return tuple(line.strip() for line in lines if line.strip())


def _bytes(key: str) -> bytes:
    """A key as bytes, as aiohttp decodes headers."""
    return key.encode("utf-8", "surrogateescape")

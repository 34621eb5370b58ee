"""The daemon ``hasherd``: what its devices search, and what its CPU digests."""

import json

from . import _native


class Client:
    """A connection to ``hasherd``.

    Parameters
    ----------
    socket : path, optional
        The daemon's socket; by default the user's own daemon, then the system's.

    Raises
    ------
    ConnectionError
        When no daemon answers. The text names the remedy.
    """

    def __init__(self, socket=None):
        self._native = _native.Client(socket)

    def search(self, header, *, zero_bits=32, count=1, rolls=0):
        """Search nonces of an 80-byte header.

        Returns a dictionary: ``hits`` (each with ``nonce``, ``time``, ``digest``), ``end``,
        ``certain_nonces``, ``works``, ``computed_by``. No hit is no failure: a work ends on
        a timer, and about four in ten answer nothing. ``rolls`` allows further time fields.
        """
        header = bytes(header)
        if len(header) != 80:
            raise ValueError(f"a header has 80 bytes, got {len(header)}")
        return self._native.search(header, zero_bits=zero_bits, count=count, rolls=rolls)

    def digest(self, message):
        """SHA-256 of bytes, computed by the daemon's CPU; no device can."""
        return self._native.digest(bytes(message))

    def status(self):
        """The daemon, its devices and its sessions, as ``hasher --json status`` has it."""
        return json.loads(self._native.status_json())

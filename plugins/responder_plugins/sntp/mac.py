"""Message authentication codes by AES-CMAC (RFC 8573, RFC 4493), of the package cryptography."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC


def digest(key: bytes, message: bytes) -> bytes:
    """The code of a message, 16 bytes."""
    cmac = CMAC(AES(key))
    cmac.update(message)
    return cmac.finalize()


def is_right(key: bytes, message: bytes, code: bytes) -> bool:
    """Is it the code of that message?  The time that it takes says nothing of the right one."""
    cmac = CMAC(AES(key))
    cmac.update(message)
    try:
        cmac.verify(code)
    except InvalidSignature:
        return False
    return True

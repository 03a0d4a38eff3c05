"""Ciphers: AES-256-GCM seals what is kept for a day, AES-256 on one block re-keys pseudonyms."""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

NONCE_BYTES: Final = 12


class DayCipher:
    """Seals under a day's key; what it sealed cannot be read once the key is gone."""

    def encrypt(self, key: bytes, plain: bytes) -> bytes:
        """Returns nonce and ciphertext."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(key).encrypt(nonce, plain, None)

    def decrypt(self, key: bytes, sealed: bytes) -> bytes | None:
        """Returns the plain bytes; None under another key."""
        try:
            return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None)
        except InvalidTag:
            return None


class Permutation:
    """A keyed permutation of 16 bytes that its key can undo: AES-256 on exactly one block."""

    def __init__(self, key: bytes) -> None:
        # One block is the permutation itself; no mode of operation is involved.
        cipher = Cipher(AES(key), ECB())  # noqa: S305 - see above
        self._forth = cipher.encryptor()
        self._back = cipher.decryptor()

    def forth(self, block: bytes) -> bytes:
        """Returns the image of a block."""
        return self._forth.update(block)

    def back(self, block: bytes) -> bytes:
        """Returns the block of an image."""
        return self._back.update(block)

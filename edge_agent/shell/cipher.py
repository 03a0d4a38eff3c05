"""Authenticated encryption of what is kept for a day: AES-256-GCM."""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

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

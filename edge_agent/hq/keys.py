"""HQ's signing key on disk: written once, readable by its owner alone."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from edge_agent.errors import ConfigError

OWNER_ONLY = 0o600


def read_key(path: Path) -> Ed25519PrivateKey:
    """Returns the private key of a PEM file.

    Raises:
        ConfigError: The file cannot be read or holds no Ed25519 private key.
    """
    hint = "make one with: edge-agent hq keygen FILE"
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(f"--key {path}: {error.strerror}", hint=hint) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"--key {path} holds no unencrypted private key", hint=hint) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"--key {path} is no Ed25519 key", hint=hint)
    return key


def write_new_key(path: Path) -> Ed25519PrivateKey:
    """Writes a new key to a file that must not exist yet, and returns it.

    Raises:
        ConfigError: The file exists or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        hint = "a key is never overwritten; choose another name"
        raise ConfigError(f"{path}: {error.strerror}", hint=hint) from error
    except OSError as error:
        hint = "name a file in a folder that exists and may be written"
        raise ConfigError(f"{path}: {error.strerror}", hint=hint) from error
    return key


def public_text(key: Ed25519PrivateKey) -> str:
    """Returns the public key as the agents' configuration holds it: base64url, no padding."""
    raw = key.public_key().public_bytes_raw()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

"""Certificates of a store: its authority, those it issues, and the list of those it takes back.

Pure of files and clocks: `enrol.py` reads, writes and says what time it is.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS: Final = 3650
BACKDATED: Final = timedelta(days=1)
"""A device whose clock is a little slow still takes a fresh certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A private key and the certificate of its public half."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def new_authority(name: str, *, now: datetime) -> Issued:
    """A certificate authority that signs devices and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _common_name(name)
    builder = (
        _certificate(subject, key.public_key(), now=now, days=AUTHORITY_DAYS)
        .issuer_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
    )
    return Issued(key=key, certificate=builder.sign(key, hashes.SHA256()))


def issue(
    authority: Issued, name: str, *, now: datetime, days: int, hosts: Iterable[str] = ()
) -> Issued:
    """A certificate for a device of that name, or for a server when it is given hosts."""
    key = ec.generate_private_key(ec.SECP256R1())
    hosts = tuple(hosts)
    usage = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = (
        _certificate(_common_name(name), key.public_key(), now=now, days=days)
        .issuer_name(authority.certificate.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(signer, critical=False)
    )
    if hosts:
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    return Issued(key=key, certificate=builder.sign(authority.key, hashes.SHA256()))


def revocation_list(
    authority: Issued, serials: Iterable[int], *, now: datetime
) -> x509.CertificateRevocationList:
    """The authority's signed list of serial numbers that are no longer valid.

    It stays valid as long as the authority: a list that expires would lock every device out of a
    store that nobody has visited for long.
    """
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now - BACKDATED)
        .next_update(authority.certificate.not_valid_after_utc)
    )
    for serial in sorted(serials):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(authority.key, hashes.SHA256())


def load(key: bytes, certificate: bytes) -> Issued:
    """The key and certificate in two PEM files.

    Raises:
        ValueError: They are not PEM, or the key is none of this tool's.
    """
    loaded = serialization.load_pem_private_key(key, password=None)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey):
        raise ValueError("an elliptic-curve key is needed")  # noqa: TRY004 - a file's content, not a caller's type
    return Issued(key=loaded, certificate=x509.load_pem_x509_certificate(certificate))


def pem(
    thing: ec.EllipticCurvePrivateKey | x509.Certificate | x509.CertificateRevocationList,
) -> bytes:
    """Its PEM form; a private key is not encrypted, its file's mode protects it."""
    if isinstance(thing, ec.EllipticCurvePrivateKey):
        return thing.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    return thing.public_bytes(serialization.Encoding.PEM)


def _certificate(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, *, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)

"""Certificates for the connections of a federation: an authority of its own, and the server's.

Clients get ``ca.crt`` alone, and talk to nobody whose certificate it did not sign. The authority's
key signs once and is not kept.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deft_llm.errors import UserError
from deft_llm.files import write_bytes, write_private

AUTHORITY, CERTIFICATE, KEY = "ca.crt", "server.pem", "server.key"
_DAYS = 365
_CONNECT_S = 5.0


def make_certificates(folder: Path, hosts: Sequence[str], days: int = _DAYS) -> list[Path]:
    """Write an authority's certificate and a server's certificate and key.

    Args:
        folder: Where to write; it must hold none yet.
        hosts: Names and addresses by which clients reach the server, besides this machine's own.
        days: How long they are valid.

    Returns:
        The files; the key can be read by its owner alone.

    Raises:
        UserError: If the folder holds certificates.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    if any((folder / name).exists() for name in (AUTHORITY, CERTIFICATE, KEY)):
        raise UserError(f"{folder}: holds certificates already; give another folder with --out")
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC)

    def signed(
        name: str, issuer: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey
    ) -> x509.Certificate:
        authority = name == issuer
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key())
        built = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            # An hour back: clocks of two machines differ.
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(own, critical=False)
            .add_extension(signer, critical=False)
        )
        if authority:
            usage = x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            )
            built = built.add_extension(usage, critical=True)
        else:
            # Clients look at the alternative names; the common name above is for people.
            built = built.add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
        return built.sign(by, hashes.SHA256())

    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    pem = serialization.Encoding.PEM
    authority = signed("deft-llm federation", "deft-llm federation", authority_key, authority_key)
    server = signed("deft-llm server", "deft-llm federation", server_key, authority_key)
    key = server_key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_bytes(folder / AUTHORITY, authority.public_bytes(pem))
    write_bytes(folder / CERTIFICATE, server.public_bytes(pem))
    write_private(folder / KEY, key)
    return [folder / name for name in (AUTHORITY, CERTIFICATE, KEY)]


def _names(hosts: Sequence[str]) -> list:
    from cryptography import x509

    names: list = []
    for host in dict.fromkeys(["localhost", "127.0.0.1", *hosts]):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def require_valid(path: Path) -> Path:
    """A certificate's file, if it can be used now.

    Raises:
        UserError: If it is missing, no certificate, expired or not yet valid.
    """
    from cryptography import x509

    if not path.is_file():
        raise UserError(
            f"{path}: no such file; deft-llm federate certificates makes {AUTHORITY}, "
            f"{CERTIFICATE} and {KEY}"
        )
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path}: no certificate in PEM ({error})") from error
    now, day = datetime.now(UTC), "%Y-%m-%d"
    if found.not_valid_after_utc < now:
        raise UserError(
            f"{path}: expired on {found.not_valid_after_utc:{day}}; make new ones with "
            "deft-llm federate certificates, and give every client the new ca.crt"
        )
    if found.not_valid_before_utc > now:
        raise UserError(f"{path}: valid from {found.not_valid_before_utc:{day}}; check the clock")
    return path


def require_signed(certificate: Path, authority: Path) -> None:
    """Check that an authority signed a server's certificate.

    Raises:
        UserError: If another one did.
    """
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    server, signer = (
        x509.load_pem_x509_certificate(require_valid(path).read_bytes())
        for path in (certificate, authority)
    )
    try:
        server.verify_directly_issued_by(signer)
    except (InvalidSignature, ValueError, TypeError):
        raise UserError(
            f"{certificate} was not signed by {authority}; take both from one call of deft-llm "
            "federate certificates"
        ) from None


def require_trusted(host: str, port: int, authority: Path) -> None:
    """Check that a server that is there already has a certificate of this authority.

    Flower's node would try again for ever. A server that is not there yet is waited for.

    Raises:
        UserError: If its certificate is another's, expired, or not made for this host.
    """
    context = ssl.create_default_context(cafile=str(authority))
    try:
        with (
            socket.create_connection((host, port), _CONNECT_S) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return
    except ssl.SSLCertVerificationError as error:
        raise UserError(
            f"{host}:{port}: its certificate is not accepted ({error.verify_message}); take the "
            f"{AUTHORITY} of this server, made by deft-llm federate certificates {host}"
        ) from None
    except ssl.SSLError as error:
        raise UserError(f"{host}:{port}: speaks no TLS ({error.reason}); check --server") from None
    except OSError:
        return

"""Certificates for tests, made by openssl."""

import ssl
from pathlib import Path

from .base import run


def self_signed(folder, name):
    """A key and a certificate for localhost and 127.0.0.1. Returns (cert file, key file)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    run(
        *"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(),
        *["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert],
    )
    return cert, key


def issued(folder, name, issuer):
    """The same for a name, signed by an authority of another name."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ca, ca_key = self_signed(folder, issuer)
    cert, key, csr = folder / f"{name}.crt", folder / f"{name}.key", folder / f"{name}.csr"
    run(*"openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj".split(), f"/CN={name}", "-keyout", key, "-out", csr)
    run(*"openssl x509 -req -days 2 -CAcreateserial -in".split(), csr, "-CA", ca, "-CAkey", ca_key, "-out", cert)
    return cert, key


def trusting(*certs):
    """A client's TLS context that trusts only these."""
    context = ssl.create_default_context()
    for cert in certs:
        context.load_verify_locations(cert)
    return context


def serving(cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context

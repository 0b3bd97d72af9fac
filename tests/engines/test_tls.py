"""Credentials: sound, and of no use to another slice."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509

from aios_lab.engines.base import Credentials
from aios_lab.engines.local import tls


def test_a_certificate_is_of_its_slice_and_signed_by_its_authority():
    credentials = tls.issue("s-00000001")
    authority = x509.load_pem_x509_certificate(credentials.ca.encode())
    certificate = x509.load_pem_x509_certificate(credentials.cert.encode())
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert "s-00000001" in certificate.subject.rfc4514_string()


def test_members_of_a_slice_accept_each_other_by_the_strict_rules(tmp_path: Path):
    credentials = tls.issue("s-00000001")
    assert _handshake(tmp_path, credentials, credentials) == "TLSv1.3"


def test_members_of_two_slices_do_not(tmp_path: Path):
    with pytest.raises(ssl.SSLError):
        _handshake(tmp_path, tls.issue("s-00000001"), tls.issue("s-00000002"))


def _handshake(folder: Path, server: Credentials, client: Credentials) -> str | None:
    """Both sides of a mutual handshake, in memory, with host name check and X.509 strict."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    listener = _context(folder / "server", server, ssl.PROTOCOL_TLS_SERVER)
    caller = _context(folder / "client", client, ssl.PROTOCOL_TLS_CLIENT)
    ours = listener.wrap_bio(to_server, to_client, server_side=True)
    theirs = caller.wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    open_ends = {ours, theirs}
    while open_ends:
        for end in (theirs, ours):
            try:
                end.do_handshake()
                open_ends.discard(end)
            except ssl.SSLWantReadError:
                continue
    return theirs.version()


def _context(folder: Path, credentials: Credentials, protocol: int) -> ssl.SSLContext:
    folder.mkdir()
    (folder / "cert").write_text(credentials.cert)
    (folder / "key").write_text(credentials.key)
    context = ssl.SSLContext(protocol)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=credentials.ca)
    context.load_cert_chain(folder / "cert", folder / "key")
    return context

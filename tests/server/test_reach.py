"""How a kernel reaches its server: over TLS with whatever certificate the server has, or not at all."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from aios_lab.notebook.errors import AIOSError
from aios_lab.notebook.server import Server


def self_signed(folder: Path, name: str) -> Path:
    """A PEM file with a new certificate for ``name`` and its key, as administrators make them."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return file


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *args: object) -> None:
        """Nothing: tests are quiet."""


@contextmanager
def https(pem: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_certificate_for_another_name_is_the_servers_and_no_other_is_trusted(tmp_path: Path) -> None:
    own, other = self_signed(tmp_path, "lab.example"), self_signed(tmp_path, "other.example")
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate")
    with https(own) as url:
        assert Server(url, "token", "s-1", str(own)).send("GET", "slices") == (200, [])
        for wrong in (other, empty, tmp_path / "none.pem"):
            with pytest.raises(AIOSError) as refused:
                Server(url, "token", "s-1", str(wrong)).send("GET", "slices")
            assert refused.value.reason == "server_unreachable"


async def test_kernels_of_a_unix_socket_server_are_told_that_they_have_no_slice(
    jp_serverapp, jp_fetch, tmp_path
):
    app = jp_serverapp.extension_manager.extension_points["aios_lab"].app
    jp_serverapp.sock = str(tmp_path / "lab.sock")
    try:
        await app._start_jupyter_server_extension(jp_serverapp)
        (problem,) = app.services.problems
        assert problem.reason == "unix_socket"
        kernel_id = await jp_serverapp.kernel_manager.start_kernel()
        pid = jp_serverapp.kernel_manager.get_kernel(kernel_id).provisioner.pid
        lines = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        assert f"AIOS_PROBLEM={problem.message} {problem.hint}" in lines
        await jp_serverapp.kernel_manager.shutdown_kernel(kernel_id, now=True)
    finally:
        jp_serverapp.sock = ""
        await app.stop_extension()

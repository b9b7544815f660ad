"""Where a remote variant service is, and what must hold before a genome is sent there."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from napari_precimed.errors import InputError

if TYPE_CHECKING:
    from napari_precimed.sidecar.client import SidecarClient


@dataclass(frozen=True)
class Remote:
    """A service that someone else started.

    Attributes
    ----------
    url : str
        ``https://host:port``; ``http`` only on this machine's loopback.
    token_file : Path
        Holds the token and nothing else.
    ca_file : Path or None
        PEM of the authority that signed the service's certificate, where the system does not know
        it. Certificates are always verified.
    """

    url: str
    token_file: Path
    ca_file: Path | None = None

    def connect(self) -> SidecarClient:
        """Return a client, once the address is safe and the files are readable.

        Raises
        ------
        InputError
        """
        from napari_precimed.sidecar.client import SidecarClient

        self._check_url()
        return SidecarClient(
            self.url, self._token(), verify=self._context(), label=f"The variant service {self.url}"
        )

    def _check_url(self) -> None:
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            host, parts = None, urlsplit("")
        if not host or parts.scheme not in ("http", "https"):
            raise InputError(
                f"'{self.url}' is no address of a variant service; give https://HOST:PORT in the "
                "settings, or leave it empty to compute on this machine."
            )
        if parts.username or parts.password:
            raise InputError(
                "The address of the variant service holds a user name or password; give the token "
                "in its file instead."
            )
        if parts.scheme == "http" and not is_loopback(host):
            raise InputError(
                f"'{self.url}' would send the genome in the clear; use https, or a tunnel to this "
                "machine."
            )

    def _token(self) -> str:
        try:
            token = self.token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeError) as error:
            raise InputError(
                f"The token of the variant service cannot be read from '{self.token_file}' "
                f"({error}); name the file that holds it in the settings."
            ) from error
        if not token or len(token.split()) != 1:
            raise InputError(f"'{self.token_file}' does not hold one token; copy it again.")
        return token

    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise InputError(
                f"'{self.ca_file}' is not a certificate that can be used ({error}); name the PEM "
                "file of the authority that signed the service's certificate."
            ) from error


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own loopback."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""The gRPC port: the same loop, the same limits, the same certificates as HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc

from ..access import AccessSettings
from ..errors import ExitCode, Refusal
from ..http_settings import HttpSettings
from .service import Service


async def listen(service: Service, port: int, http: HttpSettings, access: AccessSettings) -> Any:
    """A started server on the host of the HTTP port; raises Refusal when it cannot be had."""
    server = grpc.aio.server(
        options=(
            ("grpc.max_receive_message_length", http.limits.max_body_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", http.limits.max_header_bytes),
            ("grpc.max_concurrent_streams", http.max_concurrency),
            ("grpc.max_connection_idle_ms", int(http.limits.idle_seconds * 1000)),
            ("grpc.so_reuseport", 0),
            ("grpc.enable_http_proxy", 0),
        )
    )
    server.add_generic_rpc_handlers(service.handlers())
    address = f"[{http.host}]:{port}" if ":" in http.host else f"{http.host}:{port}"
    try:
        if access.certificate is None:
            bound = server.add_insecure_port(address)
        else:
            bound = server.add_secure_port(address, _credentials(access))
    except RuntimeError as error:
        raise Refusal(
            ExitCode.UNAVAILABLE, f"cannot listen for gRPC on {http.host} port {port}"
        ) from error
    await server.start()
    return server, bound


def _credentials(access: AccessSettings) -> Any:
    """Certificates that are read again for new connections when they change."""
    seen: list[bytes] = []

    def configuration() -> Any:
        files = _contents(access)
        if files == seen:
            return None
        seen[:] = files
        certificate, key, *authorities = files
        return grpc.ssl_server_certificate_configuration(
            [(key, certificate)], authorities[0] if authorities else None
        )

    first = configuration()
    return grpc.dynamic_ssl_server_credentials(
        first, lambda: configuration(), access.client_authorities is not None
    )


def _contents(access: AccessSettings) -> list[bytes]:
    files = (access.certificate, access.private_key, access.client_authorities)
    return [Path(file).read_bytes() for file in files if file is not None]

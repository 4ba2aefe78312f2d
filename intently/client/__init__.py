"""The client of the HTTP service: the engine's words, asked over a network."""

from intently.errors import MissingDependencyError, install_hint

try:
    from intently.client.calls import BulkDone
    from intently.client.client import AsyncClient, Client
    from intently.client.retry import Retry
except ModuleNotFoundError as error:
    if error.name not in ("httpx2", "msgspec"):
        raise
    raise MissingDependencyError(f"the client needs {error.name}; " + install_hint("client")) from error

__all__ = ["AsyncClient", "BulkDone", "Client", "Retry"]

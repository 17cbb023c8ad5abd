"""The page's server: for this machine only, until it is interrupted."""

from __future__ import annotations

import socket
import threading
import webbrowser
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from swatcost.common.errors import SwatcostError

if TYPE_CHECKING:
    from dash import Dash

HOST = "127.0.0.1"
_PATIENCE_SECONDS = 30.0
_NAMES = [HOST, "localhost"]  # what a request may call this machine: a page from elsewhere calls it by its own name


def listening(port: int) -> socket.socket:
    """A socket on this machine's own address; port 0 takes any free one.

    Raises SwatcostError where the port is taken or not to be had.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise SwatcostError(f"port {port}: {reason}; give another with --port, 0 for any free one") from None
    return listener


def serve(app: Dash, listener: socket.socket, *, started: Callable[[str], None], browse: bool) -> None:
    """Serves the page until it is interrupted; `started` is told its address, which a browser opens if asked."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        timeout = _PATIENCE_SECONDS  # for a body that is shorter than announced

        def log(self, type: str, message: str, *args: Any) -> None:
            """Nobody reads a line a request."""

    app.server.config["TRUSTED_HOSTS"] = _NAMES
    port = listener.getsockname()[1]
    with listener:
        server = make_server(HOST, port, app.server, threaded=True, request_handler=Quiet, fd=listener.fileno())
        address = f"http://{HOST}:{port}/"
        started(address)
        if browse:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        server.serve_forever()  # which an interrupt ends, quietly

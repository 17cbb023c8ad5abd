"""What the page's server refuses: requests that the page does not send. Each is answered by a line of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from swatcost.common.errors import first_line

if TYPE_CHECKING:
    from dash import Dash

MOST_BYTES = 100_000  # of a request's body; the page sends some thousand
_UPDATE = "/_dash-update-component"


def refuse_malformed(app: Dash, controls: Sequence[str]) -> None:
    """Answers a body that is too large by 413, what Dash could not read by 400, and what it does not have by 404."""
    from flask import abort, request
    from werkzeug.exceptions import HTTPException

    server = app.server
    server.config["MAX_CONTENT_LENGTH"] = MOST_BYTES

    def check() -> None:
        if len(request.get_data(cache=True)) > MOST_BYTES:
            abort(413)
        if "Host" not in request.headers:
            abort(400)
        if request.path == _UPDATE and request.method != "POST":
            abort(405)
        if request.path == _UPDATE and not _is_update(_body(request), app, controls):
            abort(400)

    def answer(error: Exception) -> Any:
        if isinstance(error, HTTPException):
            code, reason = error.code or 500, error.name
        elif type(error).__module__.startswith("dash."):  # an unknown component's file
            code, reason = 404, "Not Found"
        else:
            code, reason = 500, f"Internal Server Error: {type(error).__name__}: {first_line(error)}"
        return server.response_class(f"{code} {reason}\n", status=code, mimetype="text/plain")

    server.before_request(check)
    server.register_error_handler(Exception, answer)


def _body(request: Any) -> Any:
    """The JSON of a request; None if it is not JSON, or nested too deeply."""
    try:
        return request.get_json(silent=True)
    except RecursionError:
        return None


def _is_update(body: Any, app: Dash, controls: Sequence[str]) -> bool:
    """Whether it asks, as the page does, for all outputs of the page's one callback, from a value of every control."""
    if not isinstance(body, dict) or not isinstance(body.get("output"), str) or body["output"] not in app.callback_map:
        return False
    outputs = [tuple(each.rsplit(".", 1)) for each in body["output"].strip(".").split("...")]
    inputs = [(name, "value") for name in controls]
    if _named(body.get("outputs")) != outputs or _named(body.get("inputs")) != inputs or body.get("state", []) != []:
        return False
    changed = (body.get(each, []) for each in ("changedPropIds", "parsedChangedPropsIds"))
    return all(isinstance(each, list) and all(isinstance(name, str) for name in each) for each in changed)


def _named(components: Any) -> list[tuple[Any, Any]] | None:
    """The ids and properties of a list of components; None if it is none."""
    if not isinstance(components, list) or not all(isinstance(each, dict) for each in components):
        return None
    return [(each.get("id"), each.get("property")) for each in components]

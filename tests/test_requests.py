"""Requests to the explorer that its page does not send: refused in a line, quietly."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

import pytest

import swatcost
from swatcost.explorer.app import explorer
from swatcost.explorer.requests import MOST_BYTES
from swatcost.explorer.serving import listening, serve

UPDATE = "/_dash-update-component"


@pytest.fixture(scope="module")
def client() -> Any:
    return explorer(swatcost.load("resnet18"), {}, model=["resnet18"]).server.test_client()


@pytest.fixture(scope="module")
def right(client: Any) -> dict[str, Any]:
    """What the page sends, as its own description has it."""
    (callback,) = client.get("/_dash-dependencies").json
    outputs = [
        dict(zip(("id", "property"), each.rsplit(".", 1), strict=True))
        for each in callback["output"][2:-2].split("...")
    ]
    inputs = [{**each, "value": 0.5 if each["id"] in ("weights", "acts") else None} for each in callback["inputs"]]
    return {"output": callback["output"], "outputs": outputs, "inputs": inputs, "changedPropIds": ["weights.value"]}


def test_what_the_page_sends_is_answered(client: Any, right: dict[str, Any]) -> None:
    assert client.post(UPDATE, json=right).status_code in (200, 204)  # 204: values that no control has


NESTED = "[" * 50_000 + "]" * 50_000
CHANGES: list[Any] = [
    {"output": "x"}, {"output": None}, {"output": []}, {"outputs": []}, {"outputs": "x"}, {"outputs": [1]},
    {"inputs": []}, {"inputs": None}, {"inputs": {"id": "weights"}}, {"inputs": [None] * 40},
    {"inputs": [{"id": [], "property": {}}]},
    {"changedPropIds": 3}, {"changedPropIds": [[]]}, {"state": [1]}, {"state": "x"}, {"parsedChangedPropsIds": [{}]},
]  # fmt: skip


@pytest.mark.parametrize("changed", CHANGES, ids=str)
def test_a_malformed_update_is_a_bad_request(
    client: Any, right: dict[str, Any], changed: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    refused(client.post(UPDATE, json=right | changed), 400)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "body", ["", "{", "null", "[]", "3", '"x"', "\xff\xfe", "{}", NESTED[:90_000], '{"output": NaN}']
)
def test_a_body_that_is_no_update_is_a_bad_request(client: Any, body: str) -> None:
    refused(client.post(UPDATE, data=body.encode("latin-1"), content_type="application/json"), 400)


def test_another_content_type_is_a_bad_request(client: Any, right: dict[str, Any]) -> None:
    refused(client.post(UPDATE, data=json.dumps(right), content_type="text/plain"), 400)


@pytest.mark.parametrize("path", [UPDATE, "/"])
def test_a_large_body_is_refused(client: Any, path: str) -> None:
    refused(client.post(path, data=b"x" * (MOST_BYTES + 1), content_type="application/json"), 413)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_another_method_is_refused(client: Any, method: str) -> None:
    refused(client.open(UPDATE, method=method), 405)


@pytest.mark.parametrize("path", ["/_dash-component-suites/x/y.js", "/_dash-component-suites/dash/../app.py"])
def test_a_file_that_there_is_not_is_not_found(client: Any, path: str) -> None:
    refused(client.get(path), 404)


def refused(response: Any, code: int) -> None:
    assert (response.status_code, response.text.count("\n"), response.mimetype) == (code, 1, "text/plain")
    assert response.text.startswith(f"{code} ")


@pytest.fixture(scope="module")
def port() -> int:
    listener = listening(0)
    app = explorer(swatcost.load("resnet18"), {}, model=["resnet18"])
    started = threading.Event()
    number: int = listener.getsockname()[1]
    serving = threading.Thread(
        target=serve, args=(app, listener), kwargs={"started": lambda _: started.set(), "browse": False}, daemon=True
    )
    serving.start()
    assert started.wait(10)
    return number


HEAD = "POST /_dash-update-component HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        (f"{HEAD}Content-Length: x\r\n\r\n{{}}", "400"),
        (f"{HEAD}Content-Length: -5\r\n\r\n{{}}", "400"),
        (f"{HEAD}Content-Length: 99999999999\r\n\r\n{{}}", "413"),
        (f"{HEAD}Content-Length: 1\r\n\r\n{{}}", "400"),
        (f"{HEAD}\r\n", "400"),
        (f"{HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n", "400"),
        (f"{HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("BREW / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "405"),
        ("nonsense\r\n\r\n", "400"),
        (f"GET /{'x' * 70_000} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "414"),
    ],
)
def test_what_is_no_proper_request_is_refused(
    text: str, codes: str, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(text.encode())
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
    found = answer.decode("latin-1")
    assert codes in found[:200], found[:500]
    assert "Traceback" not in found
    assert capsys.readouterr() == ("", "")

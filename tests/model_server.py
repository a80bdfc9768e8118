"""A server of models in a process of its own, for tests: it speaks the OpenAI protocol and fails as it is told to.

    with serve() as server:
        server.will({"status": 503, "headers": {"Retry-After": "2"}}, {"text": "red"})
        imglish.load(server.url).ask(picture, "Which colour?")
        server.seen()                                   # the requests that came in

`set` changes what it always does: `models`, `key`, `text`, `refuses` (parameters), `forms` (of response_format).
`will` queues what it does with the next requests, one each; where nothing is queued it answers with `text`.

Started with names of models, it has real ones: `serve("shipped", "Qwen/Qwen3-VL-4B-Instruct=qwen3_vl")`.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SECRET = "sk-test-0123456789abcdef"
OPTIONAL = ("logprobs", "stream_options", "skip_special_tokens", "temperature", "seed", "top_p", "stop", "max_tokens")


class Server:
    """The test's end: the address, and what it is told to do."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/v1"

    def set(self, **values: Any) -> None:
        self._control("set", values)

    def will(self, *acts: dict[str, Any]) -> None:
        self._control("will", list(acts))

    def seen(self, path: str = "/v1/chat/completions") -> list[dict[str, Any]]:
        """Requests so far: path, headers (in small letters), body."""
        found: list[dict[str, Any]] = self._control("seen", None)
        return [one for one in found if one["path"].partition("?")[0] == path]

    def bodies(self) -> list[dict[str, Any]]:
        return [one["body"] for one in self.seen()]

    def _control(self, what: str, value: Any) -> Any:
        data = json.dumps([what, value]).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}/control", data, timeout=120) as answer:
            return json.load(answer)


@contextlib.contextmanager
def serve(*models: str) -> Iterator[Server]:
    """A server that answers until the block ends."""
    source = str(Path(__file__).parent.parent / "src")
    process = subprocess.Popen(
        [sys.executable, __file__, *models],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.strip().isdigit(), "the server did not start"
        yield Server(int(line))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class State:
    def __init__(self, real: dict[str, Any]) -> None:
        self.lock = threading.Lock()
        self.real = real
        self.reset()

    def reset(self) -> None:
        self.settings: dict[str, Any] = {
            "models": list(self.real) or ["only"], "key": "", "text": "yes", "refuses": [], "unnamed": [],
            "forms": ["json_schema", "json_object"], "list_status": 200, "roots": {},
        }  # fmt: skip
        self.acts: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.together = self.most_together = 0


class Handler(BaseHTTPRequestHandler):
    state: State
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.note(None)
        settings = self.state.settings
        if not self.allowed():
            return None
        if settings["list_status"] != 200:
            return self.error(settings["list_status"], "no list here")
        rows = [{"id": name, "object": "model", "root": settings["roots"].get(name)} for name in settings["models"]]
        return self.json(200, {"object": "list", "data": rows})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/control":
            self.control(*body)
            return
        self.note(body)
        if not self.allowed():
            return
        with self.state.lock:
            act = self.state.acts.pop(0) if self.state.acts else {}
            self.state.together += 1
            self.state.most_together = max(self.state.most_together, self.state.together)
        try:
            self.act(act, body)
        finally:
            with self.state.lock:
                self.state.together -= 1

    def control(self, what: str, value: Any) -> None:
        state = self.state
        if what == "set":
            state.settings |= value
        elif what == "will":
            state.acts = value
        elif what == "reset":
            state.reset()
        elif what == "together":
            return self.json(200, state.most_together)
        return self.json(200, state.requests if what == "seen" else None)

    def note(self, body: Any) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.state.lock:
            self.state.requests.append({"path": self.path, "headers": headers, "body": body})

    def allowed(self) -> bool:
        key, given = self.state.settings["key"], self.headers.get("Authorization", "")
        if key and given != f"Bearer {key}":
            self.error(401, f"Incorrect API key provided: {given.removeprefix('Bearer ')}.", code="invalid_api_key")
            return False
        return True

    def act(self, act: dict[str, Any], body: dict[str, Any]) -> None:
        settings = self.state.settings
        if "status" in act:
            return self.send(act["status"], act.get("body", '{"error": {"message": "busy"}}'), act.get("headers", {}))
        if act.get("drop"):
            self.close_connection = True
            return None
        if act.get("hang"):
            threading.Event().wait(act["hang"])
            return None
        if "raw" in act:
            return self.send(
                200, act["raw"], {"Content-Type": act.get("type", "application/json"), **act.get("headers", {})}
            )
        for name in settings["refuses"]:
            if name in body:
                message = f"Unsupported parameter: '{name}' is not supported with this model."
                if name == "max_tokens":
                    message += " Use 'max_completion_tokens' instead."
                return self.error(400, message, param=name)
        if any(name in body for name in settings["unnamed"]):
            return self.error(400, "Bad request")
        form = body.get("response_format", {}).get("type", "")
        if form and form not in settings["forms"]:
            return self.error(400, f"response_format {form} is not supported")
        if body["model"] in self.state.real:
            act = {**act, **real_answer(self.state.real[body["model"]], body)}
        text = act.get("text", settings["text"])
        if body.get("stream"):
            return self.stream(act, text, body)
        if "wait" in act:
            threading.Event().wait(act["wait"])
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": text, **act.get("message", {})},
        }
        choice["finish_reason"] = act.get("finish", "stop")
        if body.get("logprobs"):
            choice["logprobs"] = act.get("logprobs")
        whole = {
            "object": "chat.completion",
            "model": body["model"],
            "choices": [choice],
            "usage": act.get("usage", USAGE),
        }
        return self.json(200, whole)

    def stream(self, act: dict[str, Any], text: str, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        parts = act.get("parts") or [text[n : n + 3] for n in range(0, len(text), 3)]
        lines = [": keep alive", "", event({"delta": {"role": "assistant"}}), ""]
        for part in parts:
            lines += [event({"delta": {"content": part}}), ""]
        if "break" in act:
            lines = lines[: 4 + 2 * act["break"]]
        else:
            if not act.get("endless"):
                lines += [event({"delta": {}, "finish_reason": act.get("finish", "stop")}), ""]
            if "error" in act:
                lines += ["data: " + json.dumps({"error": act["error"]}), ""]
            if body.get("stream_options"):
                lines += ["data: " + json.dumps({"choices": [], "usage": act.get("usage", USAGE)}), ""]
            if not act.get("endless"):
                lines += ["data: [DONE]", ""]
        end = act.get("newline", "\n")
        data = (end.join(lines) + end).encode()
        size = act.get("chunk", len(data)) or 1
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(data), size):
                self.wfile.write(data[start : start + size])
                self.wfile.flush()

    def error(self, status: int, message: str, **more: Any) -> None:
        self.json(status, {"error": {"message": message, "type": "invalid_request_error", **more}})

    def json(self, status: int, value: Any) -> None:
        self.send(status, json.dumps(value, ensure_ascii=False), {"Content-Type": "application/json"})

    def send(self, status: int, body: str, headers: dict[str, str]) -> None:
        data = body.encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(data)
        if int(headers.get("Content-Length", len(data))) > len(data):
            self.close_connection = True


USAGE = {"prompt_tokens": 21, "completion_tokens": 2, "total_tokens": 23}


def event(choice: dict[str, Any]) -> str:
    return "data: " + json.dumps(
        {"object": "chat.completion.chunk", "choices": [{"index": 0, **choice}]}, ensure_ascii=False
    )


def real_answer(vlm: Any, body: dict[str, Any]) -> dict[str, Any]:
    """What a real model says to these messages, special tokens and all, and what it cost."""
    options = {"max_tokens": body.get("max_tokens"), "temperature": body.get("temperature"), "stop": body.get("stop")}
    result = vlm.stream(body["messages"], **{k: v for k, v in options.items() if v is not None}).result
    receipt = result.receipt
    usage = {"prompt_tokens": receipt.prompt_tokens, "completion_tokens": receipt.generated_tokens}
    return {"text": result.raw, "usage": usage, "finish": "length" if receipt.truncated else "stop"}


def read_as_servers_do(self: Any, tokenizer: Any, pieces: Any, powers: Any) -> list[int]:
    """Ids of a prompt in which the special tokens that a user typed have power, as vLLM and llama.cpp read it."""
    return list(tokenizer(self.text(pieces), add_special_tokens=self.special_frame)["input_ids"])


def real_models(names: list[str]) -> dict[str, Any]:
    """`shipped`, or `served-name=family` for a small random model of a family."""
    found: dict[str, Any] = {}
    if any("=" in name for name in names):
        from imglish.families._hub import HubFamily

        HubFamily._piecewise = read_as_servers_do  # type: ignore[method-assign]
    for name in names:
        import imglish
        from imglish.engine.load import FAMILIES

        served, _, family = name.partition("=")
        found[served] = imglish.VLM(FAMILIES.get(family)().tiny()) if family else imglish.load()
    return found


def main() -> None:
    state = State(real_models(sys.argv[1:]))
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Handler,), {"state": state}))
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

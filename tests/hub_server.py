"""A hub on this machine for tests: it speaks the hub's protocol to the real client and serves small checkpoints.

    with serve() as hub:
        hub.add("microsoft/Florence-2-base", layout(model, processor, shards=2, code=["modeling_florence2.py"]))
        with hub.environment(cache_folder):             # for this process
            imglish.load("microsoft/Florence-2-base")
        subprocess.run([...], env={**os.environ, **hub.variables(cache_folder)})     # for another

What it does as the hub does: `/api/models/...` with commit, files and sizes; the tree in pages; branches and tags;
`/resolve/` with ETag, X-Repo-Commit, X-Linked-* and a redirect (small files on the hub itself, large ones to another
host, where a token must not go); Range requests; 401 and 403 with X-Error-Code for what is gated, private or unknown.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

TOKEN = "hf_letmein"  # opens what is gated or private
PAGE = 7  # files in one page of a tree: small, so that the client has to turn pages
TRAP = "raise SystemExit('the code of a checkpoint was run')\n"


@dataclass
class Repository:
    """What is at one name: files by revision, and who may have them."""

    revisions: dict[str, dict[str, bytes]]
    gated: bool = False
    private: bool = False

    def commit(self, revision: str) -> str | None:
        """The forty letters of a branch, a tag or a commit; None where there is no such revision."""
        for name, files in self.revisions.items():
            words = "".join(f"{path}{hashlib.sha1(data).hexdigest()}" for path, data in sorted(files.items()))
            commit = hashlib.sha1(words.encode()).hexdigest()
            if revision in (name, commit):
                return commit
        return None

    def files(self, commit: str) -> dict[str, bytes]:
        return next(files for name, files in self.revisions.items() if self.commit(name) == commit)


@dataclass
class Seen:
    """One request that came in."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Hub:
    """The state of the server: repositories, what was asked of it, and how it fails."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[Seen] = field(default_factory=list)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    status: int | None = None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def elsewhere(self) -> str:
        """The same server under another name: the host that large files are on."""
        return f"http://localhost:{self.port}"

    def add(
        self,
        name: str,
        files: Mapping[str, bytes | str] | Path,
        *,
        revision: str = "main",
        gated: bool = False,
        private: bool = False,
    ) -> Repository:
        """Publish files (or a folder's) under a name; once more under another revision is a branch or a tag."""
        if isinstance(files, Path):
            files = {str(p.relative_to(files)): p.read_bytes() for p in files.rglob("*") if p.is_file()}
        content = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
        repository = self.repositories.setdefault(name, Repository({}, gated, private))
        repository.revisions[revision] = content
        return repository

    def cut(self, file: str, *, after: int = 0, times: int = 1) -> None:
        """Break the connection off `after` so many bytes of a file, the next so many times."""
        self.cuts[file] = [after] * times

    def asked(self, method: str = "GET") -> list[str]:
        """The paths that were asked for."""
        return [seen.path for seen in self.requests if seen.method == method]

    def downloaded(self) -> list[str]:
        """The names of the files that were fetched, in order."""
        return [path.rpartition("/")[2] for path in self.asked() if path.startswith(("/file/", "/big/"))]

    def variables(self, cache: Path, **more: str) -> dict[str, str]:
        """The environment in which a process takes this for the hub."""
        return {
            "HF_ENDPOINT": self.url, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "0", "HF_TOKEN": "",
            "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "*", **more,
        }  # fmt: skip

    @contextlib.contextmanager
    def environment(self, cache: Path, **more: str) -> Iterator[None]:
        """Inside, this process takes this for the hub."""
        with mock.patch.dict(os.environ, self.variables(cache, **more)):
            yield


@contextlib.contextmanager
def serve() -> Iterator[Hub]:
    """A hub that answers until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve() as running:
        yield running


def layout(
    model: Any,
    processor: Any = None,
    *,
    shards: int = 1,
    code: Iterable[str] = (),
    config: Mapping[str, Any] | None = None,
    without: Iterable[str] = (),
    rename: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    pickled: bool = False,
    extra: Mapping[str, bytes | str] | None = None,
) -> dict[str, bytes]:
    """The files of a model and its processor, laid out as checkpoints are published.

    `code` are .py files that config.json names in `auto_map`; running one ends the process. `config` is laid over
    config.json, None taking a key away. `without` are keys that old processor configurations do not have yet
    (`patch_size`). `rename` gives the weights the names of an older layout. `pickled` adds a pytorch_model.bin.
    """
    from safetensors.torch import load_file, save

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model.save_pretrained(folder)
        if processor is not None:
            processor.save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        tensors = load_file(folder / "model.safetensors")
    del files["model.safetensors"]
    tensors = rename(tensors) if rename is not None else tensors
    parts = [dict(list(tensors.items())[n::shards]) for n in range(shards)]
    names = [f"model-{n + 1:05}-of-{shards:05}.safetensors" for n in range(shards)]
    if shards == 1:
        names = ["model.safetensors"]
    else:
        places = {key: name for name, part in zip(names, parts, strict=True) for key in part}
        total = sum(tensor.nbytes for tensor in tensors.values())
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
        files["model.safetensors.index.json"] = json.dumps(index, indent=2).encode()
    files |= {name: save(part, {"format": "pt"}) for name, part in zip(names, parts, strict=True)}
    own = json.loads(files["config.json"]) | dict(config or {})
    modules = list(code)
    if modules:
        kinds = ("AutoConfig", "AutoModelForCausalLM")
        own["auto_map"] = {kind: f"{name[:-3]}.Thing" for kind, name in zip(kinds, modules * 2, strict=False)}
        files |= {name: TRAP.encode() for name in modules}
    files["config.json"] = json.dumps({k: v for k, v in own.items() if v is not None}, indent=2).encode()
    for name in ("processor_config.json", "preprocessor_config.json"):
        if name in files:
            files[name] = json.dumps(_taken(json.loads(files[name]), set(without)), indent=2).encode()
    if pickled:
        files["pytorch_model.bin"] = b"\x80\x04not for opening"
    more = {name: data.encode() if isinstance(data, str) else data for name, data in (extra or {}).items()}
    return files | {"README.md": b"# A model\n", ".gitattributes": b"*.safetensors filter=lfs\n"} | more


def _taken(tree: Any, keys: set[str]) -> Any:
    """The same JSON without some keys, at any depth."""
    if isinstance(tree, dict):
        return {key: _taken(value, keys) for key, value in tree.items() if key not in keys}
    return tree


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self) -> None:
        address = urlsplit(self.path)
        path = unquote(address.path)
        self.hub.requests.append(Seen(self.command, path, {k.lower(): v for k, v in self.headers.items()}))
        if self.hub.status is not None:
            return self.reply(self.hub.status)
        if path.startswith("/api/models/"):
            return self.api(path.removeprefix("/api/models/"), parse_qs(address.query))
        if path.startswith(("/file/", "/big/")):
            return self.content(path)
        name, found, rest = path.strip("/").partition("/resolve/")
        return self.resolve(name, rest) if found else self.reply(404)

    def known(self, name: str) -> Repository | None:
        """The repository of a name, where this visitor may know of it; else the hub's answer is sent."""
        repository = self.hub.repositories.get(name)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and not token.startswith("hf_"):
            self.reply(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif repository is None or (repository.private and token != TOKEN):
            self.reply(
                404 if token else 401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
            )
        else:
            return repository
        return None

    def api(self, path: str, query: Mapping[str, list[str]]) -> None:
        name, _, rest = path.partition("/revision/")
        name, _, tree = name.partition("/tree/")
        wants_refs = name.endswith("/refs")
        name = name.removesuffix("/refs")
        repository = self.known(name)
        if repository is None:
            return None
        if wants_refs:
            refs = [
                {"name": revision, "ref": f"refs/heads/{revision}", "targetCommit": repository.commit(revision)}
                for revision in repository.revisions
            ]
            return self.json({"branches": refs, "tags": [], "converts": []})
        commit = repository.commit(rest or tree or "main")
        if commit is None:
            return self.reply(404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
        files = [_described(path, data) for path, data in sorted(repository.files(commit).items())]
        if tree:
            start = int(query.get("cursor", ["0"])[0])
            more = {}
            if start + PAGE < len(files):
                after = (
                    f"{self.hub.url}/api/models/{name}/tree/{quote(tree, safe='')}?recursive=True&cursor={start + PAGE}"
                )
                more["Link"] = f'<{after}>; rel="next"'
            return self.json(files[start : start + PAGE], more)
        siblings = [
            {"rfilename": f["path"], "size": f["size"], "blobId": f["oid"]}
            | ({"lfs": {"sha256": f["lfs"]["oid"], "size": f["size"], "pointerSize": 134}} if "lfs" in f else {})
            for f in files
        ]
        return self.json(
            {"_id": "1", "id": name, "modelId": name, "sha": commit, "private": repository.private, "tags": [],
             "gated": "manual" if repository.gated else False, "siblings": siblings, "downloads": 0, "likes": 0}
        )  # fmt: skip

    def resolve(self, name: str, rest: str) -> None:
        repository = self.known(name)
        if repository is None:
            return None
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if repository.gated and token != TOKEN:
            return self.reply(
                403 if token else 401, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"}
            )
        revision, path = next(
            ((r, rest[len(r) + 1 :]) for n in repository.revisions for r in (n, str(repository.commit(n)))
             if rest.startswith(f"{r}/")), ("", ""),
        )  # fmt: skip
        commit = repository.commit(revision)
        if commit is None:
            return self.reply(404, {"X-Error-Code": "RevisionNotFound"})
        if path not in repository.files(commit):
            return self.reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        about = _described(path, repository.files(commit)[path])
        headers = {"X-Repo-Commit": commit, "X-Linked-Size": str(about["size"])}
        if "lfs" in about:
            place = f"{self.hub.elsewhere}/big/{name}/{commit}/{path}"
            return self.reply(302, {**headers, "X-Linked-Etag": f'"{about["lfs"]["oid"]}"', "Location": place})
        place = f"/file/{name}/{commit}/{path}"
        return self.reply(307, {**headers, "X-Linked-Etag": f'"{about["oid"]}"', "Location": place})

    def content(self, path: str) -> None:
        """The bytes of a file, from where they are asked for; broken off where that was ordered."""
        owner, short, commit, name = path.split("/", 2)[2].split("/", 3)
        data = self.hub.repositories[f"{owner}/{short}"].files(commit)[name]
        about = _described(name, data)
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        etag = about["lfs"]["oid"] if "lfs" in about else about["oid"]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
        if "Range" in self.headers:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        body = data[start:]
        cuts = self.hub.cuts.get(name) if self.command == "GET" else None
        keep = cuts.pop(0) if cuts else None
        self.reply(206 if "Range" in self.headers else 200, headers, body, keep=keep)

    def json(self, value: Any, headers: Mapping[str, str] | None = None) -> None:
        self.reply(200, {"Content-Type": "application/json", **(headers or {})}, json.dumps(value).encode())

    def reply(
        self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"", *, keep: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            with contextlib.suppress(ConnectionError):  # the visitor went away, as on a full disk
                self.wfile.write(body if keep is None else body[:keep])
        if keep is not None:
            self.close_connection = True


def _described(path: str, data: bytes) -> dict[str, Any]:
    """A file as the tree of the hub lists it: large ones by the hash of their content."""
    oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    about: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": oid}
    if path.endswith((".safetensors", ".bin")):
        about["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return about

"""Fetching C sources: from a folder, a package index, a page; refused where the hash differs; never half there."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tinyfl.errors import ToolError
from tinyfl_host import thirdparty
from tinyfl_host.thirdparty import RELEASES, Release, fetch, pip_options

ARCHIVE = "pything-1.0.tar.gz"


def archive() -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name in ("thing.c", "thing.h", "setup.py", "../escape.c"):
            member = tarfile.TarInfo(f"pything-1.0/{name}")
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    return data.getvalue()


CONTENT = archive()


class Index(BaseHTTPRequestHandler):
    """A package index with one project, whose page's link is relative and has a hash, as PEP 503 says."""

    content = CONTENT
    password = ""

    def do_GET(self) -> None:
        asked = self.headers.get("Authorization", "")
        if self.password and asked != "Basic " + base64.b64encode(self.password.encode()).decode():
            return self.send_error(401)
        pages = {
            "/simple/pything/": f'<a href="../../files/pything-0.9.tar.gz#sha256=0">x</a>\n'
            f'<a data-requires-python="&gt;=3" href="../../files/{ARCHIVE}#sha256=0">{ARCHIVE}</a>'.encode(),
            "/empty/pything/": b"<html></html>",
            f"/files/{ARCHIVE}": self.content,
        }
        if self.path not in pages:
            return self.send_error(404)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(pages[self.path])

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


@pytest.fixture
def index() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneIndex", (Index,), {}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of its own, a release of one file, and no settings of pip."""
    monkeypatch.setattr(thirdparty, "project_root", lambda: tmp_path)
    digest = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setitem(RELEASES, "thing", Release("pything", ARCHIVE, digest, ("thing.c", "thing.h")))
    monkeypatch.setattr(thirdparty, "_pip_files", lambda: [])
    for name in ("INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "CERT"):
        monkeypatch.delenv(f"PIP_{name}", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # discard: nobody listens
    return tmp_path


def url(index: ThreadingHTTPServer, path: str, user: str = "") -> str:
    return f"http://{user}127.0.0.1:{index.server_address[1]}/{path}"


def check(folder: Path, project: Path) -> None:
    """The wanted files and no others, in a folder of the project, with nothing beside it."""
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"thing.c": "thing.c", "thing.h": "thing.h"}
    assert list((project / "build/third_party").iterdir()) == [folder]


def test_from_an_index(index: ThreadingHTTPServer, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", url(index, "simple/"))
    check(fetch("thing"), project)


def test_what_is_there_needs_no_network(
    index: ThreadingHTTPServer, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", url(index, "simple/"))
    folder = fetch("thing")
    monkeypatch.setattr(thirdparty, "_download", lambda release: pytest.fail("asked the network"))
    assert fetch("thing") == folder


def test_from_another_index_where_the_first_has_none(
    index: ThreadingHTTPServer, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", url(index, "empty"))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", url(index, "nothing") + " " + url(index, "simple"))
    check(fetch("thing"), project)


def test_from_a_folder_without_a_network(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheels = project / "wheels"
    wheels.mkdir()
    (wheels / ARCHIVE).write_bytes(CONTENT)
    for place in (str(wheels), wheels.as_uri()):
        monkeypatch.setenv("PIP_FIND_LINKS", f"/nowhere {place}")
        folder = fetch("thing")
        check(folder, project)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def test_from_an_index_on_the_disk(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = project / "simple/pything"
    page.mkdir(parents=True)
    (page / "index.html").write_text(f"<a href='../../{ARCHIVE}'>x</a>")
    (project / ARCHIVE).write_bytes(CONTENT)
    monkeypatch.setenv("PIP_INDEX_URL", (project / "simple").as_uri())
    check(fetch("thing"), project)


def test_another_hash_is_refused_and_leaves_nothing(
    index: ThreadingHTTPServer, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.RequestHandlerClass.content = CONTENT[:-1] + b"!"  # type: ignore[attr-defined]
    monkeypatch.setenv("PIP_INDEX_URL", url(index, "simple"))
    with pytest.raises(ToolError, match=f"expected {RELEASES['thing'].sha256}") as caught:
        fetch("thing")
    assert "do not use it" in caught.value.hint and not (project / "build").exists()


def test_without_a_network_the_error_says_what_to_do(project: Path) -> None:
    with pytest.raises(ToolError, match=r"pything-1\.0\.tar\.gz:\nhttp://127\.0\.0\.1:9/simple: .*refused") as caught:
        fetch("thing")
    assert "PIP_FIND_LINKS" in caught.value.hint


def test_a_password_of_an_index_is_used_and_never_shown(
    index: ThreadingHTTPServer, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.RequestHandlerClass.password = "ada:s3cr@t"  # type: ignore[attr-defined]
    monkeypatch.setenv("PIP_INDEX_URL", url(index, "simple", "ada:s3cr%40x@"))
    with pytest.raises(ToolError) as caught:
        fetch("thing")
    assert "Unauthorized" in caught.value.message and "s3cr" not in caught.value.message
    monkeypatch.setenv("PIP_INDEX_URL", url(index, "simple", "ada:s3cr%40t@"))
    check(fetch("thing"), project)


def test_two_at_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have downloaded before either has unpacked."""
    together = threading.Barrier(2)

    def download(release: Release) -> bytes:
        together.wait(10)
        return CONTENT

    monkeypatch.setattr(thirdparty, "_download", download)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(fetch("thing"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2 and found[0] == found[1]
    check(found[0], project)


def test_pip_s_settings_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    for name in ("INDEX_URL", "EXTRA_INDEX_URL", "CERT"):
        monkeypatch.delenv(f"PIP_{name}", raising=False)
    monkeypatch.setenv("PIP_FIND_LINKS", "/a /b")
    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = http://one/simple\nextra-index-url =\n    http://two\n    http://three\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    options = pip_options()
    assert options["index-url"][0] == "http://one/simple" and options["find-links"][:2] == ["/a", "/b"]
    assert {"http://two", "http://three"} <= set(options["extra-index-url"])
    monkeypatch.setenv("PIP_INDEX_URL", "http://named/simple")
    assert pip_options()["index-url"][0] == "http://named/simple"


def test_the_pinned_release_is_whole() -> None:
    release = RELEASES["monocypher"]
    assert len(release.sha256) == 64 and {"monocypher.c", "monocypher.h", "LICENSE.txt"} == set(release.files)

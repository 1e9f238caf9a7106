"""C sources that are not ours: fetched by name, version and hash from pip's package index, never copied into the repo.

A release is unpacked once a checkout, below ``build/third_party/``; after that no build needs a network.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import html
import io
import os
import re
import ssl
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tinyfl.errors import ConfigError, ToolError
from tinyfl_host.boards import project_root

PYPI = "https://pypi.org/simple"
TIMEOUT = 30.0
MOST_BYTES = 8 << 20
OPTIONS = ("index-url", "extra-index-url", "find-links", "cert")  # of pip


@dataclass(frozen=True)
class Release:
    """One source distribution on a package index, and what of it is wanted."""

    project: str
    archive: str  # its file name: <folder inside>.tar.gz
    sha256: str
    files: tuple[str, ...]


RELEASES = {
    "monocypher": Release(  # Monocypher 4.0.3, as its Python binding ships it
        "pymonocypher",
        "pymonocypher-4.0.3.4.tar.gz",
        "5e56e3d3eb770a53e0b9f6274146663c11a11f3d0de5cd48e3be0428d1b07a4a",
        ("monocypher.c", "monocypher.h", "LICENSE.txt"),
    )
}


def fetch(name: str) -> Path:
    """The folder with the files of a release, downloaded where it is not there yet; raises ToolError."""
    release = RELEASES[name]
    folder = project_root() / "build" / "third_party" / f"{name}-{release.sha256[:12]}"
    if not folder.is_dir():
        _unpack(release, _download(release), folder)
    return folder


def _unpack(release: Release, archive: bytes, folder: Path) -> None:
    """The wanted files into place in one step: another process sees all of them or none."""
    inside = release.archive.removesuffix(".tar.gz")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(prefix=".unpack-", dir=folder.parent) as temporary,
            tarfile.open(fileobj=io.BytesIO(archive)) as tar,
        ):
            made = Path(temporary) / "made"
            made.mkdir()
            for file in release.files:
                content = tar.extractfile(f"{inside}/{file}")
                assert content is not None  # the hash held, so the archive is the one that was read
                (made / file).write_bytes(content.read())
            if not folder.is_dir():
                made.rename(folder)
    except OSError as error:
        if not folder.is_dir():  # else another process was faster
            raise ConfigError(f"{folder}: {error.strerror}", "make room or permit writing there") from error


def _download(release: Release) -> bytes:
    """The archive from the first place that has it; raises ToolError where none has, or its hash differs."""
    options = pip_options()
    seen: list[str] = []
    for place in _places(options):
        try:
            data = _find(place, release, options)
        except (OSError, ValueError) as error:  # URLError is an OSError
            seen.append(f"{_public(place)}: {getattr(error, 'reason', None) or error}")
            continue
        if data is None:
            seen.append(f"{_public(place)}: has no {release.archive}")
            continue
        found = hashlib.sha256(data).hexdigest()
        if found != release.sha256:
            raise ToolError(
                f"{_public(place)}: {release.archive} has sha256 {found}, expected {release.sha256}",
                "do not use it: that index or a proxy changed the file; name another by PIP_INDEX_URL",
            )
        return data
    raise ToolError(
        f"could not fetch {release.archive}:\n" + "\n".join(seen),
        "needed once: build with a network, or name a folder that holds the file by PIP_FIND_LINKS",
    )


def _places(options: dict[str, list[str]]) -> list[str]:
    """Folders first, then indexes."""
    indexes = [*(options["index-url"][:1] or [PYPI]), *options["extra-index-url"]]
    return options["find-links"] + indexes


def _find(place: str, release: Release, options: dict[str, list[str]]) -> bytes | None:
    """The archive from a folder, a page of links, or a simple index (PEP 503); None where it is not there."""
    if "://" not in place:
        path = Path(place).expanduser() / release.archive
        return path.read_bytes() if path.is_file() else None
    cafile = next(iter(options["cert"]), None)
    page = place if place in options["find-links"] else f"{place.rstrip('/')}/{release.project}/"
    if page.startswith("file:"):
        local = Path(urllib.request.url2pathname(urllib.parse.urlsplit(page).path))
        if (local / release.archive).is_file():
            return (local / release.archive).read_bytes()
        page = f"{page.rstrip('/')}/index.html" if local.is_dir() else page
    text, address = _get(page, place, cafile)
    for link in re.findall(rb"""href\s*=\s*["']([^"']+)["']""", text):
        url = urllib.parse.urljoin(address, html.unescape(link.decode(errors="replace")))
        if Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name == release.archive:
            return _get(url.partition("#")[0], place, cafile)[0]
    return None


def _get(url: str, place: str, cafile: str | None) -> tuple[bytes, str]:
    """What a URL gives, and the URL after redirections. Only the host of ``place`` is told the password in it."""
    parts, trusted = urllib.parse.urlsplit(url), urllib.parse.urlsplit(place)
    request = urllib.request.Request(_public(url), headers={"Accept": "text/html, */*;q=0.1"})
    if trusted.username is not None and (parts.scheme, parts.hostname) == (trusted.scheme, trusted.hostname):
        pair = f"{urllib.parse.unquote(trusted.username)}:{urllib.parse.unquote(trusted.password or '')}"
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
    context = ssl.create_default_context(cafile=cafile) if parts.scheme == "https" else None
    with urllib.request.urlopen(request, timeout=TIMEOUT, context=context) as answer:
        data: bytes = answer.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        return data, answer.geturl()


def _public(place: str) -> str:
    """A place without a name and password."""
    parts = urllib.parse.urlsplit(place)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def pip_options() -> dict[str, list[str]]:
    """pip's own settings of where packages come from: its files and PIP_* variables, the latter first."""
    options: dict[str, list[str]] = {name: [] for name in OPTIONS}
    variables = {name: os.environ.get(f"PIP_{name.upper().replace('-', '_')}", "") for name in OPTIONS}
    for name, value in [*variables.items(), *_pip_files()]:
        options[name] += [word for word in value.split() if word not in options[name]]
    return options


def _pip_files() -> list[tuple[str, str]]:
    """Names and values of ``pip config list``; none where pip is not installed."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return []
    found = re.findall(r"^(?:global|install|download)\.([a-z-]+)=(.+)$", text, re.M)
    return [(name, str(ast.literal_eval(value))) for name, value in found if name in OPTIONS]

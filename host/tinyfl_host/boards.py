"""The board table: environments of ``platformio.ini`` with their ``custom_*`` options, and nothing else."""

from __future__ import annotations

import configparser
import difflib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tinyfl.errors import ConfigError, UsageError

ROOT = Path(__file__).resolve().parents[2]
TABLE = "platformio.ini"
PAGE_BYTES = 1024  # of the flash that boards keep their heads in
NUMBERS = ("icount", "flash", "ram", "stack", "data_address", "data_bytes", "store_address", "store_pages")


@dataclass(frozen=True)
class BoardSpec:
    """One environment. Sizes in bytes; ``None`` where a host process has no such limit."""

    env: str
    description: str
    port: str  # folder under firmware/ports
    link: str  # how a host reaches it: a link string, PORT stands for what the user names
    cpu: tuple[str, ...] = ()
    machine: str | None = None  # of QEMU
    icount: int = 0
    flash: int | None = None
    ram: int | None = None
    stack: int | None = None
    data_address: int = 0
    data_bytes: int = 0
    store_address: int = 0
    store_pages: int = 0  # of PAGE_BYTES, in which the board keeps its head over a reset
    upload: str | None = None  # pyocd's target

    @property
    def emulated(self) -> bool:
        """True where the board can only be emulated: there is nothing to flash."""
        return self.upload is None

    @property
    def counts(self) -> bool:
        """True where the emulator counts instructions."""
        return self.machine is not None


def project_root() -> Path:
    """The checkout that holds platformio.ini and firmware/; raises ConfigError where only the wheel is installed."""
    if not (ROOT / TABLE).is_file():
        raise ConfigError(f"no {TABLE} in {ROOT}", "firmware is built from a checkout: clone it and pip install -e .")
    return ROOT


def boards() -> dict[str, BoardSpec]:
    """All environments in the order of the table."""
    path = project_root() / TABLE
    return _read(path, path.stat().st_mtime_ns)


def board(env: str) -> BoardSpec:
    """One environment by name; raises UsageError with the names that exist."""
    table = boards()
    if env not in table:
        near = difflib.get_close_matches(env, table, 1)
        hint = f"did you mean {near[0]}?" if near else ""
        raise UsageError(f"no environment {env!r}, there are: {', '.join(table)}", hint)
    return table[env]


@lru_cache(maxsize=1)
def _read(path: Path, changed: int) -> dict[str, BoardSpec]:
    """PlatformIO's own reader takes half a second; our options use none of its interpolation."""
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=None)
    parser.read_string(path.read_text())
    common = dict(parser["env"]) if parser.has_section("env") else {}
    names = [section for section in parser.sections() if section.startswith("env:")]
    return {
        name.removeprefix("env:"): _spec(name.removeprefix("env:"), {**common, **parser[name]})
        for name in names
        if "custom_port" in parser[name]
    }


def _spec(env: str, options: dict[str, str]) -> BoardSpec:
    """Raises ConfigError that names the option that is missing or no number."""
    values = {key.removeprefix("custom_"): value for key, value in options.items() if key.startswith("custom_")}
    try:
        numbers = {key: int(values[key], 0) for key in NUMBERS if key in values}
        return BoardSpec(
            env=env,
            description=values["description"],
            port=values["port"],
            link=values["link"],
            cpu=tuple(values.get("cpu", "").split()),
            machine=values.get("machine"),
            upload=values.get("upload"),
            **numbers,
        )
    except KeyError as error:
        raise ConfigError(f"{TABLE}: [env:{env}] lacks custom_{error.args[0]}") from error
    except ValueError as error:
        raise ConfigError(f"{TABLE}: [env:{env}]: {error}") from error

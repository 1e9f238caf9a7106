"""A recipe folder: ``recipe.toml`` beside the model's definition, data and trained ``.tflite`` (docs/RECIPES.md)."""

from __future__ import annotations

import dataclasses
import difflib
import importlib.util
import itertools
import math
import re
import sys
import tomllib
import traceback
import typing
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tinyfl.errors import ConfigError, TinyflError, UsageError
from tinyfl.federated.clusters import MOST
from tinyfl.federated.codecs import DOWNLINKS
from tinyfl.federated.optimisers import OPTIMISERS
from tinyfl.federated.robust import RULES
from tinyfl.federated.selection import POLICIES
from tinyfl.reference.codec import LEVELS, SELECTIONS
from tinyfl.reference.tensors import NAMES
from tinyfl.settings import CompileSettings, TrainSettings, choice, number

S = TypeVar("S")

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,39}")  # it names files, folders and the board


@dataclass(frozen=True)
class ModelSettings:
    """``[model]``: the model's name, its classes in the order of its outputs, and the function that builds it."""

    name: str = ""
    classes: tuple[str, ...] = ()
    function: str = "model.py:build"


@dataclass(frozen=True)
class DataSettings:
    """``[data]``: where the samples come from, and how a sample is made of them."""

    source: str = "data.py"
    lab_classes: tuple[str, ...] = ()  # empty: all classes
    shape: tuple[int, ...] = ()  # CSV alone: shape of one sample; empty: one axis with all features
    window: int = number(0, 0, 1_000_000)  # CSV alone: rows a sample; 0: each row is a sample
    step: int = number(0, 0, 1_000_000)  # CSV alone: rows from one window to the next; 0: half a window
    normalise: str = "none"  # "lab": z-score per channel with the lab's training data


@dataclass(frozen=True)
class UserSettings:
    """``[users]``: who gives data to the lab, who trains on boards, and how many of these are left out of training."""

    lab: tuple[str, ...] = ()
    federated: tuple[str, ...] = ()
    unseen_per_draw: int = number(0, 0, 1000)
    classes_per_board: int = number(0, 0, 256)  # drawn for each board, whose other samples are left out; 0: all


@dataclass(frozen=True)
class RunSettings:
    """``[run]``: the defaults of ``tinyfl run``."""

    rounds: int = number(20, 0, 100_000)
    epochs: int = number(5, 1, 65_535)
    rate: float = number(0.5, 1e-6, 100.0)
    local_rate: float = number(0.25, 1e-6, 100.0)
    adapter_rate: float = number(0.25, 1e-6, 100.0)  # of the adapter, where the model has one
    fraction: float = number(1.0, 1e-6, 1.0)
    quorum: float | int = number(0.5, 0, 1_000_000)
    deadline: float = number(60.0, 0.1, 1e6)  # seconds a round
    local_only: bool = True
    seed: int = number(1, 0, 2**32 - 1)

    def quorum_of(self, boards: int) -> int:
        """How many of ``boards`` must finish a round (at least 1): a fraction of them, or a count as it is."""
        wanted = self.quorum if isinstance(self.quorum, int) else math.ceil(self.quorum * boards)
        return max(1, wanted)


@dataclass(frozen=True)
class UpdateSettings:
    """``[update]``: how the boards send what they learned, and how they get the head."""

    codec: str = choice(*LEVELS)
    select: str = choice(*SELECTIONS)  # which weights of a head are sent
    share: float = number(0.1, 1e-6, 1.0)  # of the weights, where not all are sent
    count: int = number(-1, -1, 65_535)  # as a number of weights; -1: by share
    entropy: bool = False
    feedback: bool = False  # what an update leaves out is added to the board's next one
    dense_rounds: int = number(
        0, 0, 100_000
    )  # so many rounds first with all weights: int4 of them if that is the codec, else int8
    downlink: str = choice(*DOWNLINKS)


@dataclass(frozen=True)
class ServerSettings:
    """``[server]``: what the server makes of the boards' updates."""

    optimiser: str = choice(*OPTIMISERS)
    rate: float = number(0.0, 0.0, 100.0)  # 0: the optimiser's own
    momentum: float = number(0.5, 0.0, 0.999)
    decay: float = number(0.99, 0.0, 0.9999)
    floor: float = number(0.1, 1e-6, 1.0)
    aggregate: str = choice(*RULES)
    liars: float = number(0.2, 0.0, 0.49)  # share of the boards that may be wrong
    mixing: bool = False


@dataclass(frozen=True)
class ClientSettings:
    """``[clients]``: which boards take part in a round; how many is ``[run] fraction``."""

    select: str = choice(*POLICIES)
    candidates: float = number(0.0, 0.0, 1.0)  # of "power": a share of the boards; 0: twice the fraction


@dataclass(frozen=True)
class ProxSettings:
    """``[prox]``: FedProx (``tinyfl.reference.head.pull``)."""

    mu: float = number(0.0, 0.0, 100.0)  # how strongly the boards hold on to the head that they got; 0: not at all


@dataclass(frozen=True)
class ClusterSettings:
    """``[clusters]``: a head for each group of boards that learn the same."""

    count: int = number(1, 1, MOST)


@dataclass(frozen=True)
class PersonalSettings:
    """``[personal]``: what is each board's own: tensors in every round, or a head of its own after the last one."""

    tune: int = number(0, 0, 65_535)  # epochs on the board's own samples, at [run] local_rate; 0: none
    mix: float = number(1.0, 0.01, 1.0)  # of the way from the common head to the tuned one that its own head goes
    private: str = choice("none", *NAMES)  # of head and adapter, the one that never leaves its board


@dataclass(frozen=True)
class Recipe:
    """One model with its data and settings."""

    name: str
    folder: Path
    classes: tuple[str, ...]
    function: str
    data: DataSettings = field(default_factory=DataSettings)
    users: UserSettings = field(default_factory=UserSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    compile: CompileSettings = field(default_factory=CompileSettings)
    run: RunSettings = field(default_factory=RunSettings)
    update: UpdateSettings = field(default_factory=UpdateSettings)
    server: ServerSettings = field(default_factory=ServerSettings)
    clients: ClientSettings = field(default_factory=ClientSettings)
    prox: ProxSettings = field(default_factory=ProxSettings)
    clusters: ClusterSettings = field(default_factory=ClusterSettings)
    personal: PersonalSettings = field(default_factory=PersonalSettings)

    @property
    def tflite(self) -> Path:
        """The trained model: ``<folder>/<name>.tflite``."""
        return self.folder / f"{self.name}.tflite"

    @property
    def manifest(self) -> Path:
        """What ``tinyfl train`` wrote about it: ``<folder>/model.json``."""
        return self.folder / "model.json"

    @property
    def source(self) -> Path:
        """The data: a ``.py`` file, a ``.csv`` file, or a folder of CSV files."""
        return self.folder / self.data.source

    @property
    def has_data(self) -> bool:
        """False for a folder that holds a trained model alone: it compiles, but cannot run."""
        return self.source.exists()


@dataclass(frozen=True)
class Draw:
    """Which users train, and which are never seen by the training."""

    clients: tuple[str, ...]
    unseen: tuple[str, ...]


SECTIONS: dict[str, type[Any]] = {
    "model": ModelSettings,
    "data": DataSettings,
    "users": UserSettings,
    "train": TrainSettings,
    "compile": CompileSettings,
    "run": RunSettings,
    "update": UpdateSettings,
    "server": ServerSettings,
    "clients": ClientSettings,
    "prox": ProxSettings,
    "clusters": ClusterSettings,
    "personal": PersonalSettings,
}


def load_recipe(folder: Path) -> Recipe:
    """Reads ``folder/recipe.toml``; a folder with one ``.tflite`` and no recipe gives a recipe without data.

    Raises ConfigError naming the file and the key.
    """
    file = folder / "recipe.toml"
    if not file.is_file():
        return _bare(folder, file)
    document = _parse(file)
    check_known(document, SECTIONS, f"{file}: unknown section", "[{}]")
    sections = {name: _section(kind, document.get(name, {}), name, file) for name, kind in SECTIONS.items()}
    model: ModelSettings = sections.pop("model")
    recipe = Recipe(model.name or folder.resolve().name, folder, model.classes, model.function, **sections)
    _check(recipe, file)
    return recipe


def load_function(recipe: Recipe, target: str) -> Callable[..., Any]:
    """The function named ``file.py:function``, the file relative to the recipe folder; runs the file's top level."""
    name, _, function = target.partition(":")
    file = recipe.folder / name
    if not file.is_file():
        raise ConfigError(f"{file}: no such file", f"write it, with a function {function}() (docs/RECIPES.md)")
    spec = importlib.util.spec_from_file_location(f"recipe_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except TinyflError:
        raise
    except Exception as error:
        raise ConfigError(f"{file}: {_told(error)}", "install what it imports, or mend the file") from error
    found = getattr(module, function, None)
    if not callable(found):
        raise ConfigError(f"{file}: no function {function}()", f"define {function}() there (docs/RECIPES.md)")
    return typing.cast(Callable[..., Any], found)


def call(recipe: Recipe, target: str, function: Callable[[], S]) -> S:
    """The result of the user's function named ``target``; whatever it raises becomes a ConfigError that names it."""
    try:
        return function()
    except TinyflError:
        raise
    except Exception as error:
        raise ConfigError(f"{recipe.folder / target} failed: {_told(error)}", "mend that function") from error


def _told(error: Exception) -> str:
    """An exception of the user's code in one line, with the place where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    text = " ".join(str(error).split())[:300]
    return f"line {frames[-1].lineno} of {Path(frames[-1].filename).name}: {type(error).__name__}: {text}"


def draw_users(recipe: Recipe, draw: int) -> Draw:
    """The ``draw``-th way (from 0) to leave out ``unseen_per_draw`` of the federated users; UsageError beyond the last.

    Neighbours in the circular list of users come first, then pairs two apart, and so on.
    """
    users, unseen = recipe.users.federated, recipe.users.unseen_per_draw
    count = math.comb(len(users), unseen)
    if not 0 <= draw < count:
        raise UsageError(
            f"draw {draw} does not exist: {unseen} of {len(users)} users can be left out in {count} ways",
            f"give --draw 0 to {count - 1}" if count > 1 else "leave --draw out",
        )
    left_out = next(itertools.islice(_subsets(len(users), unseen), draw, None))
    return Draw(
        tuple(user for i, user in enumerate(users) if i not in left_out),
        tuple(user for i, user in enumerate(users) if i in left_out),
    )


def _subsets(n: int, k: int) -> Iterator[frozenset[int]]:
    """All k-subsets of a circle of n places: every rotation of the tightest pattern, then of the next."""
    seen: set[frozenset[int]] = set()
    for pattern in itertools.combinations(range(n), k):
        for turn in range(n):
            subset = frozenset((place + turn) % n for place in pattern)
            if subset not in seen:
                seen.add(subset)
                yield subset


def _bare(folder: Path, file: Path) -> Recipe:
    models = sorted(folder.glob("*.tflite"))
    if len(models) != 1:
        raise ConfigError(f"{file}: no such file", "give a recipe folder, or make one: tinyfl new NAME")
    return Recipe(models[0].stem, folder, (), ModelSettings.function)


def _parse(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML: {error}", "mend that line (docs/RECIPES.md)") from error
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}", "make the file readable") from error


def _section(kind: type[S], values: Any, name: str, file: Path) -> S:
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: {name} is a value, expected a section", f"write [{name}] on a line of its own")
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}  # type: ignore[arg-type]
    check_known(values, fields, f"{file}: unknown key in [{name}]")
    hints = typing.get_type_hints(kind)
    read = {key: _value(value, hints[key], fields[key], f"{file}: [{name}] {key}") for key, value in values.items()}
    return kind(**read)


def check_known(values: Iterable[str], known: Collection[str], message: str, form: str = "{}") -> None:
    """Raises ConfigError for the first key that is not known, with the nearest one or all; ``form`` shows a key."""
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            names = ", ".join(form.format(name) for name in known)
            hint = f"did you mean {form.format(near[0])}?" if near else f"known: {names}"
            raise ConfigError(f"{message}: {form.format(key)}", hint)


KINDS: dict[Any, str] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    float | int: "a fraction or a whole number",
    tuple[str, ...]: "a list of texts",
    tuple[int, ...]: "a list of whole numbers",
}


def _value(value: Any, kind: Any, entry: dataclasses.Field[Any], where: str) -> Any:
    """The TOML value as the field's type; ConfigError for another type or a value out of range."""
    if not _fits(value, kind):
        raise ConfigError(f"{where} = {value!r}, expected {KINDS[kind]}", "see the table of keys in docs/RECIPES.md")
    if "least" in entry.metadata:
        least, most = entry.metadata["least"], entry.metadata["most"]
        if not least <= value <= most:
            raise ConfigError(f"{where} = {value!r}, expected {least} to {most}", "see docs/RECIPES.md")
    if value not in entry.metadata.get("choices", (value,)):
        raise ConfigError(f"{where} = {value!r}", f"expected one of {', '.join(entry.metadata['choices'])}")
    if kind is float:
        return float(value)
    return tuple(value) if isinstance(value, list) else value


def _fits(value: Any, kind: Any) -> bool:
    if typing.get_origin(kind) is tuple:
        return isinstance(value, list) and all(_fits(item, typing.get_args(kind)[0]) for item in value)
    if kind in (float, float | int):
        return type(value) in (int, float)
    return type(value) is kind  # bool is an int in Python, but not in a recipe


def _check(recipe: Recipe, file: Path) -> None:
    """What the types cannot say."""
    if not NAME.fullmatch(recipe.name):
        hint = 'set [model] name: letters, digits, "_" and "-", at most 40'
        raise ConfigError(f"{file}: the model's name is {recipe.name!r}", hint)
    _check_classes(recipe, file)
    _check_data(recipe.data, file)
    _check_users(recipe.users, len(recipe.classes), file)
    if isinstance(recipe.run.quorum, float) and recipe.run.quorum > 1:
        raise ConfigError(f"{file}: [run] quorum = {recipe.run.quorum}", "give a fraction up to 1.0, or a whole number")


def _check_classes(recipe: Recipe, file: Path) -> None:
    classes = recipe.classes
    if not classes:
        raise ConfigError(f"{file}: [model] classes is missing", 'add classes = ["first", "second"] in output order')
    _distinct(classes, f"{file}: [model] classes")
    if not 2 <= len(classes) <= 256:
        raise ConfigError(f"{file}: [model] has {len(classes)} classes, expected 2 to 256", "add or merge classes")
    for name in recipe.data.lab_classes:
        if name not in classes:
            raise ConfigError(f"{file}: [data] lab_classes has {name!r}, not in [model] classes", "use a class's name")


def _check_data(data: DataSettings, file: Path) -> None:
    if data.normalise not in ("none", "lab"):
        raise ConfigError(f"{file}: [data] normalise = {data.normalise!r}", 'expected "none" or "lab"')
    if any(side < 1 for side in data.shape):
        raise ConfigError(f"{file}: [data] shape = {list(data.shape)}", "expected sides of at least 1")
    if data.source.endswith(".py") and (data.shape or data.window or data.step):
        raise ConfigError(f"{file}: [data] shape, window and step are for CSV, source is {data.source}", "remove them")
    if data.step and not data.window:
        raise ConfigError(f"{file}: [data] step = {data.step} without window", "set window: rows a sample")


def _check_users(users: UserSettings, classes: int, file: Path) -> None:
    _distinct(users.lab + users.federated, f"{file}: [users] lab and federated")
    if users.unseen_per_draw and users.unseen_per_draw >= len(users.federated):
        raise ConfigError(
            f"{file}: [users] unseen_per_draw = {users.unseen_per_draw} of {len(users.federated)} federated users",
            "leave at least one user to train",
        )
    if users.classes_per_board > classes:
        raise ConfigError(
            f"{file}: [users] classes_per_board = {users.classes_per_board} of {classes} classes",
            "0 leaves each board all of its samples",
        )


def _distinct(names: tuple[str, ...], where: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{where} name {name!r} twice", "name each once")

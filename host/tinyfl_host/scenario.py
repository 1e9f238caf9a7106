"""What a run runs on: the compiled model, the boards, whose data each holds, and how they are brought up."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyfl.errors import ConfigError, DataError
from tinyfl.graph import HeadFormat
from tinyfl.image import build_image, read_image, training_samples
from tinyfl.reference import quantize_input
from tinyfl.reference.board import TwinBoard
from tinyfl_host.artifacts import Artifacts, compile_artifacts
from tinyfl_host.boards import board
from tinyfl_host.build import build_firmware, build_library
from tinyfl_host.crew import RETURN_PATIENCE
from tinyfl_host.dataset import Dataset, Float32, UInt8, board_data, load_samples
from tinyfl_host.emulate import Emulator, boot
from tinyfl_host.fleet import Fleet, Member
from tinyfl_host.links import Link
from tinyfl_host.links.trace import Trace
from tinyfl_host.node import Node
from tinyfl_host.parts import deal
from tinyfl_host.recipe import Recipe, load_recipe
from tinyfl_host.sim import Simulation, map_images
from tinyfl_host.traffic import Traffic

Model = tuple[Recipe, Artifacts, HeadFormat]


@dataclass(frozen=True)
class Auth:
    """``keys``: the key of a device, None where this host has none; ``required``: such a board is refused."""

    keys: Callable[[bytes], bytes | None] = lambda _: None
    required: bool = False


@dataclass(frozen=True)
class Scenario:
    """A model and its boards. ``images``: the data image of each board that the run gives its samples."""

    recipe: Recipe
    artifacts: Artifacts
    format: HeadFormat
    members: tuple[Member, ...]
    images: Mapping[str, bytes | memoryview]

    @property
    def runs(self) -> Path:
        """Where the runs of this recipe lie."""
        return self.artifacts.folder / "runs"

    @property
    def identity(self) -> dict[str, str]:
        """What must be the same when a run is resumed."""
        data = hashlib.sha256()
        for name, image in self.images.items():
            data.update(f"{name}\0{len(image)}\0".encode())
            data.update(image)
        return {"recipe": self.recipe.name, "model": self.artifacts.manifest["hash"], "data": data.hexdigest()}


def load_model(folder: Path) -> Model:
    """The recipe, compiled; ConfigError where it has no data or its model has no head to train."""
    recipe = load_recipe(folder)
    if not recipe.has_data:
        raise ConfigError(f"{recipe.source}: no such data", "rounds need a recipe with data: tinyfl new NAME makes one")
    artifacts = compile_artifacts(folder)
    if artifacts.head is None:
        reason = artifacts.manifest["head"]["reason"]
        raise ConfigError(f"{recipe.tflite}: no head to train: {reason}", "docs/RECIPES.md says what a head is")
    return recipe, artifacts, artifacts.head


def prepare(model: Model, members: Sequence[Member]) -> Scenario:
    """Gives each board its data. Raises DataError for users that the data does not know."""
    recipe, artifacts, format = model
    needy = [member for member in members if member.needs_data]
    dataset = load_samples(recipe) if any(member.user for member in needy) else None
    made = ((member.name, _image(artifacts, member, dataset)) for member in needy)
    mapped = any(member.simulated for member in needy)
    images: Mapping[str, bytes | memoryview] = map_images(made, artifacts.folder) if mapped else dict(made)
    return Scenario(recipe, artifacts, format, tuple(members), images)


def require_samples(scenario: Scenario) -> None:
    """Raises DataError where no client has anything to learn from, as far as the run gives them their samples."""
    clients, images = [member.name for member in scenario.members if member.trains], scenario.images
    if not any(name not in images or training_samples(images[name]) for name in clients):
        raise DataError(
            f"{scenario.recipe.source}: no training sample for any of the boards that train ({len(clients)})",
            "mend the data, or [users] federated in recipe.toml",
        )


def bring_up(
    scenario: Scenario, auth: Callable[[Member], Auth] = lambda _: Auth(), trace: Trace | None = None
) -> Fleet:
    """Builds the firmware, boots the emulators; all else is opened later. Raises ToolError where a tool fails."""
    artifacts = scenario.artifacts
    digest = bytes.fromhex(artifacts.manifest["hash"])[:16]
    firmware = {env: build_firmware(artifacts, env) for env in dict.fromkeys(m.env for m in scenario.members) if env}
    twins: dict[str, TwinBoard] = {}

    def booted(member: Member) -> Emulator:
        assert member.env is not None
        return boot(board(member.env), firmware[member.env], bytes(scenario.images[member.name]), name=member.name)

    def twin(member: Member) -> TwinBoard:
        if member.name not in twins:
            image = read_image(bytes(scenario.images[member.name]))
            shape = artifacts.graph.tensor(artifacts.graph.input).shape[1:]
            train, test = image.x_train.reshape(-1, *shape), image.x_test.reshape(-1, *shape)
            data = (train, image.y_train, test, image.y_test)
            twins[member.name] = TwinBoard(artifacts.graph, scenario.format, *data, name=member.name, digest=digest)
        return twins[member.name]

    def node(member: Member, connect: Callable[[], Link], traffic: Traffic) -> Node:
        known = auth(member)
        return Node(
            connect(),
            artifacts.manifest,
            member.name,
            reopen=connect,
            patience=RETURN_PATIENCE,
            keys=known.keys,
            require_auth=known.required,
            traffic=traffic,
        )

    simulated = {member.name: scenario.images[member.name] for member in scenario.members if member.simulated}
    sim = Simulation(build_library(artifacts), artifacts.manifest, simulated) if simulated else None
    return Fleet(scenario.members, booted, node, twin, trace, sim)


def user_image(folder: Path, artifacts: Artifacts, user: str) -> bytes:
    """The data image of one user of a recipe, for a board that is started by itself."""
    return _user_image(artifacts, board_data(load_samples(load_recipe(folder)), user), f"user{user}"[:16])


def _image(artifacts: Artifacts, member: Member, dataset: Dataset | None) -> bytes:
    graph = artifacts.graph
    if member.data:
        return _read_image(Path(member.data), graph.tensor(graph.input).size)
    assert dataset is not None
    return _user_image(artifacts, deal(board_data(dataset, member.user), member), member.name)


def _user_image(artifacts: Artifacts, data: tuple[Float32, UInt8, Float32, UInt8], name: str) -> bytes:
    x_train, y_train, x_test, y_test = data
    graph = artifacts.graph
    shape = graph.tensor(graph.input).shape[1:]
    train, test = (quantize_input(graph, x.reshape(-1, *shape)) for x in (x_train, x_test))
    return build_image(train, y_train, test, y_test, name)


def _read_image(path: Path, input_bytes: int) -> bytes:
    try:
        data = path.read_bytes()
        image = read_image(data)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}", "name a data image in fleet.toml") from error
    except DataError as error:
        raise DataError(f"{path}: {error.message}", error.hint) from error
    if image.x_train.shape[1] != input_bytes:
        raise DataError(f"{path}: inputs of {image.x_train.shape[1]} bytes, the model takes {input_bytes}")
    return data

"""What an adapter before the head is worth: figures of docs/DESIGN.md, "Adapter", as one JSON document.

    python tools/bench/adapter.py --draws 5            HAR, all boards' labels and three of seven a board
    python tools/bench/adapter.py --draws 5 --float    beside it the same rounds in float64: how much the integers cost

Methods: "fedavg" and "local" have no adapter, and the head shared or each board's own; "shared" shares adapter and
head, "fedper" the adapter alone, "alone" nothing. Each is measured on all test samples of all clients' users and on the
boards' own, the mean over boards. Rounds are those of ``tinyfl run``, of head and adapter alone on embeddings that were
made once. "tuned" is the boards' own after five more epochs alone at half the rates. Figures: [mean, standard error]
over draws; points: integers less floats, paired.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import har
import numpy as np

from tinyfl.compiler import compile_model, read_tflite
from tinyfl.graph import HeadFormat
from tinyfl.reference import adapter, head, quantize_input
from tinyfl.reference.adapter import TwinAdapter, adapter_of, positions
from tinyfl.reference.fixed import Int64, mix
from tinyfl.reference.head import TwinHead
from tinyfl.reference.tensors import ADAPTER, HEAD, STREAMS, initial
from tinyfl_host.dataset import calibration_inputs, load_samples
from tinyfl_host.recipe import draw_users, load_recipe

RECIPE = Path(__file__).parents[2] / "models/har"
NONE_SHARED = (HEAD, ADAPTER)
PRIVATE = {"fedavg": (ADAPTER,), "local": NONE_SHARED, "shared": (), "fedper": (HEAD,), "alone": NONE_SHARED}
WITHOUT = ("fedavg", "local")  # an adapter that learns
RATES = {"all": {"local": 0.25, "alone": 0.25}, "skew": dict.fromkeys(PRIVATE, 0.25)}  # of the head; else 0.5
TUNE_EPOCHS, TUNE_ROUND = 5, 10_000
SKEW_CLASSES = 3

Rates = tuple[float, float]  # of the head, of the adapter


@dataclass(frozen=True)
class Board:
    """A board's samples of both splits: embeddings (n, N), labels (n,); and all test samples of its user."""

    x: Any
    y: Any
    x_test: Any
    y_test: Any
    x_all: Any
    y_all: Any


class Learner:
    """A board in integers; ``number``: its own in seeds."""

    def __init__(self, format: HeadFormat, board: Board, number: int) -> None:
        self.board, self.number = board, number
        self.tensors = TwinHead(format), TwinAdapter(format)

    def train(self, epochs: int, round: int, seed: int, rate: tuple[int, int], adapter_rate: tuple[int, int]) -> None:
        """From where it is; rates as the boards take them."""
        own, trained = self.tensors[HEAD], self.tensors[ADAPTER]
        stream = seed, round, self.number
        trained.train(own, self.board.x, self.board.y.tolist(), stream, epochs, rate, adapter_rate)

    def accuracy(self, embeddings: Any, labels: Any) -> float:
        """Share of right answers of its trained layers."""
        right, _ = self.tensors[HEAD].evaluate(self.tensors[ADAPTER].forward(embeddings), labels.tolist(), trained=True)
        return right / len(labels)


def start(learners: Sequence[Learner], masters: dict[int, Int64]) -> None:
    """What is shared comes from the server; a private tensor goes on from where it is, rounded as a broadcast is."""
    for learner in learners:
        for number, tensor in enumerate(learner.tensors):
            tensor.load(head.broadcast(masters[number]) if number in masters else tensor.pull())


def collected(learners: Sequence[Learner], number: int, master: Int64, round: int, seed: int) -> Int64:
    """The server's weights of a tensor after a round: int8 deltas, one shift, the mean weighted by samples."""
    deltas = [learner.tensors[number].delta() for learner in learners]
    shift = head.fleet_shift([int(np.abs(delta).max()) for delta in deltas])
    seeds = [mix(seed, round, STREAMS[number], learner.number) for learner in learners]
    sent = [head.round_delta(delta, shift, own) for delta, own in zip(deltas, seeds, strict=True)]
    return head.aggregate(master, sent, [len(learner.board.y) for learner in learners], shift)


class FloatLearner:
    """``Learner`` in float64, without any rounding: the same steps in the same order."""

    def __init__(self, format: HeadFormat, board: Board, number: int) -> None:
        self.format, self.board, self.number = format, board, number
        self.head = format.initial / 2.0**format.fw
        self.adapter = np.zeros((format.features, format.features + 1))
        self.learns = np.zeros_like(self.adapter)
        self.learns[positions(adapter_of(format))] = 1.0

    def _seen(self, x: Any) -> Any:
        """Features (..., N) after the adapter, from features and bias (..., N + 1)."""
        return np.maximum(x[..., :-1] + x @ self.adapter.T, 0.0)

    def _centre(self, embeddings: Any) -> Any:
        bias = np.full((len(embeddings), 1), float(self.format.bias_value))
        return np.hstack([embeddings.astype(float) - adapter_of(self.format).offset, bias])

    def train(self, epochs: int, round: int, seed: int, eta: float, adapter_eta: float) -> None:
        """``eta`` and ``adapter_eta`` as in recipes; 0: the adapter does not learn."""
        x, bias = self._centre(self.board.x), float(self.format.bias_value)
        step, adapter_step = eta / self.format.r2, adapter_eta / adapter_of(self.format).curvature
        for epoch in range(epochs):
            for j in head.order(len(x), mix(seed, round, epoch, self.number)):
                seen = self._seen(x[j])
                features = np.append(seen, bias)
                z = features @ self.head
                error = np.exp(z - z.max())
                error /= error.sum()
                error[self.board.y[j]] -= 1.0
                back = np.where(seen > 0.0, self.head[:-1] @ error, 0.0)
                if adapter_step:
                    self.adapter -= np.multiply.outer(adapter_step * back, x[j]) * self.learns
                self.head -= np.multiply.outer(features, step * error)

    def accuracy(self, embeddings: Any, labels: Any) -> float:
        """Share of right answers."""
        seen = self._seen(self._centre(embeddings))
        z = seen @ self.head[:-1] + float(self.format.bias_value) * self.head[-1]
        return float(np.mean(z.argmax(axis=1) == labels))


def integers(format: HeadFormat, boards: Sequence[Board], method: str, run: Any, rates: Rates) -> dict[str, float]:
    """The accuracies of one run in the boards' arithmetic."""
    learners = [Learner(format, board, number) for number, board in enumerate(boards)]

    def train(share: float, epochs: int, round: int) -> None:
        rate = head.rate(rates[0] * share, format.r2, format.fw)
        adapter_rate = (0, 1) if method in WITHOUT else adapter.rate(rates[1] * share, format)
        for learner in learners:
            learner.train(epochs, round, run.seed, rate, adapter_rate)

    shared = [number for number in (HEAD, ADAPTER) if number not in PRIVATE[method]]
    masters = {number: initial(format, 1 << number).astype(np.int64) << 16 for number in shared}
    for number in range(1, run.rounds + 1):
        start(learners, masters)
        train(1.0, run.epochs, number)
        masters = {tensor: collected(learners, tensor, master, number, run.seed) for tensor, master in masters.items()}
    start(learners, masters)
    found = measure([learner.accuracy for learner in learners], boards)
    train(0.5, TUNE_EPOCHS, TUNE_ROUND)
    return found | {"tuned": measure([learner.accuracy for learner in learners], boards)["own"]}


def floats(format: HeadFormat, boards: Sequence[Board], method: str, run: Any, rates: Rates) -> dict[str, float]:
    """The same without rounding."""
    learners = [FloatLearner(format, board, number) for number, board in enumerate(boards)]
    eta, adapter_eta = rates[0], 0.0 if method in WITHOUT else rates[1]
    samples = [len(board.y) for board in boards]
    shared = [name for number, name in ((HEAD, "head"), (ADAPTER, "adapter")) if number not in PRIVATE[method]]
    for number in range(1, run.rounds + 1):
        for learner in learners:
            learner.train(run.epochs, number, run.seed, eta, adapter_eta)
        for name in shared:
            mean = np.average([getattr(learner, name) for learner in learners], axis=0, weights=samples)
            for learner in learners:
                setattr(learner, name, mean.copy())
    found = measure([learner.accuracy for learner in learners], boards)
    for learner in learners:
        learner.train(TUNE_EPOCHS, TUNE_ROUND, run.seed, eta / 2, adapter_eta / 2)
    return found | {"tuned": measure([learner.accuracy for learner in learners], boards)["own"]}


def measure(accuracies: Sequence[Any], boards: Sequence[Board]) -> dict[str, float]:
    """Means over boards: on all test samples of all users, and on the boards' own."""
    x, y = np.concatenate([b.x_all for b in boards]), np.concatenate([b.y_all for b in boards])
    own = [accuracy(board.x_test, board.y_test) for accuracy, board in zip(accuracies, boards, strict=True)]
    return {"everybody": float(np.mean([accuracy(x, y) for accuracy in accuracies])), "own": float(np.mean(own))}


def boards_of(task: har.Task, draw: int, skew: bool) -> list[Board]:
    """The clients of a draw; ``skew``: each has three classes of its own alone."""
    boards = []
    for number, name in enumerate(draw_users(task.recipe, draw).clients):
        user = task.users[name]
        whole = user.x_test, user.y_test
        board = Board(user.x, user.y, *whole, *whole)
        if skew:
            own = np.random.default_rng([draw, number]).permutation(task.head.classes)[:SKEW_CLASSES]
            kept, kept_test = np.isin(user.y, own), np.isin(user.y_test, own)
            board = Board(user.x[kept], user.y[kept], user.x_test[kept_test], user.y_test[kept_test], *whole)
        boards.append(board)
    return boards


def spread(values: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    """Mean and standard error of each figure over draws, of which there are two at least."""
    error = np.sqrt(len(values))
    columns = {key: np.array([value[key] for value in values]) for key in values[0]}
    return {key: [round(float(v.mean()), 4), round(float(v.std(ddof=1) / error), 4)] for key, v in columns.items()}


def figures(task: har.Task, format: HeadFormat, rate: float, draws: int, beside: bool) -> list[dict[str, Any]]:
    """A row for each distribution of labels and method."""
    rows, own = [], adapter_of(format)
    for labels in ("all", "skew"):
        for method in PRIVATE:
            rates = RATES[labels].get(method, 0.5), rate
            cases = [boards_of(task, draw, labels == "skew") for draw in range(draws)]
            found = [integers(format, boards, method, task.recipe.run, rates) for boards in cases]
            row: dict[str, Any] = {"labels": labels, "method": method, "group": own.group, "rates": rates}
            row |= {"weights": own.size, "integer": spread(found)}
            if beside:
                real = [floats(format, boards, method, task.recipe.run, rates) for boards in cases]
                paired = [{key: 100 * (a[key] - b[key]) for key in a} for a, b in zip(found, real, strict=True)]
                row |= {"float": spread(real), "points": spread(paired)}
            rows.append(row)
    return rows


def load(group: int) -> tuple[har.Task, HeadFormat]:
    """HAR, and its head with an adapter in groups of so many features."""
    recipe = load_recipe(RECIPE)
    task = har.task(recipe, recipe.tflite.read_bytes())
    graph = read_tflite(recipe.tflite.read_bytes(), recipe.name)
    calibration = quantize_input(graph, calibration_inputs(recipe, load_samples(recipe)))
    format = compile_model(recipe.tflite.read_bytes(), recipe.name, calibration, adapter=group).head
    assert format is not None
    return task, format


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--groups", type=int, nargs="+", default=[16])
    parser.add_argument("--rate", type=float, default=1.0, help="of the adapter")
    parser.add_argument("--float", action="store_true", help="the same rounds in float64 too")
    options = parser.parse_args()
    if options.draws < 2:
        parser.error("a standard error takes two draws")
    rows = []
    for group in options.groups:
        task, format = load(group)
        rows += figures(task, format, options.rate, options.draws, options.float)
    print(json.dumps({"model": "har", "draws": options.draws, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()

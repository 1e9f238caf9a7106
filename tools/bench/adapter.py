"""What an adapter before the head is worth: figures of docs/METHODS.md, "Personal models", as one JSON document.

    python tools/bench/adapter.py --draws 5            HAR, all boards' labels and three of seven a board
    python tools/bench/adapter.py --draws 5 --float    beside it the same rounds in float64: how much the integers cost

Methods: "fedavg" and "local" have no adapter, and the head shared or each board's own; "shared" shares adapter and
head, "fedper" the adapter alone, "alone" nothing. Each is measured on all test samples of all clients' users and on the
boards' own, the mean over boards; "tuned" is the boards' own after five more epochs alone at half the rates. Figures:
[mean, standard error] over draws; points: integers less floats, paired.
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

from tinyfl.compiler import read_tflite
from tinyfl.federated.personal import ADAPTER, HEAD, Learner, Schedule, initial, personal_round
from tinyfl.reference import adapter, embed, head, quantize_input
from tinyfl.reference.adapter import AdapterFormat, fold_adapter
from tinyfl.reference.fixed import mix
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


class FloatLearner:
    """``Learner`` in float64, without any rounding: the same steps in the same order."""

    def __init__(self, format: AdapterFormat, board: Board, number: int) -> None:
        self.format, self.board, self.number = format, board, number
        self.head = format.head.initial / 2.0**format.head.fw
        self.adapter = np.zeros((format.head.features, format.head.features + 1))
        self.learns = np.zeros_like(self.adapter)
        self.learns[format.positions()] = 1.0

    def _seen(self, x: Any) -> Any:
        """Features (..., N) after the adapter, from features and bias (..., N + 1)."""
        return np.maximum(x[..., :-1] + x @ self.adapter.T, 0.0)

    def _centre(self, embeddings: Any) -> Any:
        bias = np.full((len(embeddings), 1), float(self.format.head.bias_value))
        return np.hstack([embeddings.astype(float) - self.format.offset, bias])

    def train(self, epochs: int, round: int, seed: int, eta: float, adapter_eta: float) -> None:
        """``eta`` and ``adapter_eta`` as in recipes; 0: the adapter does not learn."""
        x, bias = self._centre(self.board.x), float(self.format.head.bias_value)
        step, adapter_step = eta / self.format.head.r2, adapter_eta / self.format.curvature
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
        z = seen @ self.head[:-1] + float(self.format.head.bias_value) * self.head[-1]
        return float(np.mean(z.argmax(axis=1) == labels))


def integers(format: AdapterFormat, boards: Sequence[Board], method: str, run: Any, rates: Rates) -> dict[str, float]:
    """The accuracies of one run in the boards' arithmetic."""
    learners = [Learner(format, board.x, board.y.tolist(), number) for number, board in enumerate(boards)]
    frozen = method in WITHOUT

    def schedule(share: float, epochs: int) -> Schedule:
        rate = head.rate(rates[0] * share, format.head.r2, format.head.fw)
        adapter_rate = (0, 1) if frozen else adapter.rate(rates[1] * share, format)
        return Schedule(epochs, rate, adapter_rate, run.seed)

    masters = initial(format, PRIVATE[method])
    for number in range(1, run.rounds + 1):
        masters = personal_round(learners, masters, number, schedule(1.0, run.epochs))
    for learner in learners:
        for tensor, master in masters.items():
            learner.tensor(tensor).load(head.broadcast(master))
    found = measure([learner.accuracy for learner in learners], boards)
    for learner in learners:
        learner.train(schedule(0.5, TUNE_EPOCHS), TUNE_ROUND)
    return found | {"tuned": measure([learner.accuracy for learner in learners], boards)["own"]}


def floats(format: AdapterFormat, boards: Sequence[Board], method: str, run: Any, rates: Rates) -> dict[str, float]:
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


def figures(task: har.Task, format: AdapterFormat, rate: float, draws: int, beside: bool) -> list[dict[str, Any]]:
    """A row for each distribution of labels and method."""
    rows = []
    for labels in ("all", "skew"):
        for method in PRIVATE:
            rates = RATES[labels].get(method, 0.5), rate
            cases = [boards_of(task, draw, labels == "skew") for draw in range(draws)]
            found = [integers(format, boards, method, task.recipe.run, rates) for boards in cases]
            row: dict[str, Any] = {"labels": labels, "method": method, "group": format.group, "rates": rates}
            row |= {"weights": format.size, "integer": spread(found)}
            if beside:
                real = [floats(format, boards, method, task.recipe.run, rates) for boards in cases]
                paired = [{key: 100 * (a[key] - b[key]) for key in a} for a, b in zip(found, real, strict=True)]
                row |= {"float": spread(real), "points": spread(paired)}
            rows.append(row)
    return rows


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
    recipe = load_recipe(RECIPE)
    task = har.task(recipe, recipe.tflite.read_bytes())
    graph = read_tflite(recipe.tflite.read_bytes(), recipe.name)
    embeddings = embed(graph, quantize_input(graph, calibration_inputs(recipe, load_samples(recipe))))
    rows = []
    for group in options.groups:
        format = fold_adapter(task.head, embeddings, group, relu=bool((embeddings >= task.head.offset).all()))
        rows += figures(task, format, options.rate, options.draws, options.float)
    print(json.dumps({"model": "har", "draws": options.draws, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()

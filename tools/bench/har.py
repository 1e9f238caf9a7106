"""The figures of docs/HAR.md: the five backbones, and federated rounds in integers and in float on the chosen one.

    python tools/bench/har.py --json --draws 5          figures of the committed backbone, by the numpy twin
    python tools/bench/har.py --backbones --write       trains the five backbones too, and writes the manual's tables

The integers are those of the boards (tinyfl.reference.head); that boards give the same is for the tests to prove.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinyfl.compiler import compile_model, read_tflite
from tinyfl.graph import HeadFormat
from tinyfl.reference import embed, float_fedavg, quantize_input
from tinyfl.reference import head as twin
from tinyfl.reference.fixed import mix
from tinyfl_host.dataset import board_data, lab_samples, load_samples
from tinyfl_host.recipe import Recipe, draw_users, load_function, load_recipe

ROOT = Path(__file__).parents[2]
MANUAL = ROOT / "docs" / "HAR.md"
SEEDS = range(5)
COLLECT_STREAM = 0xFFFF
SPLITS = ("clients", "unseen")


@dataclasses.dataclass(frozen=True)
class User:
    """A user's embeddings (n, N) and labels (n,)."""

    x: Any
    y: Any
    x_test: Any
    y_test: Any

    def client(self, board: int) -> float_fedavg.Client:
        """This user's training data on board number ``board``."""
        return float_fedavg.Client(self.x, self.y, board)


@dataclasses.dataclass(frozen=True)
class Task:
    """The recipe with one backbone: its head, and its users' embeddings."""

    recipe: Recipe
    head: HeadFormat
    users: dict[str, User]

    def share(self, weights: Any, users: Sequence[str]) -> float:
        """Right answers over test samples of all ``users`` together; weights (N + 1, C), integer or float."""
        own = [self.users[user] for user in users]
        x, y = np.concatenate([u.x_test for u in own]), np.concatenate([u.y_test for u in own])
        return float_fedavg.accuracy(self.head, weights, x, y)


def task(recipe: Recipe, tflite: bytes) -> Task:
    """The users of the recipe through the backbone of ``tflite``."""
    data = load_samples(recipe)
    graph = read_tflite(tflite, recipe.name)
    calibration = quantize_input(graph, lab_samples(recipe, data)[0].x)
    head = compile_model(tflite, recipe.name, calibration).head
    assert head is not None
    users = {}
    for name in recipe.users.federated:
        x, y, x_test, y_test = board_data(data, name)
        users[name] = User(
            embed(graph, quantize_input(graph, x)), y, embed(graph, quantize_input(graph, x_test)), y_test
        )
    return Task(recipe, head, users)


def integer_fedavg(head: HeadFormat, clients: Sequence[float_fedavg.Client], run: Any) -> Any:
    """The final broadcast weights (N + 1, C) of the recipe's rounds in the boards' integers."""
    rate, master = twin.rate(run.rate, head.r2, head.fw), twin.to_wire(head.initial).astype(np.int64) << 16
    boards = [twin.TwinHead(head) for _ in clients]
    for number in range(1, run.rounds + 1):
        for board, client in zip(boards, clients, strict=True):
            board.load(twin.broadcast(master))
            board.train(client.embeddings, client.labels.tolist(), (run.seed, number, client.board), run.epochs, rate)
        shift = twin.fleet_shift([board.max_delta() for board in boards])
        deltas = [
            twin.round_delta(board.delta(), shift, mix(run.seed, number, COLLECT_STREAM, client.board))
            for board, client in zip(boards, clients, strict=True)
        ]
        master = twin.aggregate(master, deltas, [len(client.labels) for client in clients], shift)
    return twin.from_wire(twin.broadcast(master), head.features, head.classes)


def integer_alone(head: HeadFormat, client: float_fedavg.Client, run: Any) -> Any:
    """The weights of one board that trains as many epochs alone, at the recipe's local rate."""
    board, rate = twin.TwinHead(head), twin.rate(run.local_rate, head.r2, head.fw)
    for number in range(1, run.rounds + 1):
        board.train(client.embeddings, client.labels.tolist(), (run.seed, number, client.board), run.epochs, rate)
    return twin.from_wire(board.pull(), head.features, head.classes)


def figures(task: Task, draw: int, beside: bool) -> dict[str, Any]:
    """Accuracies of one draw by method; ``beside``: local-only and centralised training too."""
    run, users = task.recipe.run, draw_users(task.recipe, draw)
    clients = [task.users[user].client(board) for board, user in enumerate(users.clients)]
    groups = dict(zip(SPLITS, (users.clients, users.unseen), strict=True))

    def score(weights: Any) -> dict[str, float]:
        return {split: task.share(weights, group) for split, group in groups.items()}

    found = {
        "before": score(task.head.initial),
        "integer": score(integer_fedavg(task.head, clients, run)),
        "float": score(float_fedavg.fedavg(task.head, clients, run.rounds, run.epochs, run.rate, run.seed)),
    }
    if beside:
        alone = [integer_alone(task.head, client, run) for client in clients]
        found["local_only"] = mean([score(weights) for weights in alone])
        own = [task.share(weights, [user]) for weights, user in zip(alone, users.clients, strict=True)]
        found["local_only_own"] = {"clients": float(np.mean(own))}
        found["centralised"] = score(integer_alone(task.head, pooled(clients), run))
    return {"draw": draw, "unseen": list(users.unseen), **found}


def pooled(clients: Sequence[float_fedavg.Client]) -> float_fedavg.Client:
    """One board that holds everybody's data."""
    x = np.concatenate([client.embeddings for client in clients])
    return float_fedavg.Client(x, np.concatenate([client.labels for client in clients]), 0)


def mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each key."""
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def summary(draws: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the draws, by method."""
    return {key: mean([row[key] for row in draws]) for key in draws[0] if key not in ("draw", "unseen")}


def backbones(recipe: Recipe) -> list[dict[str, Any]]:
    """Trains one backbone a seed: the lab's accuracies and, computed after them, float FedAvg of draws 0 to 5."""
    from tinyfl.train import train

    training, test = lab_samples(recipe, load_samples(recipe))
    rows = []
    for seed in SEEDS:
        settings = dataclasses.replace(recipe.train, seed=seed)
        build = load_function(recipe, recipe.function)
        result = train(build, training.x, training.y, test.x, test.y, len(recipe.classes), settings)
        same = "yes" if result.tflite == recipe.tflite.read_bytes() else ""
        rows.append({"seed": seed, **result.accuracy, **federated(task(recipe, result.tflite)), "committed": same})
    return rows


def federated(task: Task) -> dict[str, float]:
    """Float FedAvg on one backbone, mean of draws 0 to 5."""
    run, rows = task.recipe.run, []
    for draw in range(6):
        users = draw_users(task.recipe, draw)
        clients = [task.users[user].client(board) for board, user in enumerate(users.clients)]
        weights = float_fedavg.fedavg(task.head, clients, run.rounds, run.epochs, run.rate, run.seed)
        rows.append({"clients": task.share(weights, users.clients), "unseen": task.share(weights, users.unseen)})
    return mean(rows)


def backbone_table(rows: Sequence[dict[str, Any]]) -> str:
    """The five backbones as Markdown."""
    head = "| seed | float | pruned | int8 | committed | float FedAvg: clients | never seen |"
    lines = [
        f"| {r['seed']} | {r['float']:.4f} | {r['pruned']:.4f} | {r['int8']:.4f} | {r['committed']} "
        f"| {r['clients']:.4f} | {r['unseen']:.4f} |"
        for r in rows
    ]
    return "\n".join([head, "|---|---|---|---|---|---|---|", *lines])


def figure_table(draws: Sequence[dict[str, Any]], means: dict[str, Any]) -> str:
    """The draws as Markdown, each cell "clients / never seen"."""
    methods = ("before", "integer", "float", "local_only", "centralised")
    head = "| draw | never seen | before | **integer rounds** | float FedAvg | local-only (own) | centralised |"

    def cells(row: dict[str, Any]) -> str:
        texts = {m: f"{row[m]['clients']:.4f} / {row[m]['unseen']:.4f}" for m in methods}
        texts["local_only"] += f" ({row['local_only_own']['clients']:.4f})"
        return " | ".join(texts[m] for m in methods)

    lines = [f"| {row['draw']} | {', '.join(row['unseen'])} | {cells(row)} |" for row in draws]
    return "\n".join([head, "|---|---|---|---|---|---|---|", *lines, f"| mean | | {cells(means)} |"])


def write(name: str, table: str) -> None:
    """Puts a table between its marks in the manual."""
    text = MANUAL.read_text()
    pattern = re.compile(f"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"{MANUAL}: no <!-- {name} --> ... <!-- end -->")
    MANUAL.write_text(pattern.sub(lambda mark: f"{mark[1]}{table}\n{mark[2]}", text))


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=6, help="draws 0 to DRAWS - 1")
    parser.add_argument("--backbones", action="store_true", help="train the five backbones (TensorFlow, two minutes)")
    parser.add_argument("--only-federated", action="store_true", help="leave local-only and centralised training out")
    parser.add_argument("--json", action="store_true", help="one document instead of tables")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/HAR.md")
    arguments = parser.parse_args()
    if arguments.write and (arguments.json or arguments.only_federated):
        parser.error("--write goes with the whole tables alone")
    recipe = load_recipe(ROOT / "models" / "har")
    tables = {"backbones": backbone_table(backbones(recipe))} if arguments.backbones else {}
    chosen = task(recipe, recipe.tflite.read_bytes())
    draws = [figures(chosen, draw, not arguments.only_federated) for draw in range(arguments.draws)]
    if arguments.json:
        print(json.dumps({"mean": summary(draws), "draws": draws}, indent=2))
        return
    tables["figures"] = figure_table(draws, summary(draws))
    for name, table in tables.items():
        print(table, end="\n\n")
        if arguments.write:
            write(name, table)


if __name__ == "__main__":
    main()

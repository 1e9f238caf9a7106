"""Flower's side of fleet.py: the same boards as clients of ``flwr[simulation]``, in numpy. Prints JSON.

Run by fleet.py with a Python that has Flower; it imports nothing of tinyfl.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

import numpy as np

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from flwr.client import ClientApp, NumPyClient
from flwr.common import Context, ndarrays_to_parameters
from flwr.server import ServerApp, ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.simulation import run_simulation

FEATURES, CLASSES = 64, 10
RATE = 0.01


class Board(NumPyClient):
    """A board's samples, made again in each process from its number."""

    def __init__(self, number: int, samples: int, batch: int) -> None:
        teacher, rng = np.random.default_rng(1).normal(size=(FEATURES, CLASSES)), np.random.default_rng([2, number])
        self.x = rng.normal(0, 1, (samples, FEATURES)).astype(np.float32)
        self.y = (self.x @ teacher).argmax(axis=1)
        self.batch = batch

    def fit(self, parameters: list[Any], config: dict[str, Any]) -> tuple[list[Any], int, dict[str, Any]]:
        """One epoch of softmax regression."""
        w, b = (array.copy() for array in parameters)
        hot = np.eye(CLASSES, dtype=np.float32)[self.y]
        for start in range(0, len(self.x), self.batch):
            x, wanted = self.x[start : start + self.batch], hot[start : start + self.batch]
            z = x @ w + b
            p = np.exp(z - z.max(axis=1, keepdims=True))
            error = (p / p.sum(axis=1, keepdims=True) - wanted) * (RATE / len(x))
            w -= x.T @ error
            b -= error.sum(axis=0)
        return [w, b], len(self.x), {}


class Timed(FedAvg):
    """FedAvg that notes when each round began and ended."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self.seconds: list[float] = []

    def configure_fit(self, *arguments: Any, **named: Any) -> Any:
        """Begins a round."""
        self.began = time.monotonic()
        return super().configure_fit(*arguments, **named)

    def aggregate_fit(self, round: int, results: Any, failures: Any) -> Any:
        """Ends it; all clients must have answered."""
        merged = super().aggregate_fit(round, results, failures)
        assert not failures, failures[:1]
        self.seconds.append(time.monotonic() - self.began)
        return merged


def main() -> None:
    """All rounds, on all cores."""
    parser = argparse.ArgumentParser()
    for name in ("boards", "samples", "rounds", "batch"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    initial = [np.zeros((FEATURES, CLASSES), np.float32), np.zeros(CLASSES, np.float32)]
    strategy = Timed(
        fraction_evaluate=0.0,
        min_fit_clients=options.boards,
        min_available_clients=options.boards,
        initial_parameters=ndarrays_to_parameters(initial),
    )

    def client(context: Context) -> Any:
        return Board(int(context.node_config["partition-id"]), options.samples, options.batch).to_client()

    def server(context: Context) -> ServerAppComponents:
        return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=options.rounds))

    resources = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": {"include_dashboard": False}}
    run_simulation(ServerApp(server_fn=server), ClientApp(client_fn=client), options.boards, backend_config=resources)
    print(json.dumps({"seconds": strategy.seconds}))


if __name__ == "__main__":
    main()

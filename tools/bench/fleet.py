"""A fleet on one machine: rounds of 1,000 boards in this computer's memory, beside Flower's simulation doing the same.

    python tools/bench/fleet.py                                 ours alone
    python tools/bench/fleet.py --flower .venv-flower/bin/python  and Flower, by a Python that has flwr[simulation]

Each board holds 200 samples of 64 features in 10 classes and trains a head of 650 weights for one epoch, a sample a
step. Ours are the boards' integers (firmware/ports/sim); Flower's clients do the same steps in numpy or, with --batch,
faster ones of many samples. Seconds are those of a round: broadcast, training, aggregation, without measuring. Memory
is the most that all processes of a side held together (proportional set size), sampled ten times a second.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FEATURES, CLASSES = 64, 10
MARK = "TINYFL_BENCH_SIDE"  # of a side's processes, inherited by all that they start
EVERY = 0.1  # seconds between two looks at memory
QUOTED = "8.4 to 15 s and 0.97 GB are quoted for it, not measured here"


def main() -> None:
    """Each side in processes of its own, one after the other."""
    options = _options()
    if options.side == "ours":
        print(json.dumps(ours(options)))
        return
    sides = {"tinyfl": [sys.executable, __file__, "--side", "ours"]}
    if options.flower:
        sides["flower"] = [options.flower, str(Path(__file__).with_name("flower.py"))]
    sizes = [f"--{key}={getattr(options, key)}" for key in ("boards", "samples", "rounds", "batch")]
    results = {name: measured(name, [*command, *sizes]) for name, command in sides.items()}
    if options.json:
        print(json.dumps(results, indent=2))
        return
    print(f"{options.boards} boards, {(FEATURES + 1) * CLASSES} weights, {options.samples} samples, one epoch")
    for name, result in results.items():
        print(
            f"{name:8} first round {result['seconds'][0]:6.2f} s, then {result['median']:6.3f} s (median of "
            f"{len(result['seconds']) - 1}); {result['megabytes']:.0f} MB in {result['processes']} processes"
        )
    if "flower" in results:
        ours_, theirs = results["tinyfl"], results["flower"]
        print(
            f"ratio    {theirs['median'] / ours_['median']:.1f}x faster, "
            f"{theirs['megabytes'] / ours_['megabytes']:.1f}x less memory"
        )
    else:
        print(f"flower   not measured: give --flower a Python with flwr[simulation]; {QUOTED}")
    print("a board  " + ", ".join(f"{count:,} bytes of {what}" for what, count in results["tinyfl"]["bytes"].items()))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boards", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--batch", type=int, default=1, help="samples a step of Flower's clients")
    parser.add_argument("--flower", metavar="PYTHON", help="an interpreter that has flwr[simulation]")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--side", choices=["ours"], help=argparse.SUPPRESS)
    return parser.parse_args()


def measured(name: str, command: list[str]) -> dict[str, Any]:
    """The side's own figures (its last line), with the memory of all its processes."""
    environment = {**os.environ, MARK: f"{name}-{os.getpid()}", "PYTHONPATH": f"{ROOT}:{ROOT / 'host'}"}
    most, processes = 0, 0
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=log)
        while process.poll() is None:
            sizes = list(held(f"{MARK}={environment[MARK]}".encode()))
            most, processes = max((most, processes), (sum(sizes), len(sizes)))
            time.sleep(EVERY)
        out.seek(0)
        log.seek(0)
        if process.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n{log.read()[-3000:]}")
        figures = json.loads(out.read().strip().splitlines()[-1])
    seconds = figures["seconds"]
    return {
        **figures,
        "median": statistics.median(seconds[1:] or seconds),
        "megabytes": most / 1e6,
        "processes": processes,
    }


def held(mark: bytes) -> Iterator[int]:
    """Bytes of each process with this mark; shared pages count in parts. One that ends meanwhile is left out."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                lines = (folder / "smaps_rollup").read_text().splitlines()
                yield next(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue


def ours(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each round, and bytes a board."""
    from tinyfl_host.build import build_library
    from tinyfl_host.crew import Crew
    from tinyfl_host.fleet import Fleet, Member
    from tinyfl_host.plan import Plan
    from tinyfl_host.rounds import federated_round
    from tinyfl_host.runs import initial_models
    from tinyfl_host.sim import Simulation, map_images

    artifacts = _artifacts(ROOT / "build" / "bench-fleet")
    names = [f"b{i}" for i in range(options.boards)]
    images = map_images(((name, _image(name, i, options.samples)) for i, name in enumerate(names)), artifacts.folder)
    sim = Simulation(build_library(artifacts), artifacts.manifest, images)
    members = [Member(name, i, "sim") for i, name in enumerate(names)]
    plan = Plan(artifacts.head, _settings(options))
    models, seconds = initial_models(plan), []
    with Fleet(members, _never, _never, _never, sim=sim) as fleet, Crew(fleet, lambda event: None) as crew:
        for number in range(1, options.rounds + 1):
            crew.start_round(number)
            done = federated_round(crew, plan, models, number, lambda event: None)
            assert len(done.updates) == options.boards
            models = done.models
            seconds.append(done.seconds)
    memory = sim.memory()
    shared = {"embeddings": memory.cache_bytes, "mapped samples": memory.sample_bytes}
    each = {what: count // memory.boards for what, count in shared.items()}
    return {"seconds": seconds, "bytes": {"its own": memory.board_bytes, **each}}


def _never(*_: Any) -> Any:
    raise AssertionError("all boards are simulated")


def _settings(options: argparse.Namespace) -> Any:
    from tinyfl_host.settings import Settings

    return Settings(on="sim", boards=options.boards, rounds=options.rounds, epochs=1, rate=0.25, deadline=600.0)


def _artifacts(folder: Path) -> Any:
    """A model of one dense layer behind no backbone, compiled."""
    import numpy as np

    from tinyfl.compiler import compile_model
    from tinyfl_host.artifacts import Artifacts

    artifacts = Artifacts("fleet", folder, folder)
    compiled = compile_model(_model(), "fleet", _inputs(np.random.default_rng(0), 1000))
    artifacts.sources.mkdir(parents=True, exist_ok=True)
    for name, text in compiled.sources.items():
        (artifacts.sources / name).write_text(text)
    artifacts.tflite.write_bytes(_model())
    (folder / "model.json").write_text(json.dumps(compiled.manifest))
    return artifacts


def _model() -> bytes:
    import numpy as np

    sys.path.insert(0, str(ROOT / "tests"))
    from support_tflite import Op, T, write_tflite

    tensors = [
        T((1, FEATURES), [0.05], 0),
        T((CLASSES, FEATURES), [0.001], 0, np.zeros((CLASSES, FEATURES))),
        T((CLASSES,), [0.00005], 0, np.zeros(CLASSES), "int32"),
        T((1, CLASSES), [0.1], 0),
    ]
    return write_tflite(tensors, [Op("FULLY_CONNECTED", [0, 1, 2], [3], {})], [0], [3])


def _inputs(rng: Any, count: int) -> Any:
    import numpy as np

    return np.clip(np.rint(rng.normal(0, 30, (count, FEATURES))), -127, 127).astype(np.int8)


def _image(name: str, board: int, samples: int) -> bytes:
    """A teacher of the fleet's labels inputs of the board's own."""
    import numpy as np

    from tinyfl.image import build_image

    teacher, x = (
        np.random.default_rng(1).normal(size=(FEATURES, CLASSES)),
        _inputs(np.random.default_rng([2, board]), samples),
    )
    return build_image(x, (x @ teacher).argmax(axis=1), x[:0], [], name)


if __name__ == "__main__":
    main()

"""The server's own samples, for FLTrust: some of the lab's users, of all classes.

The backbone was trained on the lab's data too, but perhaps not on all classes; a server that knows nothing of a class
would distrust every board that learns it.
"""

from __future__ import annotations

import numpy as np

from tinyfl.errors import DataError
from tinyfl.federated.selection import draw
from tinyfl.federated.server import Lab
from tinyfl.reference import embed, quantize_input
from tinyfl_host.dataset import load_samples
from tinyfl_host.scenario import Scenario

SAMPLES = 200  # at most; Cao et al., FLTrust, NDSS 2021, take 100, with which noise hid liars on HAR
ROUND = 0  # of their draw: no selection of boards draws from it


def load_lab(scenario: Scenario, seed: int) -> Lab:
    """A draw of the training samples of the lab's users. Raises DataError where they have none."""
    recipe, graph = scenario.recipe, scenario.artifacts.graph
    data = load_samples(recipe)
    own = np.flatnonzero(np.isin(data.user, list(recipe.users.lab)) & ~data.test)
    if not len(own):
        raise DataError(
            f'{recipe.source}: aggregate = "fltrust" needs samples of the lab, there are none',
            "name users in [users] lab, or take another aggregate",
        )
    picked = own[list(draw(range(len(own)), SAMPLES, seed, ROUND))]
    x = data.x[picked].reshape(-1, *graph.tensor(graph.input).shape[1:])
    return Lab(embed(graph, quantize_input(graph, x)), tuple(data.y[picked].tolist()))

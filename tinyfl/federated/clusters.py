"""Boards that learn different things: which of them belong together.

Clusters are found twice. After the first round by the cosine of the boards' deltas (Sattler et al., Clustered
Federated Learning, 2019, section III), from then on by the boards: each measures the clusters' heads on its own samples
and trains the best (Ghosh et al., An Efficient Framework for Clustered Federated Learning, NeurIPS 2020, algorithm 1).
The second alone collapses where a start is unlucky; the first alone cannot mend itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tinyfl.errors import BoardError, ConfigError
from tinyfl.federated.update import Update

MOST = 8  # clusters: each costs a head on the way down to every board
Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


def check_clusters(clusters: int, boards: int) -> int:
    """The number itself; ConfigError where ``boards`` cannot be parted so."""
    if not 1 <= clusters <= min(MOST, boards):
        raise ConfigError(
            f"{clusters} clusters of {boards} boards, expected 1 to {min(MOST, boards)}", "mend clusters in the recipe"
        )
    return clusters


def check_chosen(cluster: int, clusters: int) -> int:
    """The board's choice itself; BoardError where it was not offered."""
    if not 0 <= cluster < clusters:
        raise BoardError(f"chose cluster {cluster}, {clusters} were offered (0 to {clusters - 1})")
    return cluster


def best(losses: Sequence[int]) -> int:
    """The cluster that a board keeps of those offered to it in this order: of equal losses the first."""
    return min(range(len(losses)), key=losses.__getitem__)


def parted(
    updates: Mapping[str, Update], chosen: Mapping[str, int], heads: int, clusters: int, scale: Int64 | int = 1
) -> dict[str, int]:
    """The cluster that each board's update belongs to: the one that the board chose of ``heads`` heads.

    While there is one head for all, they are found from the deltas of those that learned something, as soon as there
    are enough; till then, and for the others, it is 0. ``scale`` (P,): of the deltas, where tensors have several.
    """
    if heads > 1:
        return {name: chosen[name] for name in updates}
    labels = dict.fromkeys(updates, 0)
    learned = [name for name, update in updates.items() if update.samples and update.deltas.any()]
    if 1 < clusters <= len(learned):
        deltas = np.stack([updates[name].deltas * scale for name in learned])
        labels |= zip(learned, bootstrap(deltas, clusters), strict=True)
    return labels


def similarity(deltas: Int64) -> Float64:
    """Cosine of each pair of deltas (K, P); 0 where one is all zeros."""
    real = deltas.astype(np.float64)
    norms = np.sqrt((real * real).sum(axis=1))
    unit = real / np.where(norms > 0, norms, 1.0)[:, None]
    return np.asarray(unit @ unit.T, np.float64)


def bootstrap(deltas: Int64, clusters: int) -> tuple[int, ...]:
    """The cluster of each board from its first delta (K, P): the closest two groups merge until ``clusters`` are left.

    Closeness of groups is the mean cosine between their members. Clusters are numbered by their first board.
    """
    boards = len(deltas)
    check_clusters(clusters, boards)
    close = similarity(deltas)
    np.fill_diagonal(close, -np.inf)
    sizes, label = np.ones(boards), np.arange(boards)
    for _ in range(boards - clusters):
        a, b = sorted(divmod(int(np.argmax(close)), boards))
        merged = (sizes[a] * close[a] + sizes[b] * close[b]) / (sizes[a] + sizes[b])
        close[a], close[:, a] = merged, merged
        close[b], close[:, b], close[a, a] = -np.inf, -np.inf, -np.inf
        sizes[a] += sizes[b]
        label[label == b] = a
    names = {first: number for number, first in enumerate(dict.fromkeys(label.tolist()))}
    return tuple(names[first] for first in label.tolist())

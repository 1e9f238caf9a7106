"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747): ten kinds of clothes, 28x28 grey, dealt unevenly.

The images come from Debian's package dataset-fashion-mnist. Nobody owns them, so users are made: each draws how often
it sees each class from a Dirichlet distribution of 0.3 (Hsu, Qi, Brown 2019, arXiv:1909.06335). No image has two users.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tinyfl.errors import DataError

FOLDERS = (Path("/usr/share/datasets/fashion-mnist"), Path(__file__).parent / "files")
INSTALL = "apt-get install dataset-fashion-mnist, or put its four .gz files into models/fashion/files"
SHA256 = {  # of what is in the .gz files
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
CLASSES, SIDE = 10, 28
USERS, ALPHA, SEED = 24, 0.3, 1
LAB = "lab"
SPLITS = {"train": ("train", 1000, 200), "test": ("t10k", 200, 50)}  # file, images a class of the lab, images a user

UInt8 = npt.NDArray[np.uint8]
Order = dict[int, list[int]]


def samples() -> Iterator[tuple[npt.NDArray[np.float32], int, str, str]]:
    """(image (28, 28, 1) in 0..1, class, user, split): the lab's images first, then those of users "1" to "24"."""
    shares = np.random.RandomState(SEED).dirichlet([ALPHA] * CLASSES, USERS)  # frozen: every NumPy gives the same
    for split, (file, of_lab, of_user) in SPLITS.items():
        images, labels = _images(file), _labels(file)
        left: Order = {label: np.flatnonzero(labels == label).tolist() for label in range(CLASSES)}
        dealt = [(LAB, left[label].pop(0)) for label in range(CLASSES) for _ in range(of_lab)]
        dealt += [(str(user), i) for user, share in enumerate(shares, 1) for i in _own(share, of_user, left)]
        for user, i in dealt:
            yield images[i][:, :, None].astype(np.float32) / 255, int(labels[i]), user, split


def _own(share: npt.NDArray[np.float64], size: int, left: Order) -> list[int]:
    """The next ``size`` images of a user who sees each class as often as ``share`` says; taken out of ``left``."""
    counts = np.diff(np.round(np.cumsum([0.0, *share]) * size)).astype(int)
    return [left[label].pop(0) for label, count in enumerate(counts) for _ in range(count)]


def _images(name: str) -> UInt8:
    return _read(f"{name}-images-idx3-ubyte")[16:].reshape(-1, SIDE, SIDE)


def _labels(name: str) -> UInt8:
    return _read(f"{name}-labels-idx1-ubyte")[8:]


def _read(name: str) -> UInt8:
    file = next((folder / f"{name}.gz" for folder in FOLDERS if (folder / f"{name}.gz").is_file()), None)
    if file is None:
        raise DataError(f"{FOLDERS[0] / name}.gz: no such file: Fashion-MNIST is not installed", INSTALL)
    try:
        contents = gzip.decompress(file.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{file}: cannot be read: {error}", INSTALL) from error
    seen = hashlib.sha256(contents).hexdigest()
    if seen != SHA256[name]:
        raise DataError(f"{file}: SHA-256 of its contents is {seen}, expected {SHA256[name]}", INSTALL)
    return np.frombuffer(contents, np.uint8)

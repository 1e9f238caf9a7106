"""TensorFlow, imported late, quiet, and the same on every run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from typing import Any

from tinyfl.errors import ConfigError

INSTALL = "pip install -e '.[train]'"
# Keras 2 and the pruning package are none that pip could resolve there: tf-keras asks for a second TensorFlow.
INSTALL_NEWER = f"{INSTALL} && pip install --no-deps tf-keras==2.19.0 tensorflow-model-optimization==0.8.1"


def load_tensorflow(seed: int) -> Any:
    """The tensorflow module, seeded, with one thread and deterministic kernels; ConfigError where it is missing."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # its kernels round differently from one processor to the next
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    if sys.version_info >= (3, 12):
        os.environ["TF_USE_LEGACY_KERAS"] = "1"  # Keras 3 knows neither pruning nor fake quantisation
    tf = _import()
    tf.get_logger().setLevel("ERROR")
    tf.autograph.set_verbosity(0)
    _one_thread(tf)
    tf.keras.backend.clear_session()  # layer names count from one again: they stand in the .tflite
    tf.keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    return tf


def load_optimization() -> Any:
    """The tensorflow_model_optimization module; ConfigError where it is missing."""
    try:
        import tensorflow_model_optimization as tfmot
    except ImportError as error:
        raise _missing("tensorflow-model-optimization", error) from error
    return tfmot


def versions() -> dict[str, str]:
    """Versions of what decides the bytes of a trained model."""
    import numpy as np
    import tensorflow as tf

    optimization = importlib.metadata.version("tensorflow-model-optimization")
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "tensorflow": tf.__version__,
        "tensorflow-model-optimization": optimization,
    }


def _import() -> Any:
    try:
        import tensorflow as tf
    except ImportError as error:
        raise _missing("TensorFlow", error) from error
    load_optimization()  # before minutes of training
    return tf


def _missing(package: str, error: ImportError) -> ConfigError:
    line = INSTALL if sys.version_info < (3, 12) else INSTALL_NEWER
    return ConfigError(f"training needs {package}: {error}", line)


def _one_thread(tf: Any) -> None:
    threading = tf.config.threading
    if threading.get_intra_op_parallelism_threads() != 1:
        threading.set_intra_op_parallelism_threads(1)  # sums over several threads would round differently
        threading.set_inter_op_parallelism_threads(1)

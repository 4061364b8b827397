"""Pictures of analyses in TensorBoard, Weights & Biases and the other backends of mmengine."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.visualization import Visualizer
from PIL import Image


def add_to_backends(
    config: Config, pictures: Mapping[str, str | Path | Figure], save_dir: str | Path
) -> None:
    """Add pictures to the backends of the config's visualizer.

    Nothing is done where it has but ``LocalVisBackend``: the pictures are files already.

    Args:
        config: whose ``visualizer`` is used, with the other backends of its ``vis_backends``.
        pictures: names to files of pictures, or to figures.
        save_dir: where backends that write files leave them.
    """
    visualizer = config.get('visualizer') or {}
    backends = visualizer.get('vis_backends') or config.get('vis_backends') or []
    backends = [backends] if isinstance(backends, Mapping) else backends
    others = [one for one in backends if 'LocalVisBackend' not in str(one.get('type'))]
    if not others or not pictures:
        return
    # That of a Runner in this process may have been closed.
    name = f'lt_mm {Path(save_dir).resolve()}'
    shared = Visualizer.get_instance(name, vis_backends=deepcopy(others), save_dir=str(save_dir))
    for name, picture in pictures.items():
        shared.add_image(name, pixels_of(picture))
    # Writers of TensorBoard keep what was added for up to two minutes.
    shared.close()


def pixels_of(picture: str | Path | Figure) -> np.ndarray:
    """Pixels of a picture.

    Args:
        picture: a file or a figure.

    Returns:
        (H, W, 3) uint8, on white.
    """
    if isinstance(picture, Figure):
        canvas = FigureCanvasAgg(picture)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()
    with Image.open(picture) as file:
        return np.asarray(file.convert('RGB'))

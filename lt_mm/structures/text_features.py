"""Features of texts about each class, and the file that holds them."""

import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

_REMEDY = 'make it with tools/dataset_converters/text_features.py'


class TextFeatures(NamedTuple):
    """Features of the texts of every class; classes may have different numbers of texts."""

    features: Tensor
    """(K, D) floating point, those of class 0 first."""
    lengths: Tensor
    """(C,) int64, number of texts of each class, at least 1; they sum to K."""
    class_names: tuple[str, ...]
    """C names, or none."""

    def save(self, path: str | os.PathLike) -> None:
        """Write an .npz file, making the folder if need be.

        It holds ``features`` (C, P, D) with zeros after the texts of a class that has fewer than
        P, ``lengths`` (C,) and ``class_names`` (C,).

        Args:
            path: where to write; the name ends in .npz.
        """
        padded = pad_sequence(self.features.split(self.lengths.tolist()), batch_first=True)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            path,
            features=padded.cpu().numpy(),
            lengths=self.lengths.cpu().numpy(),
            class_names=np.array(self.class_names, dtype=np.str_),
        )

    @classmethod
    def load(cls, path: str | os.PathLike) -> 'TextFeatures':
        """Read a file that :meth:`save` wrote, or one of the same arrays; no code is run.

        Args:
            path: an .npz file with ``features`` (C, P, D) of any floating dtype. ``lengths``
                defaults to P for each class, ``class_names`` to none.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is of another kind, arrays do not fit together, or a feature is not
                finite.
        """
        path = Path(path).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"text features '{path}' do not exist; {_REMEDY}.")
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            features = arrays['features']
        except (ValueError, TypeError, OSError, EOFError, KeyError, zipfile.BadZipFile) as err:
            raise ValueError(
                f"'{path}' is no .npz file of text features ({type(err).__name__}: {err}); "
                f'{_REMEDY}.'
            ) from err
        lengths = arrays.get('lengths', np.full(features.shape[:1], features.shape[1:2] or 0))
        names = tuple(arrays.get('class_names', np.array([], dtype=np.str_)).tolist())
        fault = _fault(features, lengths, names)
        if fault:
            raise ValueError(f"text features '{path}': {fault}; {_REMEDY}.")
        lengths = torch.from_numpy(lengths.astype(np.int64))
        features = torch.from_numpy(features)
        used = torch.arange(features.shape[1]) < lengths[:, None]
        return cls(features[used], lengths, names)


def _fault(features: np.ndarray, lengths: np.ndarray, names: tuple[str, ...]) -> str | None:
    """What is wrong with the arrays, if anything."""
    if features.ndim != 3 or features.size == 0 or features.dtype.kind != 'f':
        return (
            f'features of shape {features.shape} and dtype {features.dtype} are not (C, P, D) '
            'floating point'
        )
    num_classes, most, _ = features.shape
    if lengths.shape != (num_classes,) or lengths.dtype.kind not in 'iu':
        return f'lengths of shape {lengths.shape} are not one integer for each of {num_classes}'
    wrong = np.flatnonzero((lengths < 1) | (lengths > most))
    if len(wrong):
        return f'class {wrong[0]} has {lengths[wrong[0]]} texts, not 1 to {most}'
    if len(names) not in (0, num_classes):
        return f'{len(names)} class_names are not one for each of {num_classes} classes'
    # What is beyond a class's length is never used.
    used = np.arange(most) < lengths[:, None]
    wrong = np.flatnonzero((used & ~np.isfinite(features).all(2)).any(1))
    if len(wrong):
        return f'a feature of class {wrong[0]} is not finite'
    return None

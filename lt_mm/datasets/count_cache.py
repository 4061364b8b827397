"""A file of class counts of many maps that knows whether it still holds."""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
from mmengine.logging import print_log
from scipy import sparse


@dataclass(frozen=True)
class FileState:
    """What tells a file from another one, and from itself before it was written anew."""

    path: str
    size: int | None = None
    modified: int | None = None

    @classmethod
    def of(cls, path: str, is_local: bool) -> 'FileState':
        """Look a file up.

        Args:
            path (str): Where it is.
            is_local (bool): Whether it is a file of this machine; of another, only its path counts.
        """
        if not is_local:
            return cls(path)
        path = os.path.abspath(path)
        try:
            state = os.stat(path)
        except OSError:
            # Reading it will say what is wrong.
            return cls(path)
        return cls(path, state.st_size, state.st_mtime_ns)


class CountCache:
    """A file that holds the pixels of each class in each of some maps, and knows if it is stale.

    It is called ``<cache_dir>/<name>_<hash>.npz`` by what decides the counts but the content of the
    maps: their absolute paths and how labels are read. What it holds is taken if the size and the
    time of change of every map are those it was made with; maps behind a remote file backend are
    known by their path alone. A file that is stale, damaged or of another kind is made anew. Where
    none can be written, a warning says so and counts are not kept.

    Args:
        cache_dir (str | PathLike): The folder, made if need be.
        name (str): First part of the file's name.
        states (Sequence[FileState]): Of the maps, in the order of the rows.
        reading (str): Whatever else decides the counts.
        num_classes (int): C.
    """

    def __init__(
        self,
        cache_dir: str | os.PathLike,
        name: str,
        states: Sequence[FileState],
        reading: str,
        num_classes: int,
    ) -> None:
        self.name = name
        self.shape = (len(states), num_classes)
        key = _digest(reading, num_classes, [state.path for state in states])
        self.path = Path(cache_dir) / f'{name}_{key[:12]}.npz'
        self.fingerprint = _digest(reading, num_classes, states)

    def get(self, count: Callable[[], sparse.csr_array]) -> sparse.csr_array:
        """Read the counts, or count and write them.

        Args:
            count (Callable[[], csr_array]): Counts the maps.

        Returns:
            csr_array: Shape (number of maps, C), int64.
        """
        table = self._read()
        if table is None:
            table = count()
            self._write(table)
        return table

    def _read(self) -> sparse.csr_array | None:
        try:
            with np.load(self.path, allow_pickle=False) as file:
                fingerprint = str(file['fingerprint'])
                parts = file['data'], file['indices'], file['indptr']
            table = sparse.csr_array(parts, shape=self.shape)
            table.check_format(full_check=True)
            if table.dtype != np.int64 or (table.data <= 0).any():
                raise ValueError('not whole numbers above 0')
            made = datetime.fromtimestamp(self.path.stat().st_mtime)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Exception as error:  # Whatever a file of that name may be, counting is the cure.
            self._log(f'{self.path} is no file of counts ({error}): counted anew', logging.WARNING)
            return None
        if fingerprint != self.fingerprint:
            self._log(f'maps have changed since {self.path} was made, {made:%c}: counted anew')
            return None
        self._log(f'read from {self.path}, made {made:%c}')
        return table

    def _write(self, table: sparse.csr_array) -> None:
        # It appears complete or not at all, for runs that start at once; numpy insists on .npz.
        partial = self.path.with_name(f'{self.path.stem}.{uuid4().hex}.part.npz')
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                np.savez_compressed(
                    partial,
                    fingerprint=np.array(self.fingerprint),
                    data=table.data,
                    indices=table.indices,
                    indptr=table.indptr,
                )
                partial.replace(self.path)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            self._log(
                f'counted, but not kept for other runs, because {self.path} cannot be written '
                f'({error})',
                logging.WARNING,
            )
        else:
            self._log(f'counted, and kept for other runs as {self.path}')

    def _log(self, message: str, level: int = logging.INFO) -> None:
        print_log(f'Class counts of {self.name}: {message}', logger='current', level=level)


def _digest(*values: object) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()

"""A file of class counts of many maps that knows whether it still holds."""

import hashlib
import logging
import os
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
from mmengine.logging import print_log
from scipy import sparse

# A file written so long ago cannot be written again without another time of change: the clocks of
# file systems go by up to two seconds.
SETTLED_NS = 3 * 10**9


@dataclass(frozen=True)
class FileState:
    """What tells a file from another one, and from itself before it was written anew.

    Args:
        path (str): Where it is.
        size (int, optional): Bytes. Defaults to None, unknown.
        modified (int, optional): When its content was written, in ns. Copies may keep it.
        changed (int, optional): When the file system last touched it, in ns. Nothing keeps it.
        is_settled (bool): Whether another writing will show in the times; not so for a moment
            after a file was written, and then its content has to tell. Defaults to True.
    """

    path: str
    size: int | None = None
    modified: int | None = None
    changed: int | None = None
    is_settled: bool = field(default=True, compare=False, repr=False)

    @classmethod
    def of(cls, path: str, is_local: bool) -> 'FileState':
        """Look a file up.

        Args:
            path (str): Where it is.
            is_local (bool): Whether it is a file of this machine; of another, only its path counts.

        Raises:
            ValueError: If it is a folder, a pipe or a device.
        """
        if not is_local:
            return cls(path)
        path = os.path.abspath(path)
        try:
            state = os.stat(path)
        except OSError:
            # Reading it will say what is wrong.
            return cls(path)
        if not stat.S_ISREG(state.st_mode):
            # Reading a pipe or a device might never end.
            raise ValueError(
                f"'{path}' is no file but a {_KINDS.get(stat.S_IFMT(state.st_mode), 'device')}: "
                'give a folder of maps, or take this entry out of the list'
            )
        latest = max(state.st_mtime_ns, state.st_ctime_ns)
        settled = latest < time.time_ns() - SETTLED_NS
        return cls(path, state.st_size, state.st_mtime_ns, state.st_ctime_ns, settled)

    def content(self) -> str:
        """Digest of what the file holds; '' if it cannot be read."""
        try:
            with open(self.path, 'rb') as file:
                return hashlib.file_digest(file, 'blake2b').hexdigest()[:32]
        except OSError:
            return ''


class CountCache:
    """A file that holds the pixels of each class in each of some maps, and knows if it is stale.

    It is called ``<cache_dir>/<name>_<hash>.npz`` by what decides the counts but the content of the
    maps: their absolute paths and how labels are read. What it holds is taken if the size and the
    times of change of every map are those it was made with; of maps that were written within the
    last seconds before they were counted, which times may not tell from later ones, the content
    has to be the same too. Maps behind a remote file backend are known by their path alone. A file
    that is stale, damaged or of another kind is made anew. Where none can be written, a warning
    says so and counts are not kept.

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
        self.states = states
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
            # Looked at before they are counted: what is written meanwhile is counted next time.
            recent = [row for row, state in enumerate(self.states) if not state.is_settled]
            contents = self._contents(recent)
            table = count()
            self._write(table, recent, contents)
        return table

    def _contents(self, rows: Sequence[int]) -> str:
        return _digest([self.states[row].content() for row in rows])

    def _read(self) -> sparse.csr_array | None:
        try:
            with np.load(self.path, allow_pickle=False) as file:
                fingerprint = str(file['fingerprint'])
                parts = file['data'], file['indices'], file['indptr']
                recent, contents = file['recent'].tolist(), str(file['contents'])
            table = sparse.csr_array(parts, shape=self.shape)
            table.check_format(full_check=True)
            if table.dtype != np.int64 or (table.data <= 0).any():
                raise ValueError('not whole numbers above 0')
            if not set(recent) <= set(range(len(self.states))):
                raise ValueError('not of these maps')
            made = datetime.fromtimestamp(self.path.stat().st_mtime)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Exception as error:  # Whatever a file of that name may be, counting is the cure.
            self._log(f'{self.path} is no file of counts ({error}): counted anew', logging.WARNING)
            return None
        if fingerprint != self.fingerprint or contents != self._contents(recent):
            self._log(f'maps have changed since {self.path} was made, {made:%c}: counted anew')
            return None
        self._log(f'read from {self.path}, made {made:%c}')
        return table

    def _write(self, table: sparse.csr_array, recent: Sequence[int], contents: str) -> None:
        # It appears complete or not at all, for runs that start at once; numpy insists on .npz.
        partial = self.path.with_name(f'{self.path.stem}.{uuid4().hex}.part.npz')
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                np.savez_compressed(
                    partial,
                    fingerprint=np.array(self.fingerprint),
                    recent=np.array(recent, dtype=np.int64),
                    contents=np.array(contents),
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


_KINDS = {
    stat.S_IFDIR: 'folder',
    stat.S_IFIFO: 'pipe',
    stat.S_IFSOCK: 'socket',
}


def _digest(*values: object) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()

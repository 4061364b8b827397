"""Checkpoints on disk: written whole or not at all, and found again after whatever happened."""

import os
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.fileio import LocalBackend, register_backend

from lt_mm.checkpoints import CodeInCheckpointError, read_checkpoint

LAST = 'last_checkpoint'
# How the names of half-written files end.
DRAFT = '.part'
_TEMPLATES = ('epoch_{}.pth', 'iter_{}.pth')


def write_whole(path: str | os.PathLike, content: bytes) -> None:
    """Write a file so that its name stands for its old content or for the new one, never for less.

    Args:
        path: of the file; what was there is replaced once ``content`` is on the disk.
        content: of the file.

    Raises:
        OSError: if that is not possible, with the file's name; the half-written file is removed.
    """
    path = Path(path)
    draft = path.with_name(path.name + DRAFT)
    try:
        with open(draft, 'wb') as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError):
            # The disk that is full names no file.
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Let the new name outlast a power cut, where the system can do that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


class WholeFileBackend(LocalBackend):
    """mmengine's backend of local files, with files that are written whole or not at all."""

    def put(self, obj: bytes, filepath: str | os.PathLike) -> None:
        """Write bytes to a file; its folder is made if it is missing. See :func:`write_whole`."""
        Path(filepath).parent.mkdir(parents=True, exist_ok=True)
        write_whole(filepath, obj)


register_backend('lt_mm.whole_files', WholeFileBackend, force=True)


def checkpoint_folder(work_dir: str | os.PathLike, out_dir: str | os.PathLike | None) -> str:
    """Where mmengine's checkpoint hook saves.

    Args:
        work_dir: of the run.
        out_dir: of the hook: it saves in a folder called like the work dir there.
    """
    work_dir = os.path.abspath(work_dir)
    if out_dir is None or os.path.abspath(out_dir) == work_dir:
        return work_dir
    return os.path.join(out_dir, os.path.basename(work_dir))


def saving_of(cfg: Config) -> dict[str, Any]:
    """Where the checkpoint hook of a config saves: keywords of :func:`last_checkpoint`.

    Args:
        cfg: with ``work_dir`` set.
    """
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    folder = checkpoint_folder(cfg.work_dir, hook.get('out_dir'))
    return dict(work_dir=cfg.work_dir, folder=folder, template=hook.get('filename_tmpl'))


def last_checkpoint(
    work_dir: str | os.PathLike,
    folder: str | os.PathLike | None = None,
    template: str | None = None,
) -> str | None:
    """The checkpoint that a run saved last, as far as names tell; none is read.

    Args:
        work_dir: of the run; it may have been moved or copied.
        folder: of its checkpoints. Default: None, the work dir.
        template: ``filename_tmpl`` of the checkpoint hook. Default: None, those of mmengine.

    Returns:
        Path or address; None if there is no checkpoint.
    """
    named, _ = _named_as_last(work_dir)
    if named is not None:
        return named
    lists = _numbered(folder or work_dir, template)
    newest = [next(filter(os.path.isfile, files), None) for files in lists]
    # Of two kinds of names, the younger file.
    return max(filter(None, newest), key=os.path.getmtime, default=None)


def resumable_checkpoint(
    work_dir: str | os.PathLike,
    folder: str | os.PathLike | None = None,
    template: str | None = None,
) -> tuple[str | None, list[str]]:
    """The newest checkpoint of a run that can be read, by the iteration it was saved at.

    That may be another one than ``last_checkpoint`` names: a run can be killed before it writes
    that. A checkpoint of a later iteration that was saved earlier is of a former run in the folder.

    Args:
        work_dir: of the run; it may have been moved or copied.
        folder: of its checkpoints. Default: None, the work dir.
        template: ``filename_tmpl`` of the checkpoint hook. Default: None, those of mmengine.

    Returns:
        Path or address, and for each thing that was passed over, its name and why. The path is
        None if the run has saved nothing yet.

    Raises:
        ValueError: if there are checkpoints and none can be read, ``last_checkpoint`` names one
            that is not there and there is no other, or the newest could run code.
    """
    named, passed_over = _named_as_last(work_dir)
    if named is not None and '://' in named:
        return named, []
    lists = [*_numbered(folder or work_dir, template), [named] if named else []]
    seen: dict[str, tuple[str, int] | None] = {}
    for files in lists:
        for file in files:
            if file not in seen:
                try:
                    seen[file] = _moment(file)
                except CodeInCheckpointError:
                    raise
                except (OSError, ValueError, MemoryError, zipfile.BadZipFile) as error:
                    seen[file] = None
                    passed_over.append(f'{file}: {error}')
            if seen[file] is not None:
                break
    readable = {file: moment for file, moment in seen.items() if moment is not None}
    best = max(readable, key=readable.get, default=None)
    passed_over += [
        f'{file}: it was saved before {best}, by an earlier run'
        for file, moment in readable.items()
        if moment[1] > readable[best][1]
    ]
    if best is None and passed_over:
        raise ValueError(
            f'No checkpoint in {folder or work_dir} can be resumed from '
            f'({"; ".join(passed_over)}): bring one back, or delete what is named here to begin '
            'from the start.'
        )
    return best, passed_over


def remove_drafts(folders: Sequence[str | os.PathLike]) -> list[str]:
    """Delete the half-written checkpoints that a killed run has left.

    Args:
        folders: where to look.

    Returns:
        Their paths.
    """
    drafts = {
        str(draft)
        for folder in folders
        for pattern in (f'*.pth{DRAFT}', f'{LAST}{DRAFT}')
        for draft in Path(folder).glob(pattern)
    }
    for draft in drafts:
        Path(draft).unlink(missing_ok=True)
    return sorted(drafts)


def _numbered(folder: str | os.PathLike, template: str | None) -> list[list[str]]:
    """For each kind of name, the paths in ``folder``, from the highest number."""
    folder = os.path.abspath(folder)
    names = os.listdir(folder) if os.path.isdir(folder) else []
    lists = []
    for known in _TEMPLATES if template is None else (template,):
        pattern = re.escape(known).replace(r'\{\}', r'(\d+)')
        numbers = {name: match[1] for name in names if (match := re.fullmatch(pattern, name))}
        ordered = sorted(numbers, key=lambda name, numbers=numbers: -int(numbers[name]))
        lists.append([os.path.join(folder, name) for name in ordered])
    return lists


def _named_as_last(work_dir: str | os.PathLike) -> tuple[str | None, list[str]]:
    """What ``last_checkpoint`` names, and why it names nothing that is there."""
    file = os.path.join(os.path.abspath(work_dir), LAST)
    if not os.path.lexists(file):
        return None, []
    try:
        content = Path(file).read_text(errors='replace').strip()
    except OSError as error:
        return None, [f'{file}: {error}']
    if not content:
        return None, [f'{file}: it is empty']
    if '://' in content:
        return content, []
    # A work dir that was copied must not go on from the checkpoints of the other one.
    for path in (
        os.path.join(os.path.dirname(file), os.path.basename(content)),
        os.path.join(os.path.dirname(file), content),
    ):
        if os.path.isfile(path):
            return path, []
    return None, [f'{file}: it names {content[:200]!r}, which is not there']


def _moment(file: str) -> tuple[str, int]:
    """When a checkpoint was saved: time of day, to the second, and iteration.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is damaged, or holds no state of a training.
    """
    if not os.path.isfile(file):
        raise OSError('it is no file')
    # torch does not compare the sums that it writes.
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f'it is damaged, its {damaged} has another sum than it was saved with')
    content = read_checkpoint(file)
    try:
        if content.keys() >= {'state_dict', 'message_hub', 'meta'} and 'epoch' in content['meta']:
            return str(content['meta'].get('time', '')), int(content['meta']['iter'])
    except (TypeError, KeyError, AttributeError, ValueError):
        pass
    raise ValueError('it holds no state of a training')

"""The weights in a checkpoint, read without running what else it holds; which a network needs."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.dist import barrier, get_rank
from mmengine.fileio import get_file_backend
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as loaders
from torch import Tensor
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

# How names of weights begin that predict nothing: of auxiliary heads, of the momentum encoder and,
# anywhere in a head, of its losses. The contrast was called gml before.
TRAINING_ONLY = re.compile(
    r'(auxiliary_head|key_encoder|'
    r'(decode_)?head\.(.+\.)?(loss_decode|loss_module|contrast|gml|distillation|interplay))\.'
)


# A checkpoint that names other types than those below is read where this is set to 1.
TRUST = 'LT_MM_TRUST_CHECKPOINT'
_SWITCHES = ('TORCH_FORCE_WEIGHTS_ONLY_LOAD', 'TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD')
_trusted = False


class CodeInCheckpointError(ValueError):
    """A checkpoint names what could run code."""


class _Unread:
    """In place of what a checkpoint refers to and nothing needs."""

    def __setstate__(self, state: Any) -> None: ...


def _method_of_history(owner: Any, name: str) -> Any:
    """What ``getattr`` is for in a checkpoint: histories of logged values name their methods.

    getattr itself leads far: by way of a function to the globals of its module.
    """
    known = owner is HistoryBuffer and name in ('min', 'max', 'current', 'mean')
    return getattr(owner, name) if known else _Unread()


def _named(path: str, function: Callable) -> Callable:
    """A function that torch finds under a name of its own."""

    def named(*args: Any) -> Any:
        return function(*args)

    named.__module__, _, named.__qualname__ = path.rpartition('.')
    named.__name__ = named.__qualname__
    return named


# What mmengine's Runner saves beside tensors and plain Python: histories of logged values, parts of
# a config and NumPy's numbers. Some names depend on the versions that wrote the file.
_ALLOWED = [
    HistoryBuffer,
    ConfigDict,
    *(_named(f'{module}.getattr', _method_of_history) for module in ('builtins', '__builtin__')),
    *(
        _named(f'{module}.{kind.__name__}', kind)
        for kind in (slice, range, complex, set, frozenset, bytearray)
        for module in ('builtins', '__builtin__')
    ),
    np.ndarray,
    np.dtype,
    *{type(np.dtype(code)) for code in np.typecodes['All']},
    # NumPy has no public name for the functions that its pickles call.
    *(
        _named(f'{core}.multiarray.{name}', value.__reduce__()[0])
        for core in ('numpy.core', 'numpy._core')
        for name, value in (('_reconstruct', np.zeros(1)), ('scalar', np.float64(1)))
    ),
]


def trust_checkpoints(trusted: bool = True) -> None:
    """Let checkpoints run the code they bring, in this process: ``--trust-checkpoint`` of tools.

    Args:
        trusted: whether from now on they may. The environment variable
            ``LT_MM_TRUST_CHECKPOINT=1`` allows it whatever is said here.
    """
    global _trusted
    _trusted = trusted


def trust_of_children() -> dict[str, str]:
    """What to set in the environment of processes that trust what this one does."""
    return {TRUST: '1'} if _trusts() else {}


def read_safely_everywhere() -> None:
    """Let mmengine read each checkpoint as :func:`read_checkpoint` does, from wherever it comes.

    ``load_from``, ``resume``, ``init_cfg``, the inferencers and ``init_model`` of the mm packages
    all ask mmengine's ``CheckpointLoader``, which runs what a file brings. Importing lt_mm is
    enough, because a component may be used with the tools of any package.
    """
    for prefixes, loader, reader in (
        ('', loaders.load_from_local, read_checkpoint),
        (('http://', 'https://'), loaders.load_from_http, read_checkpoint),
        ((r'(\S+\:)?s3://', r'(\S+\:)?petrel://'), loaders.load_from_ceph, read_checkpoint),
        ('pavi://', loaders.load_from_pavi, None),
        (('modelzoo://', 'torchvision://'), loaders.load_from_torchvision, None),
        (('open-mmlab://', 'openmmlab://'), loaders.load_from_openmmlab, None),
        ('mmcls://', loaders.load_from_mmcls, None),
    ):
        CheckpointLoader.register_scheme(prefixes, _without_code(loader, reader), force=True)


def _without_code(loader: Callable, reader: Callable | None) -> Callable:
    """A loader of mmengine that runs nothing of the file; its name is kept, which is logged."""

    @wraps(loader)
    def load(filename: str, map_location: Any = None, **kwargs: Any) -> Any:
        if reader is not None and not kwargs:
            return reader(filename, map_location)
        with _allow():
            try:
                return loader(filename, map_location=map_location, **kwargs)
            except UnpicklingError as error:
                raise _refusal(filename, error) or error from error

    return load


def load_weights(checkpoint: str | os.PathLike) -> dict[str, Tensor]:
    """Weights of a checkpoint as mmengine, mmsegmentation or ``torch.save`` wrote it.

    Args:
        checkpoint: see :func:`read_checkpoint`.

    Returns:
        Names to tensors on the CPU, without the prefix 'module.' of a parallel model.

    Raises:
        FileNotFoundError: if it is a path to nothing.
        ConnectionError: if it cannot be downloaded.
        ValueError: if the file is damaged, holds no weights, or could run code when loaded.
    """
    content = read_checkpoint(checkpoint)
    weights = content.get('state_dict', content) if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()
    ):
        raise ValueError(
            f'checkpoint {checkpoint!r} holds no weights; give a file with the state_dict '
            'of a model, alone or under the key "state_dict".'
        )
    consume_prefix_in_state_dict_if_present(weights, 'module.')
    return weights


def read_checkpoint(checkpoint: str | os.PathLike, map_location: Any = 'cpu') -> Any:
    """What a checkpoint holds.

    Nothing the file names is imported or called but what mmengine saves, so a file of unknown
    origin is safe to read, unless it is said to be trusted (:func:`trust_checkpoints`). Types that
    were given to ``torch.serialization.add_safe_globals`` are read, too. Of a distributed run, one
    process on each machine downloads an http(s) address.

    Args:
        checkpoint: a path, or an address that ``torch.hub`` or a file backend of mmengine reads.
        map_location: see ``torch.load``.

    Raises:
        FileNotFoundError: if it is a path to nothing.
        ConnectionError: if it cannot be downloaded.
        ValueError: if the file is damaged, or could run code when loaded.
    """
    checkpoint = os.fspath(checkpoint)
    read = _read_address if '://' in checkpoint else _read_file
    return read(checkpoint, map_location)


def _read_file(path: str, map_location: Any) -> Any:
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(
            f'checkpoint {path!r} does not exist; pass the path or URL of a trained model.'
        )
    with _safely(path, 'it'):
        return torch.load(file, map_location=map_location, weights_only=not _trusts())


def _read_address(address: str, map_location: Any) -> Any:
    if address.startswith(('http://', 'https://')):
        return _download_once_a_machine(address, map_location)
    try:
        backend = get_file_backend(address)
    except KeyError as error:
        raise ValueError(
            f'checkpoint {address!r} is an address of a kind that cannot be read; pass a '
            'path or an http(s) URL.'
        ) from error
    with backend.get_local_path(address) as path, _safely(address, 'the file'):
        return torch.load(path, map_location=map_location, weights_only=not _trusts())


def _download_once_a_machine(url: str, map_location: Any) -> Any:
    """The first process of each machine downloads; the others find the file in torch's cache."""
    try:
        if int(os.environ.get('LOCAL_RANK', get_rank())) == 0:
            return _download(url, map_location)
    finally:
        # Also after a failure, lest the others wait for ever.
        barrier()
    return _download(url, map_location)


def _download(url: str, map_location: Any) -> Any:
    copy = f'its copy in {Path(torch.hub.get_dir()) / "checkpoints"}'
    try:
        with _safely(url, copy):
            return torch.hub.load_state_dict_from_url(
                url, map_location=map_location, weights_only=not _trusts()
            )
    except OSError as error:
        raise ConnectionError(
            f'checkpoint {url!r} could not be downloaded ({error}); check the URL and the '
            'network, or download it by hand and pass its path.'
        ) from error


@contextmanager
def _safely(source: str, file: str) -> Iterator[None]:
    """Say what keeps torch from reading, and which file to delete."""
    try:
        with _allow():
            yield
    except OSError:
        raise
    except Exception as error:
        raise _refusal(source, error) or ValueError(
            f'checkpoint {source!r} cannot be read as a checkpoint of PyTorch, perhaps '
            f'because it is damaged or cut off; delete {file} and copy, download or save it again '
            f'({type(error).__name__}: {str(error):.200}).'
        ) from error


def _refusal(source: str, error: Exception) -> CodeInCheckpointError | None:
    """What to say of a file that torch refuses for what it names; None for any other error."""
    wanted = re.search(
        r'GLOBAL ([\w.]+)|unrecognized function (.+)|[Cc]an only .+ but got (.+)', str(error)
    )
    if wanted is None or not isinstance(error, UnpicklingError):
        return None
    return CodeInCheckpointError(
        f'checkpoint {source!r} needs {next(filter(None, wanted.groups()))!r} imported, which '
        'could run code that the file brings; where you trust it, pass --trust-checkpoint to a '
        f"tool of lt_mm or set {TRUST}=1 for another's, or load it once and save "
        "{'state_dict': ...} alone."
    )


def _trusts() -> bool:
    return _trusted or os.environ.get(TRUST) == '1'


@contextmanager
def _allow() -> Iterator[None]:
    """Let torch read what mmengine saves and other code has allowed, and nothing else."""
    if _trusts():
        yield
        return
    before = torch.serialization.get_safe_globals()
    ours = {_path(kind) for kind in _ALLOWED}
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(
        _ALLOWED + [kind for kind in before if _path(kind) not in ours]
    )
    switches = {name: os.environ.pop(name, None) for name in _SWITCHES}
    # Loaders of mmengine ask torch for everything when they are refused.
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'
    try:
        yield
    finally:
        os.environ.pop('TORCH_FORCE_WEIGHTS_ONLY_LOAD')
        os.environ.update({name: value for name, value in switches.items() if value is not None})
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _path(kind: Any) -> str:
    """Under which name torch allows an entry of its list."""
    return kind[1] if isinstance(kind, tuple) else f'{kind.__module__}.{kind.__qualname__}'

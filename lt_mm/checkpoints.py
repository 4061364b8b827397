"""The weights in a checkpoint, read without running what else it holds; which a network needs."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.dist import barrier, get_rank
from mmengine.fileio import get_file_backend
from torch import Tensor
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

# How names of weights begin that predict nothing: of auxiliary heads, of the momentum encoder and,
# anywhere in a head, of its losses. The contrast was called gml before.
TRAINING_ONLY = re.compile(
    r'(auxiliary_head|key_encoder|'
    r'(decode_)?head\.(.+\.)?(loss_decode|loss_module|contrast|gml|distillation|interplay))\.'
)


class _Unread:
    """In place of an object that a training state holds and a network does not need."""

    def __init__(self, *args: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def _stand_in(path: str) -> type[_Unread]:
    module, _, name = path.rpartition('.')
    return type(name, (_Unread,), {'__module__': module})


# What mmengine's Runner saves beside the weights: histories of logged values (which refer to
# their methods by getattr) and NumPy numbers. mmengine's own list allows these very functions;
# getattr alone leads far, so here nothing of the name is called.
_STAND_INS = [
    _stand_in(path)
    for path in (
        'mmengine.logging.history_buffer.HistoryBuffer',
        'builtins.getattr',
        '__builtin__.getattr',
        'builtins.slice',
        '__builtin__.slice',
        'numpy.ndarray',
        'numpy.dtype',
        'numpy.core.multiarray._reconstruct',
        'numpy.core.multiarray.scalar',
        'numpy._core.multiarray._reconstruct',
        'numpy._core.multiarray.scalar',
    )
]


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


def read_checkpoint(checkpoint: str | os.PathLike) -> Any:
    """What a checkpoint holds, onto the CPU, with stand-ins for what only training needs.

    Nothing the file names is imported or called, so a file of unknown origin is safe to read.
    Of a distributed run, one process on each machine downloads an http(s) address.

    Args:
        checkpoint: a path, or an address that ``torch.hub`` or a file backend of mmengine reads.

    Raises:
        FileNotFoundError: if it is a path to nothing.
        ConnectionError: if it cannot be downloaded.
        ValueError: if the file is damaged, or could run code when loaded.
    """
    checkpoint = os.fspath(checkpoint)
    return _read_address(checkpoint) if '://' in checkpoint else _read_file(checkpoint)


def _read_file(path: str) -> Any:
    file = Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(
            f'checkpoint {path!r} does not exist; pass the path or URL of a trained model.'
        )
    with _safely(path, 'it'):
        return torch.load(file, map_location='cpu', weights_only=True)


def _read_address(address: str) -> Any:
    if address.startswith(('http://', 'https://')):
        return _download_once_a_machine(address)
    try:
        backend = get_file_backend(address)
    except KeyError as error:
        raise ValueError(
            f'checkpoint {address!r} is an address of a kind that cannot be read; pass a '
            'path or an http(s) URL.'
        ) from error
    with backend.get_local_path(address) as path, _safely(address, 'the file'):
        return torch.load(path, map_location='cpu', weights_only=True)


def _download_once_a_machine(url: str) -> Any:
    """The first process of each machine downloads; the others find the file in torch's cache."""
    try:
        if int(os.environ.get('LOCAL_RANK', get_rank())) == 0:
            return _download(url)
    finally:
        # Also after a failure, lest the others wait for ever.
        barrier()
    return _download(url)


def _download(url: str) -> Any:
    copy = f'its copy in {Path(torch.hub.get_dir()) / "checkpoints"}'
    try:
        with _safely(url, copy):
            return torch.hub.load_state_dict_from_url(url, map_location='cpu', weights_only=True)
    except OSError as error:
        raise ConnectionError(
            f'checkpoint {url!r} could not be downloaded ({error}); check the URL and the '
            'network, or download it by hand and pass its path.'
        ) from error


@contextmanager
def _safely(source: str, file: str) -> Iterator[None]:
    """Let torch read stand-ins, and say what keeps it from reading, and which file to delete."""
    allowed = torch.serialization.get_safe_globals()
    # Without those of other code: real classes and stand-ins cannot be mixed.
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(_STAND_INS)
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        wanted = re.search(r'GLOBAL ([\w.]+)', str(error))
        if isinstance(error, UnpicklingError) and wanted:
            raise ValueError(
                f'checkpoint {source!r} needs {wanted[1]!r} imported, which could run '
                'code that the file brings; load it once where you trust it, and save '
                "{'state_dict': ...} alone."
            ) from error
        raise ValueError(
            f'checkpoint {source!r} cannot be read as a checkpoint of PyTorch, perhaps '
            f'because it is damaged or cut off; delete {file} and copy, download or save it again '
            f'({type(error).__name__}: {str(error):.200}).'
        ) from error
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(allowed)

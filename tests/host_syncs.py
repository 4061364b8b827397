"""Where a training step would make the host wait for a GPU, found on the CPU.

Tensors that were there before, or are made on a ``device``, are taken to be on a GPU; those that
are made without one, such as ``torch.randperm(n)``, or on ``'cpu'`` are on the host. That the host
has to wait is then seen from the operations: numbers are read, the size of a result depends on
values, or a copy from or to the host blocks. Inside a backward pass, and inside functions of torch,
operations are seen but no copies.
"""

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PACKAGE = Path(__file__).parents[1] / 'lt_mm'
_LIBRARIES = (str(Path(torch.__file__).parent), str(Path(sys.modules['contextlib'].__file__)))

aten = torch.ops.aten
# Operations that wait on a GPU whatever their arguments are, and how often.
_ALWAYS = {
    aten._local_scalar_dense: 1,
    aten.nonzero: 1,
    aten.masked_select: 1,
    aten._unique: 1,
    aten._unique2: 1,
    aten.unique_dim: 1,
    aten.unique_consecutive: 1,
    aten.unique_dim_consecutive: 1,
    aten.equal: 1,
    aten.allclose: 1,
    aten.histc: 1,
    # Smallest and largest entry.
    aten.bincount: 2,
}
_MADE_OF_VALUES = (torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor)
_READ_WHOLE = (Tensor.tolist, Tensor.numpy, Tensor.cpu, Tensor.__array__)


@dataclass(frozen=True)
class Wait:
    """One operation for which the host waits."""

    operation: str
    place: str
    """'file:line function' of the innermost frame outside of torch."""
    own: bool
    """Whether that is in lt_mm."""


@dataclass
class HostSyncs:
    """``with HostSyncs() as found: step()``, and then ``found.own``."""

    waits: list[Wait] = field(default_factory=list)
    copies: list[Wait] = field(default_factory=list)
    """Copies from the host to the GPU that do not block."""

    def __enter__(self) -> 'HostSyncs':
        self._host: dict[int, Tensor] = {}
        self._modes = (_Functions(self), _Operations(self))
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)
        self._host.clear()

    @property
    def own(self) -> list[Wait]:
        """Those in lt_mm."""
        return [wait for wait in self.waits if wait.own]

    def report(self) -> str:
        """Every place with the number of waits, one a line."""
        lines = Counter((wait.place, wait.operation) for wait in self.waits)
        return '\n'.join(f'{n} {what} at {place}' for (place, what), n in lines.items())

    def add(self, operation: str, times: int = 1, blocking: bool = True) -> None:
        wait = Wait(operation, *_place())
        (self.waits if blocking else self.copies).extend([wait] * times)

    def on_host(self, tensor: Tensor) -> bool:
        return self._host.get(id(tensor)) is tensor

    def put_on_host(self, result: object) -> None:
        # Kept alive, so that no other tensor gets the same id.
        self._host.update({id(t): t for t in _tensors(result)})


class _Functions(TorchFunctionMode):
    """Follows which tensors are on the host, and sees what copies between it and the GPU."""

    def __init__(self, found: HostSyncs) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        found, name = self.found, getattr(func, '__name__', str(func))
        if name in ('__get__', '__set__', '__delete__'):
            return func(*args, **kwargs)
        given = _tensors((args, kwargs))
        host = [tensor for tensor in given if found.on_host(tensor)]
        if func in _READ_WHOLE:
            if not host:
                found.add(name)
            result = func(*args, **kwargs)
            result = result.clone() if isinstance(result, Tensor) else result
            found.put_on_host(result)
            return result
        if func is Tensor.to or func is Tensor.type_as:
            return self._moved(func, args, kwargs)
        device = kwargs.get('device')
        if not given:
            result = func(*args, **kwargs)
            if not _tensors(result):
                return result
            if device is None or device == 'cpu':
                found.put_on_host(result)
            elif func in _MADE_OF_VALUES:
                found.add(f'{name} of values')
            return result
        if func in _MADE_OF_VALUES and host and device is not None:
            found.add(f'{name} of a tensor on the host')
            return func(*args, **kwargs).clone()
        if func is Tensor.new_tensor and not host:
            found.add(f'{name} of values')
        if host and len(host) < len(given):
            if func in (Tensor.__getitem__, Tensor.__setitem__, Tensor.copy_):
                if any(tensor.ndim for tensor in host) and not kwargs.get('non_blocking'):
                    found.add(f'{name} with a tensor on the host')
            elif any(tensor.ndim for tensor in host):
                raise RuntimeError(f'{name} got tensors on the host and on the GPU')
        if func in (Tensor.__getitem__, Tensor.__setitem__) and not host:
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(part, list) for part in index):
                found.add(f'{name} with a list')
        result = func(*args, **kwargs)
        if len(host) == len(given) and device is None:
            found.put_on_host(result)
        return result

    def _moved(self, func, args, kwargs):
        """``tensor.to(...)``."""
        found = self.found
        others = [*args[1:], *kwargs.values()]
        models = [other for other in others if isinstance(other, Tensor)]
        devices = [o for o in others if isinstance(o, torch.device) or o == 'cpu']
        was_host = found.on_host(args[0])
        is_host = was_host
        if models:
            is_host = found.on_host(models[0])
        elif devices:
            is_host = devices[0] == 'cpu'
        result = func(*args, **kwargs)
        if was_host and not is_host:
            found.add('copy from the host', blocking=not kwargs.get('non_blocking'))
            return result.clone() if result is args[0] else result
        if is_host and not was_host:
            found.add('copy to the host')
            result = result.clone() if result is args[0] else result
        if is_host:
            found.put_on_host(result)
        return result


class _Operations(TorchDispatchMode):
    """Sees the operations, also those of a backward pass and of composite functions."""

    def __init__(self, found: HostSyncs) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = _tensors((args, kwargs))
        times = _times(func, args, kwargs)
        if times and not (tensors and all(map(self.found.on_host, tensors))):
            self.found.add(func.overloadpacket.__name__, times)
        return func(*args, **kwargs)


def _times(func, args, kwargs) -> int:
    """How often an operation waits, were its tensors on a GPU."""
    packet = func.overloadpacket
    if packet in _ALWAYS:
        return _ALWAYS[packet]
    if packet is aten.repeat_interleave and func is not aten.repeat_interleave.self_int:
        return int(kwargs.get('output_size') is None)
    if packet is aten.segment_reduce:
        return 0 if kwargs.get('unsafe') else 2
    if packet in (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_):
        masks = sum(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
        # One number for all that a mask selects is masked_fill.
        filled = packet is not aten.index and masks == 1 and args[2].numel() == 1
        adds = kwargs.get('accumulate') or any(args[3:4])
        return 0 if filled and not adds else masks
    return 0


def _tensors(tree: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _place() -> tuple[str, bool]:
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith((__file__, *_LIBRARIES)):
        frame = frame.f_back
    path = Path(frame.f_code.co_filename)
    own = path.is_relative_to(PACKAGE)
    name = path.relative_to(PACKAGE.parent) if own else Path(*path.parts[-3:])
    return f'{name}:{frame.f_lineno} {frame.f_code.co_name}', own

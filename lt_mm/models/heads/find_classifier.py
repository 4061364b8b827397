"""The last layer of any model of mmseg or mmpretrain."""

from torch import Tensor, nn

from lt_mm.checkpoints import TRAINING_ONLY

_NAMES = ('conv_seg', 'fc', 'head')


def find_classifier(model: nn.Module, outputs: int) -> tuple[str, nn.Module] | None:
    """Find the layer that makes logits of features.

    It is looked for in ``decode_head`` (the last of a cascade) or ``head``: the last layer with a
    weight of one row an output, where one called as the mm packages do (``conv_seg``, ``fc``,
    ``head``) wins over others. What only training needs is left out.

    Args:
        model: of either package, not wrapped.
        outputs: C.

    Returns:
        Name of the layer within the model and the layer; None if there is none of that kind.
    """
    prefix = 'decode_head' if hasattr(model, 'decode_head') else 'head'
    head = getattr(model, prefix, None)
    if isinstance(head, nn.ModuleList):
        prefix, head = f'{prefix}.{len(head) - 1}', head[-1]
    if head is None:
        return None
    fitting = []
    for name, module in head.named_modules():
        weight = getattr(module, 'weight', None)
        full = f'{prefix}.{name}' if name else prefix
        if isinstance(weight, Tensor) and weight.ndim in (2, 4) and weight.shape[0] == outputs:
            if not TRAINING_ONLY.match(f'{full}.'):
                fitting.append((full, module))
    named = [one for one in fitting if one[0].rpartition('.')[2] in _NAMES]
    return (named or fitting or [None])[-1]

"""One class queue for several GML heads."""

from collections.abc import Sequence

from torch import nn

from lt_mm.models.heads.gml_head_mixin import GMLHeadMixin


def use_one_queue(experts: Sequence[nn.Module]) -> None:
    """Give all GML heads among some heads the queue of the first one, which alone fills it.

    The keys are those of a teacher or, without one, the first GML head's own features; each head
    embeds them by a key MLP of its own. The first GML head has to compute its losses first.

    Raises:
        ValueError: if there are fewer than two GML heads, or their queues would differ in size.
    """
    heads = {f'expert{i}': one for i, one in enumerate(experts) if isinstance(one, GMLHeadMixin)}
    if len(heads) < 2:
        raise ValueError(
            f'share_queue needs two GML experts or more, but there are {len(heads)} among '
            f'{len(experts)}; leave it out, or use lt_mm.GML*Head as experts.'
        )
    (owner, first), *others = heads.items()
    queue = first.gml.queue
    for name, head in others:
        if repr(head.gml.queue) != repr(queue):
            raise ValueError(
                f'share_queue needs queues alike, but {owner} has {queue} and {name} '
                f'{head.gml.queue}; give them the same gml.size, gml.min_size and gml.key_channels.'
            )
        head.gml.queue = queue
        head.fills_queue = False

"""Which sample a feature comes from, as a number."""

from collections.abc import Sequence
from hashlib import blake2b

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor


def sample_ids(data_samples: Sequence[BaseDataElement]) -> Tensor:
    """Number the samples of a batch, the same sample alike at all times and on all ranks.

    Args:
        data_samples: with ``img_path`` or, failing that, ``sample_idx`` in their metainfo, as
            mmsegmentation's and mmpretrain's packing transforms leave them.

    Returns:
        (B,) int64 on the CPU, not negative; -1 for a sample that carries neither.
    """
    ids = [_sample_id(sample.metainfo) for sample in data_samples]
    return torch.tensor(ids, dtype=torch.int64)


def _sample_id(meta: dict) -> int:
    key = meta.get('img_path', meta.get('sample_idx'))
    if key is None:
        return -1
    # Not hash(): Python salts it, so that ranks and a resumed run would disagree.
    return int.from_bytes(blake2b(str(key).encode(), digest_size=8).digest(), 'big') >> 1

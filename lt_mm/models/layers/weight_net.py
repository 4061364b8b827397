"""The weight of a sample as a learnt function of its loss."""

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn


class WeightNet(nn.Module):
    """A perceptron from losses to weights in (0, 1): one of Meta-Weight-Net, several of CMW-Net.

    Args:
        hidden: units of its hidden layer.
        outputs: kinds of samples, each with an output of its own behind the hidden layer.

    Source: Shu et al., Meta-Weight-Net, NeurIPS 2019; Shu et al., CMW-Net, TPAMI 2023.
    """

    def __init__(self, hidden: int = 100, outputs: int = 1) -> None:
        super().__init__()
        self.hidden = nn.Linear(1, hidden)
        self.output = nn.Linear(hidden, outputs)

    def forward(self, losses: Tensor, kinds: Tensor) -> Tensor:
        """Weights of samples.

        Args:
            losses: (N,).
            kinds: (N,) int64, which output is that of a sample.

        Returns:
            (N,).
        """
        weights = self.output(self.hidden(losses[:, None]).relu()).sigmoid()
        return weights.gather(1, kinds[:, None])[:, 0]


def kinds_of_classes(counts: Sequence[int], number: int = 3) -> Tensor:
    """Put classes of a similar number of samples together, by k-means of the counts.

    Args:
        counts: of samples, (C,).
        number: of kinds, fewer where fewer counts differ.

    Returns:
        (C,) int64; kind 0 has the fewest samples.
    """
    counts = np.asarray(counts, dtype=np.float64)
    number = min(number, len(np.unique(counts)))
    found = KMeans(number, n_init=10, random_state=0).fit(counts[:, None])
    rank = np.argsort(np.argsort(found.cluster_centers_[:, 0]))
    return torch.from_numpy(rank[found.labels_]).long()

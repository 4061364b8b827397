"""What decides whether one more expert is asked."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ExpertRouters(nn.Module):
    """E - 1 routers: each sees what was said so far, and the last expert's features.

    A router puts the features, of length 1, through a hidden layer, and this beside the largest
    logits through an output layer. It knows neither the label nor which classes the logits are of.

    Args:
        num_experts: E, two or more.
        in_channels: D, width of the features.
        top_k: K, how many of the largest logits are looked at.
        hidden_channels: width of the hidden layer.
        share_output: whether all routers have the same output layer, as is the default of the
            public code.

    Source: Wang et al., ICLR 2021 (RIDE), and its public code.
    """

    def __init__(
        self,
        num_experts: int,
        in_channels: int,
        top_k: int = 5,
        hidden_channels: int = 16,
        share_output: bool = True,
    ) -> None:
        super().__init__()
        self.top_k = top_k
        self.hidden = nn.ModuleList(
            nn.Linear(in_channels, hidden_channels) for _ in range(num_experts - 1)
        )
        self.output = nn.ModuleList(
            nn.Linear(top_k + hidden_channels, 1)
            for _ in range(1 if share_output else num_experts - 1)
        )

    def forward(self, index: int, features: Tensor, logits: Tensor) -> Tensor:
        """Score of asking one more expert; it is asked where the sigmoid is above a threshold.

        Args:
            index: of the expert asked last, 0 to E - 2.
            features: (N, D), of that expert.
            logits: (N, C), mean over the experts asked so far.

        Returns:
            (N,), of the dtype of the output layer.
        """
        hidden = self.hidden[index](F.normalize(features, dim=1)).relu()
        largest = logits.topk(self.top_k, dim=1).values
        output = self.output[index if len(self.output) > 1 else 0]
        return output(torch.cat([largest.to(hidden), hidden], dim=1)).squeeze(1)

"""A moving average of the embedding of every image of a data set."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class EmbeddingBank(nn.Module):
    """One unit vector an image, in a buffer: random until the image's first embedding is written.

    In the checkpoint it takes ``4 * dim + 1`` bytes an image. Given the same initial vectors and
    the same writes it is identical on every rank; it does not communicate.

    Args:
        num_samples: M, images of the data set.
        dim: width of an embedding.
        momentum: share of the old vector in an update, from 0 up to but not including 1.

    Raises:
        ValueError: if there is no image, or the momentum is outside its range.
    """

    def __init__(self, num_samples: int, dim: int, momentum: float) -> None:
        super().__init__()
        if num_samples < 1:
            raise ValueError(
                f'num_samples of the bank is {num_samples}; give the number of training images.'
            )
        if not 0 <= momentum < 1:
            raise ValueError(
                f'momentum of the bank is {momentum}, but it must be at least 0 and below 1; '
                '0.5 is usual.'
            )
        self.momentum = momentum
        self.register_buffer('rows', F.normalize(torch.randn(num_samples, dim), dim=1))
        self.register_buffer('is_written', torch.zeros(num_samples, dtype=torch.bool))

    @torch.no_grad()
    def introduce(self, indices: Tensor, embeddings: Tensor) -> None:
        """Write the embeddings of images that have none yet.

        Args:
            indices: (B,) places of images, each at most once.
            embeddings: (B, dim) of norm 1.
        """
        new = ~self.is_written[indices]
        self.rows[indices[new]] = embeddings[new].to(self.rows)
        self.is_written[indices] = True

    @torch.no_grad()
    def update(self, indices: Tensor, embeddings: Tensor) -> None:
        """Move vectors to ``normalize(momentum * old + (1 - momentum) * embedding)``.

        Args:
            indices: (B,) places of images, each at most once.
            embeddings: (B, dim) of norm 1.
        """
        mixed = self.momentum * self.rows[indices] + (1 - self.momentum) * embeddings.to(self.rows)
        self.rows[indices] = F.normalize(mixed, dim=1)

    def similarities(self, embeddings: Tensor, indices: Tensor) -> Tensor:
        """Products of embeddings with vectors of the bank, in float32 or wider under autocast.

        Args:
            embeddings: (B, dim), with gradient if need be.
            indices: (B, N), which vectors to compare each embedding with.

        Returns:
            (B, N). On the way there are (B, M) products: less memory than the (B, N, dim) vectors
            while M is below N * dim.
        """
        # A copy, because the backward pass needs the vectors as they are now, before an update.
        rows = self.rows.clone()
        with torch.autocast(embeddings.device.type, enabled=False):
            return (embeddings.to(rows) @ rows.T).gather(1, indices)

    def extra_repr(self) -> str:
        """Sizes and momentum."""
        num_samples, dim = self.rows.shape
        return f'num_samples={num_samples}, dim={dim}, momentum={self.momentum}'

"""Knowledge distillation by the teacher's probabilities."""

from torch import Tensor, nn

from lt_mm.functional import check_number, check_temperature, distillation_loss, reduce_loss
from lt_mm.models.ranks import mean_over_ranks
from lt_mm.registry import MODELS


@MODELS.register_module()
class KDLoss(nn.Module):
    """L_KD: divergence of the student's softened probabilities from the teacher's.

    The mean is over the samples of all ranks; the teacher gets no gradient.

    Args:
        temperature: T, divisor of both logits.
        loss_weight: factor of the result, alpha_KD in Table A.1 of the GML paper.

    Raises:
        ValueError: if the temperature is not positive and finite, or ``loss_weight`` not finite;
            when called, if the shapes of the logits differ.

    Source: Hinton, Vinyals and Dean, 2015; Suh and Seo, ICML 2023, appendix A.2.
    """

    def __init__(self, temperature: float = 4.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        check_temperature(temperature, 'of KDLoss', '4 is usual')
        self.temperature = temperature
        self.loss_weight = check_number('loss_weight', loss_weight, 'KDLoss', '1 is usual')

    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Mean loss of (N, C, ...) logits; 0, with a graph, when N is 0."""
        loss = distillation_loss(student_logits, teacher_logits.detach(), self.temperature)
        count = mean_over_ranks(loss.numel(), loss.device)
        return self.loss_weight * reduce_loss(loss, avg_factor=count)

    def extra_repr(self) -> str:
        """Hyper-parameters."""
        return f'temperature={self.temperature}, loss_weight={self.loss_weight}'

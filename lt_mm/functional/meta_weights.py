"""Weights of samples that are learnt by the loss on a development set, without a second order.

With losses l_i and weights w_i, a virtual step is theta' = theta - eta sum_i a w_i grad l_i, where
a is 1 / B for a mean over B samples. The gradient of the development loss L_dev(theta') with
respect to w_i is then -eta * a * s_i, with s_i = <grad l_i(theta), v> and v = grad L_dev(theta').
That is exact, for losses that depend on each other through batch normalisation, too: s = J v, the
change of the vector of losses along v. It takes one development backward and one product with a
Jacobian.

Source: Jamal et al., CVPR 2020, Algorithm 1; Ren et al., ICML 2018; Shu et al., NeurIPS 2019 (the
gradient of whose weight network is that of :func:`weight_net_loss`); Shu et al., TPAMI 2023.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

ENGINES = ('jvp', 'finite_difference')
Parameters = Mapping[str, Tensor]


def development_gradient(
    loss: Callable[[Parameters], Tensor], parameters: Parameters
) -> dict[str, Tensor]:
    """The gradient v of a loss; zero for parameters that it does not depend on.

    Args:
        loss: a number for these parameters, such as that of a ``torch.func.functional_call`` with
            clones of the buffers.
        parameters: by name. They are not changed, nor is their ``grad``.

    Returns:
        As the parameters.
    """
    leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    with torch.enable_grad():
        value = loss(leaves)
        found = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    pairs = zip(leaves.items(), found, strict=True)
    return {
        name: torch.zeros_like(leaf, requires_grad=False) if grad is None else grad
        for (name, leaf), grad in pairs
    }


def losses_along(
    losses: Callable[[Parameters], Tensor],
    parameters: Parameters,
    direction: Parameters,
    engine: str = 'jvp',
    step: float = 1e-3,
) -> Tensor:
    """How each loss changes along a direction, s = J v.

    Random numbers that ``losses`` draws are the same in all its calls, and those that follow are
    what they would have been without: a network has the same dropout in each.

    Args:
        losses: losses of any shape for these parameters.
        parameters: by name; what they do not name stays as it is.
        direction: v, of the shapes of the parameters.
        engine: 'jvp', in forward mode, exact, which needs it of every operation; or
            'finite_difference', two calls without gradients, central at a distance of ``step``.
            Kinks of ReLUs make it an approximation, which half precision would spoil.
        step: length of the way to either side, in units of the parameters.

    Returns:
        Of the shape of the losses; without a graph.

    Raises:
        ValueError: for another engine, or a step that is not positive.
        RuntimeError: from torch, of an operation without a forward mode.
    """
    if engine not in ENGINES:
        raise ValueError(f'engine is {engine!r}; use {" or ".join(map(repr, ENGINES))}.')
    if not step > 0:
        raise ValueError(f'step of a finite difference is {step}, but it must be positive.')
    with torch.no_grad():
        if engine == 'jvp':
            # The faster kernels of attention have no forward mode.
            with forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH), rewound(parameters):
                dual = {
                    name: forward_ad.make_dual(value.detach(), direction[name].to(value))
                    for name, value in parameters.items()
                }
                primal, tangent = forward_ad.unpack_dual(losses(dual))
            return torch.zeros_like(primal) if tangent is None else tangent
        squares = [value.double().square().sum() for value in direction.values()]
        length = torch.stack(squares).sum().sqrt()
        scale = torch.where(length > 0, step / length, 0.0)
        ends = []
        for sign in (1, -1):
            moved = {
                name: value.detach() + (sign * scale).to(value) * direction[name].to(value)
                for name, value in parameters.items()
            }
            with rewound(parameters):
                ends.append(losses(moved))
        # Of a direction of length zero the difference is zero.
        scale = torch.where(length > 0, scale, 1.0)
        return (ends[0] - ends[1]) / (2 * scale.to(ends[0]))


@contextmanager
def rewound(parameters: Parameters) -> Iterator[None]:
    """Leave torch's random numbers as they were found, on the CPU and where parameters are."""
    devices = {value.device for value in parameters.values() if value.device.type == 'cuda'}
    with torch.random.fork_rng(devices=list(devices)):
        yield


def last_layer_losses_along(
    losses: Callable[[Tensor], Tensor],
    logits: Tensor,
    features: Tensor,
    weight_direction: Tensor,
    bias_direction: Tensor | None = None,
    align_corners: bool = False,
) -> Tensor:
    """The scores s of a linear classifier in closed form: s_i = <dl_i/dz_i, V_W f_i + V_b>.

    For cross-entropy dl_i/dz_i is the softmax minus the label. It equals :func:`losses_along` of
    the parameters of the classifier alone, without a pass through it. Logits of another resolution
    than the features are taken to be interpolated, as the heads of mmseg do.

    Args:
        losses: (N, ...) losses of logits, each of its own element's alone.
        logits: z, (N, C, ...).
        features: f, (N, D, ...), what the classifier was given.
        weight_direction: V_W, (C, D).
        bias_direction: V_b, (C,).
        align_corners: of the interpolation.

    Returns:
        (N, ...).
    """
    leaf = logits.detach().requires_grad_()
    with torch.enable_grad():
        (grad,) = torch.autograd.grad(losses(leaf).sum(), leaf)
    change = torch.einsum('cd,nd...->nc...', weight_direction.to(features), features.detach())
    if bias_direction is not None:
        change = change + bias_direction.to(change).reshape((-1,) + (1,) * (logits.ndim - 2))
    if change.shape[2:] != grad.shape[2:]:
        size = grad.shape[2:]
        change = F.interpolate(change, size, mode='bilinear', align_corners=align_corners)
    return (grad * change).sum(1)


def sample_weight_gradient(scores: Tensor, learning_rate: float, share: float) -> Tensor:
    """Gradient of the development loss with respect to the weights of samples, -eta * a * s.

    Args:
        scores: s, of any shape.
        learning_rate: eta of the virtual step.
        share: a, such as 1 / B for a mean over B samples, or 1 for a sum.
    """
    return -(learning_rate * share) * scores


def relative_conditional(
    scores: Tensor, class_weights: Tensor, rms: Tensor | float, strength: float
) -> Tensor:
    """Conditional weights as a share of the class weights: rho * w_y * clip(s / rms, -1, 1).

    Unlike a step of gradient descent, it depends on no learning rate, batch size or size of
    gradients; at a strength of 0 the class weights alone are left (DRW).

    Args:
        scores: s, of any shape.
        class_weights: w_y of each, of the same shape.
        rms: root mean square of the scores, of more than this batch where it is small; at 0 the
            conditional weights are 0.
        strength: rho, at least 0; below 1 no weight gets negative.
    """
    rms = torch.as_tensor(rms, dtype=scores.dtype, device=scores.device)
    unit = torch.where(rms > 0, scores / rms.clamp(min=torch.finfo(scores.dtype).tiny), 0.0)
    return strength * class_weights * unit.clamp(-1, 1)


def two_component_weights(
    class_weights: Tensor, conditional: Tensor, floor: float | None = 0.1
) -> Tensor:
    """Weights w_y + eps, not below ``floor * w_y``; w_y where eps is not finite.

    Args:
        class_weights: w_y of each element.
        conditional: eps, of the same shape.
        floor: None leaves the sum as it is, as the paper does.
    """
    total = class_weights + conditional
    if floor is not None:
        total = torch.maximum(total, floor * class_weights)
    return torch.where(conditional.isfinite(), total, class_weights)


def rectified_weights(scores: Tensor, total: Tensor | None = None) -> Tensor:
    """Weights of L2RW: max(s, 0) over their sum; all are 0 where none is positive.

    Args:
        scores: s, of any shape; those that are not finite count as 0.
        total: what to divide by, where the batch is spread over ranks.

    Source: Ren et al., ICML 2018.
    """
    positive = torch.where(scores.isfinite(), scores, 0.0).clamp(min=0)
    total = positive.sum() if total is None else total
    return positive / total.masked_fill(total == 0, 1)


def weight_net_loss(scores: Tensor, weights: Tensor, learning_rate: float, share: float) -> Tensor:
    """What the gradient of a weight network's parameters is that of, for one unrolled step.

    sum_i -eta * a * s_i * V(l_i): its gradient is that of the development loss with respect to the
    network V, so that one backward pass through V is all that it takes.

    Args:
        scores: s, of any shape; those that are not finite take no part.
        weights: V(l_i), with the graph of V, of the same shape.
        learning_rate: eta.
        share: a.
    """
    scores = torch.where(scores.isfinite(), scores, 0.0).detach()
    return (sample_weight_gradient(scores, learning_rate, share) * weights).sum()


def macro_shares(counts: Tensor) -> Tensor:
    """What each element of a class counts in a mean over classes: 1 / (n_c * |C|).

    Args:
        counts: n_c, (C,), elements of each class; |C| have some.

    Returns:
        (C,), float32; 0 for a class without.
    """
    present = (counts > 0).sum().clamp(min=1)
    return torch.where(counts > 0, 1 / (counts.clamp(min=1) * present).float(), 0.0)

"""Weights of samples, learnt during training from the loss on a development set."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn import functional as F

from lt_mm.engine.development_set import DevelopmentSet
from lt_mm.engine.distributed import unwrapped
from lt_mm.engine.sample_losses import Call, SampleLosses
from lt_mm.functional import (
    check_number,
    development_gradient,
    last_layer_losses_along,
    losses_along,
    macro_shares,
    rectified_weights,
    relative_conditional,
    sample_weight_gradient,
    two_component_weights,
    weight_net_loss,
)
from lt_mm.functional.meta_weights import ENGINES
from lt_mm.models.counts import ClassCountsBuffer
from lt_mm.models.heads.find_classifier import find_classifier
from lt_mm.models.layers.weight_net import WeightNet, kinds_of_classes
from lt_mm.models.losses.class_weights import ClassWeights
from lt_mm.registry import HOOKS
from lt_mm.structures import ClassCounts, ClassGroups
from lt_mm.visualization.backends import pixels_of
from lt_mm.visualization.meta_weights import draw_meta_weights

MODES = ('two_component', 'l2rw', 'mw_net', 'cmw_net')
LEVELS = ('sample', 'class', 'image', 'pixel')
STEPS = ('relative', 'gradient')
_OWNER = 'MetaReweighting'
_KEY = 'meta_reweighting'
_BINS = 41
# Side of the blocks of pixels that have one weight, in pixels of the labels.
_BLOCK = 8


@HOOKS.register_module()
class MetaReweighting(Hook):
    """Weigh samples by how much a step along each would lower the loss on a development set.

    ``custom_hooks = [dict(type='lt_mm.ClassCountsHook'), dict(type='lt_mm.MetaReweighting')]``. It
    is a hook, because a wrapper of the model is used in distributed runs alone and there is one,
    and a wrapper of the optimizer sees the sum of the losses. In front of each step it takes a
    batch of the development set and the gradient v of its cross-entropy, averaged over ranks; in
    the step, the classification loss is given a weight for each element. The score of a sample,
    s_i = <grad l_i, v>, is exact, see :mod:`lt_mm.functional.meta_weights`.

    A model is left as it would be without: running statistics, queues and random numbers are not
    touched, so that with ``strength=0`` the run is the one with the class weights alone (DRW), bit
    for bit. ``lt_mm.DeferredHook`` says where it begins, as for class weights of losses. Losses
    that take ``weight`` are weighed: all of lt_mm and those of mmseg and mmpretrain that give
    single values; auxiliary heads are not.

    Args:
        mode: 'two_component': w_y + eps_i, class weights and a conditional weight; 'l2rw': the
            positive part of s_i; 'mw_net': a function of the loss, learnt; 'cmw_net': one for each
            of three kinds of classes.
        class_weight: w_y of 'two_component', as of the losses; see :class:`ClassWeights`.
        source: of the development set, see :class:`DevelopmentSet`.
        batch_size: of the development set, on a rank. Defaults to that of the training.
        sampler: of the development set. Defaults to classes drawn alike.
        num_workers: that read the development set ahead.
        engine: 'last_layer' takes the gradient of the classifier alone, in closed form, within the
            step; 'finite_difference' takes two more forward passes and 'jvp' one, in forward mode,
            which operations such as SyncBatchNorm do not have.
        layers: prefixes of the parameters whose gradient counts, such as 'decode_head' or
            'backbone.layer4'; not for 'last_layer'. Defaults to all that are trained.
        step: of 'two_component'. 'relative' makes eps_i = rho * w_y * clip(s_i / rms(s), -1, 1),
            whatever the learning rate; 'gradient' is the paper's, eps_i = tau * eta * s_i, which
            is tiny at its constants.
        strength: rho of 'relative', below 1; tau of 'gradient', 0.01 in the paper's code.
        floor: smallest weight as a share of w_y; None allows any, as the paper does.
        level: what has a weight of its own: a 'sample', with one label; of segmentation a 'class',
            whose scores are averaged over batches, too, an 'image', or a 'pixel' in blocks of
            8 x 8. Defaults to 'sample' or 'class'.
        momentum: of the averages over batches.
        virtual_step: whether v is that of the parameters after a step of plain gradient descent, as
            the paper has it, and not of the parameters themselves: one more backward pass.
        learning_rate: eta of the virtual step. Defaults to that of the training.
        permuted: whether eps_i is handed to a random other element: a control of the same spread.
        hidden: units of the weight network.
        optimizer: of the weight network, of torch.
        groups: of classes, for the log and the picture; see :meth:`ClassGroups.of`.
        picture_interval: iterations between histograms of eps_i / w_y that the visualizer gets.

    Raises:
        ValueError: if an argument is none of these; before training, see :class:`DevelopmentSet`.
        TypeError: before training, if the model has no loss to weigh or, for 'last_layer', no
            linear classifier; in the first step, if the loss gives no values of single samples.
        RuntimeError: in the first step, for 'jvp', if an operation has no forward mode.

    Source: Jamal et al., CVPR 2020; Ren et al., ICML 2018; Shu et al., NeurIPS 2019 and TPAMI 2023.
    """

    # After DeferredHook.
    priority = 'LOW'

    def __init__(
        self,
        mode: str = 'two_component',
        class_weight: Mapping | Sequence[float] | None = None,
        source: str | Mapping = 'drawn',
        batch_size: int | None = None,
        sampler: Mapping | None = None,
        num_workers: int = 0,
        engine: str = 'last_layer',
        layers: Sequence[str] | None = None,
        step: str = 'relative',
        strength: float = 0.5,
        floor: float | None = 0.1,
        level: str | None = None,
        momentum: float = 0.9,
        virtual_step: bool = False,
        learning_rate: float | None = None,
        permuted: bool = False,
        hidden: int = 100,
        optimizer: Mapping | None = None,
        groups: Mapping | None = None,
        picture_interval: int = 1000,
    ) -> None:
        _check_choice('mode', mode, MODES)
        _check_choice('engine', engine, ('last_layer', *ENGINES))
        _check_choice('step', step, STEPS)
        if level is not None:
            _check_choice('level', level, LEVELS)
        check_number('strength', strength, _OWNER, '0.5 is usual')
        if strength < 0 or (step == 'relative' and strength >= 1):
            raise ValueError(
                f'strength of {_OWNER} is {strength}, but it must be 0 or more and, of a relative '
                'step, below 1, or weights would get negative.'
            )
        if floor is not None and not 0 <= floor <= 1:
            raise ValueError(f'floor of {_OWNER} is {floor}; use 0 to 1, or None.')
        if not 0 <= momentum < 1:
            raise ValueError(f'momentum of {_OWNER} is {momentum}; use 0 to below 1.')
        if engine == 'last_layer' and layers is not None:
            raise ValueError(
                f"layers of {_OWNER} is {list(layers)}, but engine='last_layer' takes the "
                "classifier alone; use engine='finite_difference', or leave layers out."
            )
        if mode == 'l2rw' and virtual_step:
            raise ValueError(
                f"virtual_step of {_OWNER} does nothing for mode='l2rw', whose weights begin at 0; "
                'leave it out.'
            )
        if mode == 'cmw_net' and level in ('image', 'pixel'):
            raise ValueError(
                f"level={level!r} of {_OWNER} mixes classes, which mode='cmw_net' tells apart; use "
                "'class'."
            )
        self.mode = mode
        self.source = source
        self.batch_size = batch_size
        self.sampler = dict(sampler or dict(type='lt_mm.ClassBalancedSampler'))
        self.num_workers = num_workers
        self.engine = engine
        self.layers = None if layers is None else tuple(layers)
        self.step = step
        self.strength = strength
        self.floor = floor
        self.level = level
        self.momentum = momentum
        self.virtual_step = virtual_step
        self.learning_rate = learning_rate
        self.permuted = permuted
        self.hidden = hidden
        self.optimizer = dict(optimizer or dict(type='Adam', lr=1e-3, weight_decay=1e-4))
        self.groups = groups
        self.picture_interval = picture_interval
        if class_weight is None:
            class_weight = dict(type='effective_number', beta=0.9999)
        # Modes without class weights have none to warn of behind a balanced sampler.
        self.class_weights = None
        if mode == 'two_component':
            self.class_weights = ClassWeights(class_weight, _OWNER)
        self.class_counts = ClassCountsBuffer(_OWNER)
        self._active = True
        self._resumed: Mapping | None = None
        self._losses: SampleLosses | None = None

    def set_class_counts(self, class_counts: ClassCounts) -> None:
        """Take class weights, kinds and groups of classes from these counts.

        Args:
            class_counts: of the training set, from ``lt_mm.ClassCountsHook``.
        """
        if self.class_counts.set(class_counts) and self.class_weights is not None:
            self.class_weights.warn_if_alike(class_counts.counts)

    def set_deferred(self, active: bool) -> None:
        """Begin, or be as if absent.

        Args:
            active: whether the second part of the training has come.
        """
        self._active = active

    def before_train(self, runner: Runner) -> None:
        """Look at model, losses and development set; after a resume, go on with what was learnt."""
        self.class_counts.require_log_prior()
        model = unwrapped(runner.model)
        self._device = next(model.parameters()).device
        self._losses = SampleLosses(model, _OWNER)
        self.class_counts.to(self._device)
        if self.class_weights is not None:
            self.class_weights.to(self._device)
        counts = self.class_counts.counts
        groups = ClassGroups.of(self.groups or dict(by='counts')).split(counts.cpu())
        self._groups = {name: members for name, members in groups.items() if len(members)}
        self._group_of = torch.full_like(counts, len(self._groups))
        for i, members in enumerate(self._groups.values()):
            self._group_of[members.to(self._device)] = i
        self._find_parameters(model)
        self._development = DevelopmentSet(
            runner,
            self.source,
            self.batch_size or runner.train_dataloader.batch_sampler.batch_size,
            self.sampler,
            self.num_workers,
            _OWNER,
        )
        self._start(runner)
        self._losses.attach()
        self._handle = None
        if self._layer is not None:
            self._handle = self._layer.register_forward_hook(self._see)

    def after_train(self, runner: Runner) -> None:
        """Leave the model as it was."""
        self._losses.detach()
        if self._handle is not None:
            self._handle.remove()

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None
    ) -> None:
        """Find v, and the scores of the batch that is about to be trained on."""
        self._losses.weigh = self._weigh if self._active else None
        if not self._active:
            return
        self._runner = runner
        self._shown = self._shows(runner)
        self._scores = self._given = None
        self._seen_by_layer: list[tuple[Tensor, Tensor]] = []
        model = unwrapped(runner.model)
        device_type = self._device.type
        with self._development.next_batch() as batch, torch.autocast(device_type, enabled=False):
            self._batches += 1
            parameters = self._parameters(model)
            development = _prepared(model, batch)
            training = None
            if self.virtual_step or self.engine != 'last_layer':
                training = _prepared(model, data_batch)
            place = parameters
            if self.virtual_step:
                place = self._virtual(parameters, training)
            self._direction = self._reduced(
                development_gradient(lambda p: self._development_loss(p, development), place)
            )
            if self.engine != 'last_layer':
                with self._losses.features_once(parameters):
                    self._scores = losses_along(
                        lambda p: self._losses.measure(p, (), training).losses,
                        parameters,
                        self._direction,
                        self.engine,
                    )
        # Those of the development set are not the step's.
        self._seen_by_layer = []

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | tuple | list | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Forget the step; hand histograms to the visualizer."""
        if not self._active:
            return
        self._losses.weigh = None
        self._seen_by_layer = []
        if self.every_n_train_iters(runner, self.picture_interval) or self.is_last_train_iter(
            runner
        ):
            self._draw(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Write what was learnt into the checkpoint, and how the development set was made."""
        checkpoint[_KEY] = dict(
            mode=self.mode,
            batches=self._batches,
            mean_square=self._mean_square.cpu(),
            class_scores=self._class_scores.cpu(),
            seen=self._seen.cpu(),
            not_finite=self._not_finite.cpu(),
            network=None if self._network is None else self._network.state_dict(),
            optimizer=None if self._network is None else self._network_optimizer.state_dict(),
            held_out_by=self._development.held_out_by,
        )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember what was learnt until training goes on."""
        self._resumed = checkpoint.get(_KEY)

    def _start(self, runner: Runner) -> None:
        classes, device = len(self.class_counts.counts), self._device
        self._batches = 0
        self._mean_square = torch.zeros((), device=device)
        self._class_scores = torch.zeros(classes, device=device)
        self._seen = torch.zeros(classes, dtype=torch.bool, device=device)
        self._not_finite = torch.zeros((), dtype=torch.int64, device=device)
        self._histogram = torch.zeros(len(self._groups) + 1, _BINS, device=device)
        self._network: WeightNet | None = None
        if self.mode in ('mw_net', 'cmw_net'):
            self._kinds = torch.zeros(classes, dtype=torch.int64, device=device)
            if self.mode == 'cmw_net':
                self._kinds = kinds_of_classes(self.class_counts.counts.tolist()).to(device)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(runner.seed)
                self._network = WeightNet(self.hidden, int(self._kinds.max()) + 1).to(device)
            options = dict(self.optimizer)
            kind = getattr(torch.optim, options.pop('type'))
            self._network_optimizer = kind(self._network.parameters(), **options)
        resumed, self._resumed = self._resumed, None
        if resumed is not None and runner.iter > 0:
            self._resume(resumed)
        self._development.start(self._batches)

    def _resume(self, state: Mapping) -> None:
        for name, now in (('mode', self.mode), ('held_out_by', self._development.held_out_by)):
            if state[name] != now:
                raise ValueError(
                    f'the checkpoint was trained by {_OWNER} with {name}={state[name]!r}, and the '
                    f'config now has {now!r}; set it as it was, or train anew.'
                )
        self._batches = state['batches']
        for name in ('mean_square', 'class_scores', 'seen', 'not_finite'):
            getattr(self, f'_{name}').copy_(state[name])
        if self._network is not None:
            self._network.load_state_dict(state['network'])
            self._network_optimizer.load_state_dict(state['optimizer'])

    # What is differentiated.

    def _find_parameters(self, model: nn.Module) -> None:
        """Names of the parameters whose gradient counts; of the last layer, its hooks, too."""
        trained = [
            name
            for name, value in model.named_parameters()
            if value.requires_grad and not name.startswith('auxiliary_head.')
        ]
        self._layer: nn.Module | None = None
        if self.engine == 'last_layer':
            found = find_classifier(model, len(self.class_counts.counts))
            if found is None or not _is_linear(found[1]) or self._losses.number != 1:
                what = 'no such layer' if found is None else f"'{found[0]}' ({found[1]})"
                raise TypeError(
                    f"engine='last_layer' of {_OWNER} needs one loss of what a linear layer "
                    f'gives, and finds {what} and {self._losses.number} losses; use '
                    "engine='finite_difference'."
                )
            name, self._layer = found
            trained = [each for each in trained if each.rpartition('.')[0] == name]
            head = model.get_submodule(name.rpartition('.')[0])
            self._align_corners = bool(getattr(head, 'align_corners', False))
        elif self.layers is not None:
            trained = [n for n in trained if any(n.startswith(prefix) for prefix in self.layers)]
        if not trained:
            raise ValueError(
                f'{_OWNER} finds nothing that is trained in {self.layers or "the classifier"}; '
                "name a part of the model, such as layers=('decode_head',)."
            )
        self._names = tuple(trained)

    def _parameters(self, model: nn.Module) -> dict[str, Tensor]:
        return {name: model.get_parameter(name).detach() for name in self._names}

    def _see(self, layer: nn.Module, args: tuple, output: Tensor) -> None:
        """Keep what the classifier is given in the step."""
        if self._losses.weigh is not None:
            self._seen_by_layer.append((args[0].detach(), output.detach()))

    def _development_loss(self, parameters: Mapping[str, Tensor], data: Mapping) -> Tensor:
        """Cross-entropy, without prior, margin or weight; of pixels the mean over classes."""
        measured = self._losses.measure(parameters, (), data)
        target = torch.where(measured.valid, measured.target, 0).long()
        shares = measured.valid / self._total(measured.valid.sum()).clamp(min=1)
        if target.ndim > 1:
            counts = torch.bincount(target[measured.valid], minlength=len(self._seen))
            shares = macro_shares(self._total(counts))[target] * measured.valid
        losses = (F.cross_entropy(z.float(), target, reduction='none') for z in measured.logits)
        return sum((shares * loss).sum() for loss in losses)

    def _virtual(self, parameters: Mapping[str, Tensor], data: Mapping) -> dict[str, Tensor]:
        """Parameters after a step of gradient descent on the weighted losses."""

        def loss(changed: Mapping[str, Tensor]) -> Tensor:
            measured = self._losses.measure(changed, (), data)
            number = self._total(measured.valid.sum()).clamp(min=1)
            if self._network is None:
                weights = self._of_classes(measured.target, measured.valid)
            else:
                units = self._units(measured.target, measured.valid)
                weights = self._of_network(units, measured.losses.detach(), number)[0]
            return (weights.detach() * measured.losses).sum() / number

        gradient = self._reduced(development_gradient(loss, parameters))
        rate = self._rate()
        return {name: value - rate * gradient[name] for name, value in parameters.items()}

    def _rate(self) -> float:
        if self.learning_rate is not None:
            return self.learning_rate
        return self._runner.optim_wrapper.param_groups[0]['lr']

    @staticmethod
    def _total(value: Tensor) -> Tensor:
        """The sum over ranks."""
        value = value.clone()
        all_reduce(value)
        return value

    @staticmethod
    def _reduced(gradient: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The sum over ranks, in one message."""
        flat = torch.cat([value.float().flatten() for value in gradient.values()])
        all_reduce(flat)
        parts = flat.split([value.numel() for value in gradient.values()])
        return {
            name: part.view_as(value)
            for part, (name, value) in zip(parts, gradient.items(), strict=True)
        }

    # What becomes of the scores.

    def _weigh(self, call: Call) -> Tensor:
        """Weights of the elements of a call; calls of the same step share them."""
        if self._given is None:
            with torch.no_grad():
                self._given = self._weights(call)
        if self._given.shape != call.target.shape:
            raise TypeError(
                f'{_OWNER} has weights of {tuple(self._given.shape)} elements, and a loss was '
                f'called with labels of {tuple(call.target.shape)}; use a model whose batches are '
                'prepared without chance, and whose losses are of the same elements.'
            )
        return self._given

    def _weights(self, call: Call) -> Tensor:
        target, valid = call.target, call.valid
        scores = self._scores
        if self.engine == 'last_layer':
            scores = self._closed_form(call)
        elif scores.shape != target.shape:
            # Refused by the caller, with both shapes.
            return scores
        scores = torch.where(valid, scores.float(), 0.0)
        bad = self._total((~scores.isfinite()).sum())
        self._not_finite += (bad > 0).long()
        scores = torch.where(bad > 0, torch.zeros_like(scores), scores)
        number = self._total(valid.sum()).clamp(min=1)
        units = self._units(target, valid)
        if self._network is not None:
            weights = self._learn(units, call.losses(call.logits.detach()).float(), scores, number)
        else:
            means = self._averaged(units, scores)
            if self.permuted:
                means = means[self._order(len(means))]
            if self.mode == 'l2rw':
                positive = torch.where(valid, units.spread(means), 0.0)
                total = self._total(positive.clamp(min=0).sum())
                weights = rectified_weights(positive, total) * number
            else:
                weights = self._two_components(units, means)
        weights = torch.where(valid, weights, 1.0)
        if self._shown:
            self._log(weights, target, valid)
        return weights

    def _closed_form(self, call: Call) -> Tensor:
        """Scores from the classifier's features and logits in the step itself."""
        if len(self._seen_by_layer) != 1:
            raise TypeError(
                f"engine='last_layer' of {_OWNER} saw {len(self._seen_by_layer)} calls of the "
                "classifier in a step, and needs one; use engine='finite_difference'."
            )
        features, output = self._seen_by_layer[0]
        if self._batches == 1 or self._shown:
            same = output
            if output.shape[2:] != call.logits.shape[2:]:
                size, corners = call.logits.shape[2:], self._align_corners
                same = F.interpolate(output.float(), size, mode='bilinear', align_corners=corners)
            scale = call.logits.detach().abs().amax()
            if same.shape != call.logits.shape or (same - call.logits).abs().amax() > 0.05 * scale:
                raise TypeError(
                    f"engine='last_layer' of {_OWNER} needs a loss of the logits as the classifier "
                    'gives them, and something between changes them; use '
                    "engine='finite_difference'."
                )
        directions = [self._direction[name].flatten(1) for name in self._names[:1]]
        bias = [self._direction[name] for name in self._names[1:]]
        with torch.autocast(self._device.type, enabled=False):
            return last_layer_losses_along(
                call.losses,
                call.logits.float(),
                features.float(),
                directions[0],
                bias[0] if bias else None,
                self._align_corners,
            )

    def _units(self, target: Tensor, valid: Tensor) -> '_Units':
        """What has a weight of its own, for each element."""
        level = self.level or ('sample' if target.ndim == 1 else 'class')
        if (level == 'sample') != (target.ndim == 1):
            wanted = 'sample' if target.ndim == 1 else 'class'
            raise ValueError(
                f'level of {_OWNER} is {level!r}, but labels have the shape '
                f'{tuple(target.shape)}; use {wanted!r}, or leave it out.'
            )
        index = torch.arange(len(target), device=target.device)
        if level == 'sample':
            return _Units(index, target, valid, len(target), target)
        if level == 'class':
            classes = torch.arange(len(self._seen), device=target.device)
            index = torch.where(valid, target, 0).long()
            return _Units(index, target, valid, len(classes), classes, self._total)
        index = index[:, None, None]
        number = len(target)
        if level == 'pixel':
            rows, columns = (
                torch.arange(size, device=target.device) // _BLOCK for size in target.shape[1:]
            )
            height, width = (-(-size // _BLOCK) for size in target.shape[1:])
            index = (index * height + rows[:, None]) * width + columns
            number = number * height * width
        zeros = torch.zeros(number, dtype=torch.int64, device=target.device)
        return _Units(index.expand(target.shape), target, valid, number, zeros)

    def _averaged(self, units: '_Units', scores: Tensor) -> Tensor:
        """Mean scores of units; those of classes over batches, too."""
        means, present = units.means(scores)
        if units.total is None:
            return means
        old = torch.where(self._seen, self.momentum * self._class_scores, 0.0)
        new = torch.where(self._seen, 1 - self.momentum, 1.0) * means
        self._class_scores = torch.where(present, old + new, self._class_scores)
        self._seen = self._seen | present
        return self._class_scores

    def _of_classes(self, target: Tensor, valid: Tensor) -> Tensor:
        """w_y of each element."""
        return self.class_weights(self.class_counts)[torch.where(valid, target, 0).long()]

    def _order(self, number: int) -> Tensor:
        """A permutation that depends on the number of the batch alone."""
        generator = torch.Generator().manual_seed(self._batches)
        return torch.randperm(number, generator=generator).to(self._device)

    def _two_components(self, units: '_Units', means: Tensor) -> Tensor:
        scores, class_weights = units.spread(means), self._of_classes(units.target, units.valid)
        if self.step == 'gradient':
            conditional = -self.strength * sample_weight_gradient(scores, self._rate(), 1.0)
        else:
            own = self._seen if units.total else units.has_any()
            squares = torch.stack([means[own].square().sum(), own.sum()])
            squares, number = squares if units.total else self._total(squares)
            mean = squares / number.clamp(min=1)
            kept = torch.where(self._mean_square == 0, 0.0, self.momentum)
            self._mean_square = kept * self._mean_square + (1 - kept) * mean
            conditional = relative_conditional(
                scores, class_weights, self._mean_square.sqrt(), self.strength
            )
        self._relative = torch.where(class_weights > 0, conditional / class_weights, 0.0)
        self._count(self._relative, units.target, units.valid)
        return two_component_weights(class_weights, conditional, self.floor)

    def _of_network(self, units: '_Units', losses: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
        """Weights with the mean 1 over elements, through which no gradient goes, and that mean."""
        own = self._network(units.means(losses)[0], self._kinds[units.classes])
        spread = units.spread(own)
        mean = self._total(torch.where(units.valid, spread, 0.0).sum().detach()) / number
        return spread / mean.clamp(min=1e-12), mean

    def _learn(self, units: '_Units', losses: Tensor, scores: Tensor, number: Tensor) -> Tensor:
        """A step of the weight network, and its weights after that."""
        with torch.enable_grad():
            weights, _ = self._of_network(units, losses, number)
            # Less their weighted mean, which is what dividing by the mean weight comes to.
            centre = self._total((scores * weights.detach()).sum()) / number
            centred = torch.where(units.valid, scores - centre, 0.0)
            loss = weight_net_loss(centred, weights, self._rate(), 1 / number)
            gradients = torch.autograd.grad(loss, list(self._network.parameters()))
        for parameter, gradient in zip(self._network.parameters(), gradients, strict=True):
            parameter.grad = self._total(gradient)
        self._network_optimizer.step()
        weights = self._of_network(units, losses, number)[0].detach()
        self._relative = weights - 1
        self._count(self._relative, units.target, units.valid)
        return weights

    # What is shown of it.

    def _shows(self, runner: Runner) -> bool:
        intervals = [hook.interval for hook in runner.hooks if isinstance(hook, LoggerHook)]
        return any(self.every_n_train_iters(runner, interval) for interval in intervals)

    def _count(self, relative: Tensor, target: Tensor, valid: Tensor) -> None:
        groups = self._group_of[torch.where(valid, target, 0).long()][valid]
        bins = ((relative[valid].clamp(-1, 1) + 1) / 2 * (_BINS - 1)).round().long()
        counted = torch.bincount(groups * _BINS + bins, minlength=self._histogram.numel())
        self._histogram += counted.view_as(self._histogram)

    def _log(self, weights: Tensor, target: Tensor, valid: Tensor) -> None:
        """Means by group of eps_i / w_y, share at the floor, |v|: under names without 'loss'."""
        hub = self._runner.message_hub
        length = sum(value.square().sum() for value in self._direction.values()).sqrt()
        hub.update_scalar('train/meta_direction_norm', length.item())
        hub.update_scalar('train/meta_not_finite', self._not_finite.item())
        if self.mode == 'l2rw':
            share = ((weights > 0) & valid).sum() / valid.sum().clamp(min=1)
            hub.update_scalar('train/meta_share_positive', share.item())
            return
        if self.mode == 'two_component':
            limit = self.strength if self.step == 'relative' else 1 - (self.floor or 0)
            clipped = ((self._relative.abs() >= limit) & valid).sum() / valid.sum().clamp(min=1)
            hub.update_scalar('train/meta_share_clipped', clipped.item())
        groups = self._group_of[torch.where(valid, target, 0).long()]
        for i, name in enumerate(self._groups):
            members = (groups == i) & valid
            if members.any():
                mean = self._relative[members].mean().item()
                hub.update_scalar(f'train/meta_relative_{name}', mean)

    def _draw(self, runner: Runner) -> None:
        counts = self._histogram
        self._histogram = torch.zeros_like(counts)
        if counts.sum() == 0 or not runner.visualizer:
            return
        edges = torch.linspace(-1, 1, _BINS).tolist()
        by_group = dict(zip(self._groups, counts.tolist(), strict=False))
        picture = draw_meta_weights(edges, by_group, 'eps / class weight')
        runner.visualizer.add_image('meta_weights', pixels_of(picture), step=runner.iter + 1)


class _Units:
    """Elements that share a weight.

    Args:
        index: of the unit of each element, (N, ...).
        target: labels of the elements.
        valid: whether an element counts.
        number: U, of units.
        classes: (U,) class of each unit, where it has one.
        total: sums over ranks, where units are the same on all.
    """

    def __init__(
        self,
        index: Tensor,
        target: Tensor,
        valid: Tensor,
        number: int,
        classes: Tensor,
        total: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.index = index
        self.target = target
        self.valid = valid
        self.number = number
        self.classes = classes
        self.total = total

    def means(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """(U,) means over the valid elements of each unit, and which units have some."""
        zeros = torch.zeros(self.number, dtype=torch.float32, device=values.device)
        index, valid = self.index.flatten(), self.valid.flatten()
        values = torch.where(valid, values.flatten(), 0.0).float()
        both = torch.stack([zeros.index_add(0, index, each) for each in (values, valid.float())])
        sums, counts = both if self.total is None else self.total(both)
        return sums / counts.clamp(min=1), counts > 0

    def has_any(self) -> Tensor:
        """(U,) whether a unit has a valid element on this rank."""
        zeros = torch.zeros(self.number, dtype=torch.bool, device=self.index.device)
        return zeros.index_fill(0, self.index[self.valid], True)

    def spread(self, values: Tensor) -> Tensor:
        """The value of its unit for each element."""
        return values[self.index]


def _check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f'{name} of {_OWNER} is {value!r}; use {" or ".join(map(repr, choices))}.')


def _is_linear(layer: nn.Module) -> bool:
    """Whether a layer is W f + b, at every pixel alike."""
    if type(layer) is nn.Linear:
        return True
    return type(layer) is nn.Conv2d and layer.kernel_size == (1, 1) and layer.groups == 1


def _prepared(model: nn.Module, batch: Any) -> Any:
    """A batch as the model takes it; the batch itself is left as it is."""
    batch = dict(batch)
    # That of mmseg pads labels in place.
    batch['data_samples'] = [deepcopy(sample) for sample in batch['data_samples']]
    return model.data_preprocessor(batch, training=True)

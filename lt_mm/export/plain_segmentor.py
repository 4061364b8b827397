"""The model of mmsegmentation alone that predicts what a segmentor with parts of lt_mm does."""

import inspect
import re
from collections.abc import Mapping
from copy import deepcopy

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from lt_mm.export.inference_config import names_lt_mm
from lt_mm.export.plain_experts import plain_experts
from lt_mm.models.heads import CosineHeadMixin, GMLHeadMixin, MeanOfHeads
from lt_mm.models.layers import CosineConv2d
from lt_mm.models.networks import TeacherEncoderDecoder

_TRAINING_STATE = re.compile(
    r'auxiliary_head\.|decode_head\.((experts\.)?\d+\.)?(gml|loss_decode)\.'
)
_MIXIN_ARGUMENTS = {
    name
    for mixin in (CosineHeadMixin, GMLHeadMixin)
    for name in inspect.signature(mixin.__init__).parameters
}
_NORMALIZED_HEAD = '''\
"""{name} whose classifier sees the direction of features, not their norm."""

import torch
from {module} import {name}
from mmseg.registry import MODELS
from torch.nn.functional import conv2d, normalize


@MODELS.register_module()
class Normalized{name}({name}):
    """For inference; the weight of conv_seg is unit vectors divided by a temperature."""

    def cls_seg(self, feat):
        """Logits, in float32 also under autocast and in half precision."""
        weight, bias = self.conv_seg.weight.float(), self.conv_seg.bias.float()
        with torch.autocast(feat.device.type, enabled=False):
            return conv2d(normalize(feat.float(), dim=1), weight, bias)
'''


def plain_segmentor(
    model: Mapping, state_dict: Mapping[str, Tensor]
) -> tuple[dict, dict[str, Tensor], dict[str, str]]:
    """Replace or leave out what is of lt_mm in a model and its weights; predictions stay the same.

    A linear classifier stays as it is. The weight of a cosine one is normalised and divided by the
    temperature once, here; its features have to be normalised at every image, which a subclass of
    the plain head does. Without that, each pixel would weigh by the norm of its feature when the
    logits are upsampled. Auxiliary heads, losses, queues, embeddings and teachers are left out.
    Several experts become a head of their mean, or the one that is to predict alone.

    Args:
        model: ``model`` of a config, whose types are names; left as it is.
        state_dict: its weights; left as they are.

    Returns:
        The model, its weights, and name to text of the Python modules with its head: none without
        a cosine classifier or several experts.

    Raises:
        ValueError: if the model has no decode head, nothing of lt_mm, or a part of lt_mm that
            cannot be replaced, or if the weights do not fit it.
    """
    model = deepcopy(dict(model))
    of_lt_mm = names_lt_mm(model)
    _require_head(model)
    model, state_dict, modules = plain_experts(model, state_dict)
    heads = _heads(model)
    trained = {prefix: MODELS.build(deepcopy(head)) for prefix, head in heads.items()}
    if not of_lt_mm and not any(isinstance(h, CosineHeadMixin) for h in trained.values()):
        raise ValueError(
            f'the model has nothing of lt_mm (decode_head: {next(reversed(heads.values()))["type"]}'
            '); mmsegmentation loads its config and checkpoint as they are.'
        )
    state = {k: v for k, v in state_dict.items() if not _TRAINING_STATE.match(k)}
    classifiers = {prefix: getattr(head, 'conv_seg', None) for prefix, head in trained.items()}
    cosine = {k: v for k, v in classifiers.items() if isinstance(v, CosineConv2d)}
    for prefix, head in heads.items():
        _make_head_plain(head, trained[prefix])
    _make_rest_plain(model)
    for prefix, classifier in cosine.items():
        _fold(state, f'{prefix}conv_seg', classifier.temperature)
    state = _fitted(model, state)
    for prefix in cosine:
        plain = MODELS.get(heads[prefix]['type'])
        text = _NORMALIZED_HEAD.format(name=plain.__name__, module=plain.__module__)
        modules[f'normalized_{plain.__name__.lower()}'] = text
        heads[prefix]['type'] = f'Normalized{plain.__name__}'
    return model, state, modules


def _require_head(model: dict) -> None:
    if model.get('decode_head') is None:
        raise ValueError(
            f'the model is a {model.get("type")} without decode_head; give the config of a '
            'segmentor of mmsegmentation.'
        )


def _heads(model: dict) -> dict[str, dict]:
    """The decode heads of a model, by the prefix of their weights."""
    head = model['decode_head']
    if isinstance(head, Mapping) and head['type'] == MeanOfHeads.__name__:
        return {f'decode_head.experts.{i}.': one for i, one in enumerate(head['experts'])}
    if isinstance(head, Mapping):
        return {'decode_head.': head}
    return {f'decode_head.{index}.': stage for index, stage in enumerate(head)}


def _make_head_plain(head: dict, trained: nn.Module) -> None:
    if isinstance(trained, CosineHeadMixin):
        mro = type(trained).__mro__
        plain = next(base for base in mro if not issubclass(base, CosineHeadMixin))
        of_mmseg = plain.__module__.startswith('mmseg.')
        head['type'] = plain.__name__ if of_mmseg else f'{plain.__module__}.{plain.__name__}'
        for name in _MIXIN_ARGUMENTS & head.keys():
            del head[name]
    head['loss_decode'] = dict(type='CrossEntropyLoss')


def _make_rest_plain(model: dict) -> None:
    model.pop('auxiliary_head', None)
    if issubclass(MODELS.get(model['type']), TeacherEncoderDecoder):
        model['type'] = 'EncoderDecoder'
        del model['teacher']
    for part in (model, model.get('backbone') or {}):
        # Weights to start a training from, which a checkpoint makes needless to download.
        part.update({name: None for name in ('pretrained', 'init_cfg') if name in part})
    for name, part in model.items():
        if names_lt_mm(part):
            raise ValueError(
                f'model.{name} needs lt_mm at inference too; only GML and cosine heads, several '
                'heads as experts, losses and a teacher can be left out or replaced.'
            )


def _fold(state: dict[str, Tensor], name: str, temperature: float) -> None:
    """Make the weight of a cosine classifier that of an ordinary 1x1 convolution."""
    weight = state.get(f'{name}.weight')
    if weight is None or weight.ndim != 2:
        shape = None if weight is None else tuple(weight.shape)
        raise ValueError(
            f'{name}.weight of the checkpoint has shape {shape} and not the (classes, channels) of '
            "the config's cosine classifier; give the config that it was trained with."
        )
    unit = F.normalize(weight.double(), dim=1) / temperature
    state[f'{name}.weight'] = unit.to(torch.float32)[:, :, None, None]
    # What is there already is a shift of the logits that the experts' compensation became.
    state.setdefault(f'{name}.bias', torch.zeros(len(unit)))


def _fitted(model: dict, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights as the plain model saves them, with the versions of its layers."""
    plain = MODELS.build(deepcopy(model))
    try:
        plain.load_state_dict(state)
    except RuntimeError as error:
        fault = ' '.join(str(error).split())
        raise ValueError(
            'the checkpoint does not fit the config; give the config that it was trained with '
            f'({fault:.300})'
        ) from error
    return plain.state_dict()

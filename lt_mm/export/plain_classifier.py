"""The classifier of mmpretrain alone that predicts what one of several experts does."""

import inspect
import sys
from collections.abc import Mapping
from copy import deepcopy

import torch
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from lt_mm.export.inference_config import names_lt_mm
from lt_mm.export.plain_parts import below, compensating_bias
from lt_mm.models.backbones import MultiExpertResNet, expert_backbone, plain_weights
from lt_mm.models.heads.multi_expert_cls_head import MultiExpertClsHead
from lt_mm.models.layers import CosineLinear
from lt_mm.models.necks import ExpertGlobalAveragePooling

_OWN_REGISTRY = 'from lt_mm.registry import MODELS'
_NORMALIZED_HEAD = '''\
"""LinearClsHead whose classifier sees the direction of features, not their norm."""

import torch
from mmpretrain.models.heads import LinearClsHead
from mmpretrain.registry import MODELS
from torch.nn.functional import linear, normalize


@MODELS.register_module()
class NormalizedLinearClsHead(LinearClsHead):
    """For inference; the weight of fc is unit vectors divided by a temperature."""

    def forward(self, feats):
        """Logits, in float32 also under autocast and in half precision."""
        features = self.pre_logits(feats)
        with torch.autocast(features.device.type, enabled=False):
            directions = normalize(features.float(), dim=1)
            return linear(directions, self.fc.weight.float(), self.fc.bias.float())
'''


def plain_expert(
    model: Mapping, state_dict: Mapping[str, Tensor], expert: int
) -> tuple[dict, dict[str, Tensor], dict[str, str]]:
    """Take one expert, with what it shares, out of a classifier of several.

    A post-compensation becomes part of the bias of the classifier. A cosine classifier becomes unit
    vectors divided by the temperature, and its features are normalised by a subclass of
    LinearClsHead. Losses, the interplay and the other experts are left out.

    Args:
        model: ``model`` of a config; left as it is.
        state_dict: its weights; left as they are.
        expert: which, from 0.

    Returns:
        The model, its weights, and name to text of the Python modules that it needs: none for a
        full-width network of mmpretrain with a linear classifier.

    Raises:
        ValueError: if the model has no experts, not this one, or a part that cannot be replaced, or
            if the weights do not fit it.
    """
    model = deepcopy(dict(model))
    backbone, head = _check(model)
    if not 0 <= expert < head.num_experts:
        raise ValueError(
            f'expert is {expert}, but the model has {head.num_experts}: choose one from 0 to '
            f'{head.num_experts - 1}.'
        )
    weights = plain_weights(below(state_dict, 'backbone.'), expert)
    state = {f'backbone.{name}': value for name, value in weights.items()}
    classifier = _classifier(head, state_dict, expert)
    state |= {f'head.fc.{name}': value for name, value in classifier.state_dict().items()}
    plain_head = dict(
        type='LinearClsHead',
        num_classes=head.num_classes,
        in_channels=head.in_channels,
        topk=head.topk,
        loss=dict(type='CrossEntropyLoss'),
    )
    plain = dict(type='ImageClassifier', backbone=backbone, head=plain_head)
    if model.get('neck') is not None:
        plain['neck'] = dict(type='GlobalAveragePooling')
    if model.get('data_preprocessor') is not None:
        plain['data_preprocessor'] = model['data_preprocessor']
    state = _fitted(plain, state)
    modules = _name_backbone(backbone)
    if isinstance(head.experts[expert].fc, CosineLinear):
        plain_head['type'] = 'NormalizedLinearClsHead'
        modules['normalized_linear_cls_head'] = _NORMALIZED_HEAD
    if names_lt_mm(plain):
        raise ValueError(
            'the backbone or the data_preprocessor of the model has a part of lt_mm, which '
            'mmpretrain has nothing for; replace it.'
        )
    return plain, state, modules


def _check(model: dict) -> tuple[dict, MultiExpertClsHead]:
    """Config of the plain backbone, and the head as it was trained."""
    wanted = dict(backbone=MultiExpertResNet, head=MultiExpertClsHead)
    if model.get('neck') is not None:
        wanted['neck'] = ExpertGlobalAveragePooling
    for part, config in dict(model=model, **{name: model.get(name) for name in wanted}).items():
        expected = wanted.get(part, ImageClassifier)
        found = (config or {}).get('type')
        kind = MODELS.get(found) if isinstance(found, str) else found
        if kind is None or not issubclass(kind, expected):
            raise ValueError(
                f'the {part} is a {found!r} and no {expected.__name__}; give the config of a '
                'classifier of several experts.'
            )
    arguments = ('backbone', 'shared_stages', 'width_factor')
    of_backbone = {name: model['backbone'][name] for name in arguments if name in model['backbone']}
    backbone = expert_backbone(**of_backbone)
    # Weights to start a training from, which a checkpoint makes needless to download.
    backbone.pop('init_cfg', None)
    return backbone, MODELS.build(deepcopy(model['head']))


def _classifier(
    head: MultiExpertClsHead, state_dict: Mapping[str, Tensor], expert: int
) -> nn.Linear:
    """The linear layer that the expert's own classifier and compensation make up."""
    trained = head.experts[expert]
    if type(trained.fc) not in (nn.Linear, CosineLinear):
        raise ValueError(
            f'the classifier is a {type(trained.fc).__name__}, which LinearClsHead cannot replace; '
            'only linear and cosine ones can be exported.'
        )
    layer = nn.Linear(head.in_channels, head.num_classes)
    prefix = f'head.experts.{expert}.'
    shift = torch.zeros(head.num_classes)
    try:
        trained.fc.load_state_dict(below(state_dict, f'{prefix}fc.'))
        if trained.post_compensation is not None:
            shift = compensating_bias(
                trained.post_compensation,
                state_dict,
                f'{prefix}post_compensation.',
                head.num_classes,
            )
    except RuntimeError as error:
        raise ValueError(_misfit(error)) from error
    with torch.no_grad():
        if isinstance(trained.fc, CosineLinear):
            unit = F.normalize(trained.fc.weight.double(), dim=1) / trained.fc.temperature
            layer.weight.copy_(unit)
            layer.bias.copy_(shift)
        else:
            layer.weight.copy_(trained.fc.weight)
            layer.bias.copy_(trained.fc.bias + shift)
    return layer


def _name_backbone(backbone: dict) -> dict[str, str]:
    """Put the name of its class into ``type``; text of the module that it is in, if of lt_mm."""
    kind = backbone['type']
    module = kind.__module__
    if module.startswith('mmpretrain.'):
        backbone['type'] = kind.__name__
        return {}
    text = inspect.getsource(sys.modules[module])
    if module.split('.')[0] != 'lt_mm':
        backbone['type'] = f'{module}.{kind.__name__}'
        return {}
    backbone['type'] = kind.__name__
    text = text.replace(_OWN_REGISTRY, 'from mmpretrain.registry import MODELS')
    return {module.rpartition('.')[2]: text}


def _fitted(model: dict, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights as the plain model saves them, with the versions of its layers."""
    plain = MODELS.build(deepcopy(model))
    try:
        plain.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(_misfit(error)) from error
    return plain.state_dict()


def _misfit(error: RuntimeError) -> str:
    fault = ' '.join(str(error).split())
    return (
        'the checkpoint does not fit the config; give the config that it was trained with '
        f'({fault:.300})'
    )

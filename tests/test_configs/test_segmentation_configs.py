"""Segmentation configs build, and have the settings of the GML paper."""

import pytest
import torch
from config_files import FILES, load, types
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from lt_mm.models.counts import set_class_counts
from lt_mm.structures import ClassCounts

SCENES = [name for name in FILES if name.startswith('digit_scenes/')]
FLAGSHIP = 'gml_fcn_r50_ade20k'
FLAGSHIPS = [
    FLAGSHIP, 'ade20k/gml_upernet_r50_ade20k', 'ade20k/gml_deeplabv3plus_r50_ade20k'
]  # fmt: skip


@pytest.mark.parametrize('name', SCENES)
def test_demo_models_build_and_infer(name):
    cfg = load(name)
    init_default_scope(cfg.default_scope)
    model = revert_sync_batchnorm(MODELS.build(cfg.model)).eval()
    set_class_counts(model, ClassCounts([10] * 12))
    assert model(torch.randn(1, 3, 96, 96), mode='tensor').shape == (1, 12, 24, 24)


@pytest.mark.parametrize('name', FLAGSHIPS)
def test_flagships_have_the_settings_of_section_4_8(name):
    """(k, k_m, tau_s, tau_g) = (8192, 27, 0.05, 0.07), alpha 0.2, MLP (512, 512, 256)."""
    cfg = load(name)
    init_default_scope(cfg.default_scope)
    assert cfg.train_cfg.max_iters == 160000 and tuple(cfg.crop_size) == (512, 512)
    model = MODELS.build(cfg.model)
    set_class_counts(model, ClassCounts([10] * 150))
    head, gml = model.decode_head, model.decode_head.contrast
    queue = (gml.queue.size, gml.queue.min_size, gml.temperature)
    assert queue == (8192, 27, 0.07)
    assert (head.conv_seg.temperature, model.auxiliary_head.conv_seg.temperature) == (0.05, 0.05)
    alphas = (gml.alpha, head.loss_decode.alpha, model.auxiliary_head.loss_decode.alpha)
    assert alphas == (0.2, 0.2, 0.2)
    assert model.auxiliary_head.loss_decode.loss_weight == 0.4
    layers = [layer for layer in gml.key_mlp.layers if isinstance(layer, torch.nn.Linear)]
    assert [layer.in_features for layer in layers] + [layers[-1].out_features] == [512, 512, 256]
    teacher = cfg.model.teacher
    assert teacher.checkpoint.rsplit('/', 2)[1] in teacher.checkpoint.rsplit('/', 1)[1]


OF_FIG_2 = {
    f'{FLAGSHIP}{variant}': alpha
    for variant, alpha in (
        ('@alpha0', 0), ('', 0.2), ('@alpha04', 0.4), ('@alpha06', 0.6), ('@alpha08', 0.8),
        ('@alpha1', 1),
    )
}  # fmt: skip
OF_TABLE_9 = {'ade20k/cosine_fcn_r50_ade20k': 0.2, 'ade20k/cosine_fcn_r50_ade20k@alpha1': 1}


@pytest.mark.parametrize('name', [*OF_FIG_2, *OF_TABLE_9])
def test_alpha_of_fig_2_acts_on_both_heads(name):
    cfg, alpha = load(name), {**OF_FIG_2, **OF_TABLE_9}[name]
    assert cfg.model.decode_head.alpha == alpha
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    set_class_counts(model, ClassCounts([10] * 150))
    adjusted = [part.alpha for part in model.modules() if hasattr(part, 'inherit_alpha')]
    assert adjusted == [alpha] * (3 if name in OF_FIG_2 else 2)


def test_cross_entropy_of_table_9_is_mmsegs_own_model():
    ours = load('ade20k/ce_fcn_r50_ade20k')
    init_default_scope('mmseg')
    assert not any(kind.startswith('lt_mm.') for kind in types(ours.model.to_dict()))


def checkpoint_bytes(name):
    """Weights and buffers, and one momentum a parameter, as SGD leaves them in a checkpoint."""
    cfg = load(name)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    tensors = [*model.state_dict().values(), *model.parameters()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors), model


def test_checkpoint_of_the_flagship_is_little_larger_than_without_gml():
    plain, _ = checkpoint_bytes('ade20k/ce_fcn_r50_ade20k')
    ours, model = checkpoint_bytes(FLAGSHIP)
    assert 0 < ours - plain <= 20e6
    assert not any('teacher' in name for name in model.state_dict())


@pytest.mark.parametrize('name', [name for name in FILES if 'trainable-temperature' in name])
def test_a_trainable_temperature_is_not_decayed(name):
    cfg = load(name)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    decays = {
        id(parameter): group['weight_decay']
        for group in build_optim_wrapper(model, cfg.optim_wrapper).param_groups
        for parameter in group['params']
    }
    head = getattr(model, 'decode_head', None) or model.head
    assert decays.pop(id(head.contrast.log_temperature)) == 0
    assert all(decay > 0 for decay in decays.values())

"""What goes with exported models, tested where it stands."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS as MMPRETRAIN
from mmseg.registry import MODELS as MMSEG

from lt_mm.export.plain_model import SHIPPED
from lt_mm.models.shipped import look_beside
from lt_mm.models.shipped.normalized_cls_head import NormalizedLinear
from lt_mm.models.shipped.normalized_decode_head import NormalizedConv2d

FOLDER = Path(look_beside.__file__).parent
FILES = sorted(path for path in FOLDER.glob('*.py') if path.stem not in ('__init__', 'look_beside'))
FCN = dict(
    base='FCNHead', in_channels=5, channels=5, num_classes=4, num_convs=0, concat_input=False
)  # fmt: skip


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_files_stand_alone(path):
    imported = [
        name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else
                     [alias.name for alias in node.names])
    ]  # fmt: skip
    known = {*sys.stdlib_module_names, 'torch', 'mmcv', 'mmengine', 'mmseg', 'mmpretrain'}
    assert {name.split('.')[0] for name in imported} <= known


def test_the_table_says_what_the_files_register():
    registries = dict(mmseg=MMSEG, mmpretrain=MMPRETRAIN)
    for name, (package, module) in SHIPPED.items():
        found = registries[package].get(name)
        assert found.__module__ == f'lt_mm.models.shipped.{module}', name
    assert {module for _, module in SHIPPED.values()} == {path.stem for path in FILES}
    for path in FILES:
        module = importlib.import_module(f'lt_mm.models.shipped.{path.stem}')
        for registry in registries.values():
            for name, kind in registry.module_dict.items():
                assert kind.__module__ != module.__name__ or name in SHIPPED


def test_files_are_imported_beside_a_config_without_lt_mm(tmp_path):
    """Twice, since an exported model may be loaded where lt_mm, or another one, is."""
    script = (
        'import sys\n'
        "sys.modules['lt_mm'] = None\n"
        'from mmengine.config import Config\n'
        "Config.fromfile(sys.argv[1] + '/config.py')\n"
        "assert sys.path.count(sys.argv[1]) == 1, 'once'\n"
        'from importlib import import_module, reload\n'
        'for name in sys.argv[2:]:\n'
        '    assert reload(import_module(name)).__file__ == f"{sys.argv[1]}/{name}.py"\n'
    )
    for path in FILES:
        (tmp_path / path.name).write_text(path.read_text())
    names = [path.stem for path in FILES]
    text = (FOLDER / 'look_beside.py').read_text()
    (tmp_path / 'config.py').write_text(f'{text}\ncustom_imports = dict(imports={names})\n')
    command = [sys.executable, '-c', script, str(tmp_path), *names]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_decode_head_on_unit_vectors():
    init_default_scope('mmseg')
    head = MMSEG.build(dict(type='NormalizedDecodeHead', **FCN)).eval()
    assert type(head).__name__ == 'FCNHead' and isinstance(head.conv_seg, NormalizedConv2d)
    features = torch.randn(2, 5, 3, 4)
    unit = features / features.norm(dim=1, keepdim=True)
    expected = torch.einsum('cd,ndhw->nchw', head.conv_seg.weight[:, :, 0, 0], unit)
    with torch.no_grad():
        logits = head([features])
    torch.testing.assert_close(logits, expected + head.conv_seg.bias[:, None, None])


@pytest.mark.parametrize(
    ('base', 'classifier', 'arguments'),
    [
        ('LinearClsHead', 'fc', {}),
        ('VisionTransformerClsHead', 'layers.head', dict(hidden_dim=6)),
        ('StackedLinearClsHead', 'layers.1.fc', dict(mid_channels=[6])),
    ],
)
def test_a_classifying_head_on_unit_vectors(base, classifier, arguments):
    init_default_scope('mmpretrain')
    config = dict(
        type='NormalizedClsHead',
        base=base,
        classifier=classifier,
        num_classes=4,
        in_channels=5,
        **arguments,
    )
    head = MMPRETRAIN.build(config).eval()
    layer = head.get_submodule(classifier)
    assert type(head).__name__ == base and isinstance(layer, NormalizedLinear)
    layer.centre.copy_(torch.randn(layer.in_features))
    seen = []
    layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    features = torch.randn(2, 5)
    with torch.no_grad():
        logits = head(([None, features] if 'Vision' in base else features,))
    (given,) = seen
    unit = (given - layer.centre) / (given - layer.centre).norm(dim=1, keepdim=True)
    torch.testing.assert_close(logits, unit @ layer.weight.T + layer.bias)


@pytest.mark.parametrize('layer', [NormalizedLinear(16, 4), NormalizedConv2d(16, 4, 1)])
def test_logits_are_not_in_half_precision(layer):
    places = (3, 3) if isinstance(layer, NormalizedConv2d) else ()
    features = torch.randn(2, 16, *places)
    expected = layer(features)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(layer(features), expected)
    halves = layer.half()(features.half())
    assert halves.dtype == torch.float32
    torch.testing.assert_close(halves, expected, rtol=0, atol=0.01)

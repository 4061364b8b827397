"""What docs/methods/gml.md and docs/text_centres.md name and show is what the package has."""

import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from lt_mm import functional, models
from lt_mm.registry import HOOKS, MODELS
from lt_mm.structures import TextFeatures

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / 'docs' / 'methods' / 'gml.md').read_text(encoding='utf-8')
TEXTS = (ROOT / 'docs' / 'text_centres.md').read_text(encoding='utf-8')
SEGMENTATION, CLASSIFICATION = (
    re.search(rf'equation to argument: {task}\n(.*?)\n## ', PAGE, re.DOTALL)[1]
    for task in ('segmentation', 'classification')
)
# Of a head: one that stands for itself in a cell of a table.
ARGUMENT = r'`((?:contrast|classifier_temperature|loss_decode|loss|distillation|alpha)=[^`]*[^.`])`'
PIXELS = dict(
    type='lt_mm.GMLFCNHead', in_channels=4, channels=4, num_convs=1, concat_input=False,
    num_classes=150, in_index=0, norm_cfg=dict(type='BN'),
)  # fmt: skip
IMAGES = dict(type='lt_mm.GMLClsHead', num_classes=10, in_channels=8)


@pytest.mark.parametrize(
    ('table', 'head', 'scope', 'loss'),
    [
        (SEGMENTATION, PIXELS, 'mmseg', 'loss_decode'),
        (CLASSIFICATION, IMAGES, 'mmpretrain', 'loss_module'),
    ],
)
def test_arguments_of_the_tables(table, head, scope, loss):
    init_default_scope(scope)
    found = [one for one in re.findall(ARGUMENT, table) if '...' not in one]
    assert len(found) >= 5
    default = MODELS.build(head)
    for text in found:
        given = eval(f'dict({text})')
        if 'loss_decode' in given:
            given['loss_decode']['type'] = 'lt_mm.LogitAdjustedLoss'
        built = MODELS.build({**head, **given})
        if 'alpha' in given:
            assert (getattr(built, loss).alpha, built.contrast.alpha) == (0.2, 0.2)
        elif 'trainable_temperature' in text:
            assert built.contrast.log_temperature is not None
        elif 'distillation' not in given:
            # What the page shows are the defaults.
            assert repr(built) == repr(default), text


def test_names_of_the_page():
    names = set(re.findall(r'lt_mm\.([A-Z]\w+)', PAGE + TEXTS))
    names |= set(re.findall(r'`(\w+(?:Loss|Head|Classifier|EncoderDecoder|Hook))\b', PAGE + TEXTS))
    for name in names - {'MyHead'}:
        assert name in MODELS or name in HOOKS, name
    for name in re.findall(r'`functional\.(\w+)`', PAGE):
        assert hasattr(functional, name)
    for name in ('ClassQueue', 'ProjectionMLP', 'CosineConv2d'):
        assert f'`{name}`' in PAGE and hasattr(models.layers, name)


def test_the_page_says_what_the_presets_are():
    text = re.search(r"with\n`(classifier='cosine', contrast=.*?)` and a `LogitAdjustedLoss`", PAGE)
    init_default_scope('mmseg')
    changes = {'type': 'lt_mm.LongTailHead', 'base': 'FCNHead', **eval(f'dict({text[1]})')}
    changes['loss_decode'] = dict(type='lt_mm.LogitAdjustedLoss')
    assert repr(MODELS.build(PIXELS | changes)) == repr(MODELS.build(PIXELS))


def test_text_centres(tmp_path):
    init_default_scope('mmpretrain')
    path = tmp_path / 'texts.npz'
    TextFeatures(torch.randn(10, 4), torch.ones(10, dtype=torch.int64), ()).save(path)
    block = next(b for b in re.findall(r'```python\n(.*?)```', TEXTS, re.DOTALL) if '_base_' in b)
    block = block.replace('data/texts.npz', str(path))
    config = tmp_path / 'page.py'
    config.write_text(block.replace("'cosine_", f"'{ROOT}/configs/digits_lt/cosine_"))
    model = MODELS.build(dict(Config.fromfile(config).model, data_preprocessor=None))
    assert model.train()(torch.randn(2, 3, 16, 16)).shape == (2, 10)
    contrast = model.head.contrast
    rows = re.findall(r'\| `(\w+)` \| (.*?) \|', TEXTS)
    defaults = dict(rows[:4])
    assert defaults['mixture_temperature'] == str(contrast.temperature)
    assert defaults['alpha'] == f'that of the head, else {contrast.alpha}'
    assert defaults['loss_weight'] == str(contrast.loss_weight)
    linears = [part for part in contrast.key_mlp.layers if hasattr(part, 'out_features')]
    widths = tuple(part.out_features for part in linears)
    assert defaults['widths'] == f'`{widths}`'

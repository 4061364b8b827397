"""Several experts, exported as the head of their mean or as one of them alone."""

import json
import subprocess
import sys
from copy import deepcopy

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from lt_mm.export.exported_model import export_model
from lt_mm.export.segmentor import plain_segmentor
from lt_mm.structures import ClassCounts

FCN = dict(type='FCNHead', in_channels=32, in_index=3, num_convs=1, concat_input=False)
COSINE = dict(FCN, type='lt_mm.CosineFCNHead', classifier_temperature=0.1)
GML = dict(FCN, type='lt_mm.GMLFCNHead', contrast=dict(size=40, min_size=2, widths=(8, 6)))
FINER = dict(FCN, in_channels=8, in_index=1)
CHANGES = {
    'mean': dict(experts=[FCN, COSINE, FINER], interplay=dict(type='lt_mm.MutualLoss')),
    'compensated': dict(
        experts=[GML, dict(GML, classifier='linear')], share_queue=True,
        post_compensation=dict(alpha=0.5, target=[1, 1, 2, 6]),
    ),
    'linear-alone': dict(experts=[COSINE, FINER], predict_with=1),
    'cosine-alone': dict(experts=[FCN, COSINE], predict_with=1, post_compensation=dict()),
}  # fmt: skip
# Runs in a process without lt_mm.
PREDICT = """
import json, sys
sys.modules['lt_mm'] = None
import torch
from mmseg.apis import init_model

found = {}
for name in json.loads(sys.argv[1]):
    model = init_model(f'{name}/config.py', f'{name}/weights.pth', device='cpu')
    weights = torch.load(f'{name}/weights.pth', weights_only=True)['state_dict']
    model.load_state_dict(weights, strict=True)
    with torch.no_grad():
        found[name] = model(torch.load('batch.pt'), mode='tensor'), type(model.decode_head).__name__
torch.save(found, 'found.pt')
"""


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


@pytest.fixture
def cases(config):
    """Config and trained model of each case."""

    def build(name):
        torch.manual_seed(0)
        cfg = config('Cosine', 'linear', 'FCNHead')
        common = dict(channels=8, num_classes=4, norm_cfg=dict(type='BN'))
        loss = dict(type='lt_mm.LogitAdjustedLoss')
        cfg.model.decode_head = dict(
            common, type='lt_mm.MultiExpertDecodeHead', loss_decode=loss, **CHANGES[name]
        )
        model = MODELS.build(deepcopy(cfg.model))
        for part in model.modules():
            if hasattr(part, 'set_class_counts'):
                part.set_class_counts(ClassCounts([50, 30, 15, 5]))
            if isinstance(part, torch.nn.BatchNorm2d):
                part.momentum = 1.0
        for expert in model.decode_head.experts:
            torch.nn.init.normal_(expert.conv_seg.weight)
        weights = model.decode_head.expert_weights
        weights.copy_(torch.arange(1.0, len(weights) + 1) / len(weights))
        model.train()(torch.randn(8, 3, 64, 64), mode='tensor')
        return cfg, model.eval()

    return build


def test_predictions_are_the_same_without_lt_mm(cases, tmp_path):
    inputs = torch.randn(2, 3, 64, 64)
    torch.save(inputs, tmp_path / 'batch.pt')
    expected = {}
    for name in CHANGES:
        cfg, model = cases(name)
        text, state = cfg.pretty_text, model.state_dict()
        before = {key: value.clone() for key, value in state.items()}
        export_model(cfg, dict(state_dict=state)).save(tmp_path / name)
        assert cfg.pretty_text == text
        assert all(torch.equal(state[key], value) for key, value in before.items())
        with torch.no_grad():
            expected[name] = model(inputs, mode='tensor')
        written = (tmp_path / name / 'config.py').read_text()
        for word in ('lt_mm', 'MultiExpert', 'interplay', 'post_compensation', 'share_queue'):
            assert word not in written, (name, word)
    done = subprocess.run(
        [sys.executable, '-c', PREDICT, json.dumps(list(CHANGES))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = torch.load(tmp_path / 'found.pt', weights_only=True)
    for name, (logits, head) in found.items():
        assert head == ('FCNHead' if 'alone' in name else 'MeanOfHeads') and logits.std() > 0.1
        torch.testing.assert_close(logits, expected[name], rtol=0, atol=1e-4)
    files = {name: sorted(path.stem for path in (tmp_path / name).glob('*.p*')) for name in CHANGES}
    both = ['config', 'mean_of_heads', 'normalized_decode_head', 'weights']
    assert files['mean'] == files['compensated'] == both
    assert files['linear-alone'] == ['config', 'weights']
    assert files['cosine-alone'] == ['config', 'normalized_decode_head', 'weights']


def test_what_cannot_be_exported(cases):
    cfg, model = cases('cosine-alone')
    settings = cfg.to_dict()['model']
    state = model.state_dict()
    for name in [name for name in state if 'post_compensation' in name]:
        del state[name]
    with pytest.raises(
        ValueError, match=r'no class counts of the training.* give post_compensation'
    ):
        plain_segmentor(settings, state)
    with pytest.raises(ValueError, match='predict_with .* is 2'):
        plain_segmentor(settings, model.state_dict(), expert=2)
    alignment = dict(type='lt_mm.DisAlign')
    experts = [dict(FCN, type='lt_mm.LongTailHead', base='FCNHead', alignment=alignment)]
    settings['decode_head'].update(experts=experts, predict_with=0, post_compensation=None)
    settings['decode_head'].pop('interplay', None)
    model = MODELS.build(deepcopy(settings))
    torch.nn.init.normal_(model.decode_head.experts[0].alignment.scale)
    with pytest.raises(ValueError, match='confidence of DisAlign differs'):
        plain_segmentor(settings, model.state_dict())


def test_one_expert_by_its_number(cases):
    cfg, model = cases('mean')
    settings = cfg.to_dict()['model']
    inputs = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model.decode_head.expert_maps(model.extract_feat(inputs))
        for expert, logits in enumerate(expected):
            plain, weights, _ = plain_segmentor(settings, model.state_dict(), expert)
            rebuilt = MODELS.build(plain).eval()
            rebuilt.load_state_dict(weights)
            torch.testing.assert_close(rebuilt(inputs), logits, rtol=0, atol=1e-4)

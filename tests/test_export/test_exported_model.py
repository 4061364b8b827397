"""Exported segmentors predict what the trained ones do, in a process that cannot import lt_mm."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.apis import inference_model
from mmseg.registry import MODELS
from PIL import Image

from lt_mm.checkpoints import read_checkpoint
from lt_mm.export import plain_model
from lt_mm.export.exported_model import export_model

DOCS = Path(__file__).resolve().parents[2] / 'docs'
CLASSES = ('sky', 'road', 'sign', 'pole')
HEADS = ('FCNHead', 'DepthwiseSeparableASPPHead', 'UPerHead', 'SegformerHead')
CASES = {
    f'{kind}-{classifier}-{head}': (kind, classifier, head)
    for kind, classifier in (('GML', 'linear'), ('GML', 'cosine'), ('Cosine', 'cosine'))
    for head in HEADS
}
# Runs in the process without lt_mm: predictions, and whether the weights are exactly the model's.
PREDICT = """
import json, sys
sys.modules['lt_mm'] = None
import torch
from mmseg.apis import inference_model, init_model

found = {}
for name in json.loads(sys.argv[1]):
    model = init_model(f'{name}/config.py', f'{name}/weights.pth', device='cpu')
    checkpoint = torch.load(f'{name}/weights.pth', weights_only=True)
    model.load_state_dict(checkpoint['state_dict'], strict=True)
    result = inference_model(model, 'image.png')
    with torch.no_grad():
        logits = model(torch.load('batch.pt'), mode='tensor')
    found[name] = dict(
        logits=logits, upsampled=result.seg_logits.data, classes=result.pred_sem_seg.data,
        head=type(model.decode_head).__name__, segmentor=type(model).__name__,
        meta=checkpoint['meta'],
    )
assert not any(name.startswith('lt_mm.') for name in sys.modules)
torch.save(found, 'found.pt')
exec(sys.argv[2])
"""


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


@pytest.fixture(scope='module')
def exported(tmp_path_factory, config, trained):
    """All cases: predictions of the trained models, and of the exported ones without lt_mm."""
    init_default_scope('mmseg')
    home = tmp_path_factory.mktemp('exported')
    pixels = np.random.default_rng(0).integers(256, size=(64, 96, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(home / 'image.png')
    batch = torch.randn(2, 3, 64, 96)
    torch.save(batch, home / 'batch.pt')
    expected = {}
    for seed, (name, case) in enumerate(CASES.items()):
        cfg = config(*case)
        model, checkpoint = trained(cfg, seed)
        torch.save(checkpoint, home / f'{name}.pth')
        export_model(cfg, read_checkpoint(home / f'{name}.pth')).save(home / name)
        with torch.no_grad():
            logits = model(batch, mode='tensor')
        expected[name] = logits, inference_model(model, str(home / 'image.png'))
    (home / 'exported').symlink_to(home / next(iter(CASES)))
    example = re.search('```python\n(.*?)```', (DOCS / 'inference.md').read_text(), re.S)[1]
    done = subprocess.run(
        [sys.executable, '-c', PREDICT, json.dumps(list(CASES)), example],
        cwd=home,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = torch.load(home / 'found.pt', weights_only=True)
    return home, expected, found, done.stdout


@pytest.mark.parametrize('name', CASES)
def test_predictions_are_the_same_without_lt_mm(exported, name):
    _, expected, found, _ = exported
    logits, result = expected[name]
    assert logits.std() > 0.1
    torch.testing.assert_close(found[name]['logits'], logits, rtol=0, atol=1e-5)
    upsampled = found[name]['upsampled']
    assert upsampled.shape == (4, 64, 96)
    torch.testing.assert_close(upsampled, result.seg_logits.data, rtol=0, atol=1e-5)
    assert len(result.pred_sem_seg.data.unique()) > 1
    agreement = (found[name]['classes'] == result.pred_sem_seg.data).float().mean()
    assert agreement > 0.999


def test_example_of_the_docs_names_the_classes_it_found(exported):
    *_, stdout = exported
    names = eval(stdout.splitlines()[-1])
    assert names and set(names) <= set(CLASSES)


@pytest.mark.parametrize('name', CASES)
def test_what_is_written(exported, name):
    home, _, found, _ = exported
    kind, classifier, head = CASES[name]
    modules = ['normalized_decode_head.py'] if classifier == 'cosine' else []
    assert sorted(p.name for p in (home / name).glob('*.p*')) == [
        'config.py', *modules, 'weights.pth',
    ]  # fmt: skip
    assert found[name]['head'] == head
    assert found[name]['segmentor'] == 'EncoderDecoder'
    before = torch.load(home / f'{name}.pth', weights_only=False)['state_dict']
    after = torch.load(home / name / 'weights.pth', weights_only=True)['state_dict']
    dropped = {key.split('.')[0] + '.' + key.split('.')[1] for key in before.keys() - after.keys()}
    heads = {'decode_head.loss_decode', *(['decode_head.contrast'] if kind == 'GML' else [])}
    assert {d for d in dropped if not d.startswith('auxiliary_head')} == heads
    added = {'decode_head.conv_seg.bias'} if modules else set()
    assert after.keys() - before.keys() == added
    assert (home / name / 'weights.pth').stat().st_size < (home / f'{name}.pth').stat().st_size
    assert found[name]['meta'] == dict(
        dataset_meta=dict(classes=CLASSES, palette=np.arange(12).reshape(4, 3).tolist()),
        class_counts=[50, 30, 15, 5],
    )


def test_config_says_nothing_of_lt_mm_nor_of_training(exported):
    home, *_ = exported
    for name in CASES:
        text = (home / name / 'config.py').read_text()
        for word in (
            'lt_mm',
            'contrast',
            'auxiliary_head',
            'teacher',
            'absent.pth',
            'custom_hooks',
        ):
            assert word not in text, (name, word)
        assert "'mmseg.models'" in text


def test_arguments_are_left_as_they_are(config, trained):
    cfg = config('GML', 'cosine', 'FCNHead')
    _, checkpoint = trained(cfg)
    text, state = cfg.pretty_text, checkpoint['state_dict']
    before = {name: value.clone() for name, value in state.items()}
    export_model(cfg, checkpoint)
    assert cfg.pretty_text == text
    assert before.keys() == state.keys()
    assert all(torch.equal(before[name], state[name]) for name in before)


def test_half_precision_logits_are_those_of_the_trained_head(config, trained):
    cfg = config('Cosine', 'cosine', 'FCNHead')
    model, checkpoint = trained(cfg)
    exported = export_model(cfg, checkpoint)
    head = MODELS.build(exported.config.model.decode_head).eval()
    prefix = 'decode_head.'
    state = exported.checkpoint['state_dict'].items()
    head.load_state_dict({k.removeprefix(prefix): v for k, v in state if k.startswith(prefix)})
    features = torch.randn(1, 8, 4, 4)
    with torch.no_grad(), torch.autocast('cpu', dtype=torch.bfloat16):
        logits = head.cls_seg(features)
        expected = model.decode_head.cls_seg(features)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
    halves = head.half().cls_seg(features.half())
    assert halves.dtype == torch.float32
    torch.testing.assert_close(halves, expected, rtol=0, atol=0.05)


def test_modules_are_copies_of_what_is_tested(exported):
    home, *_ = exported
    shipped = Path(plain_model.__file__).parents[1] / 'models' / 'shipped'
    name = next(name for name, case in CASES.items() if case[1] == 'cosine')
    for copy in (home / name).glob('normalized*.py'):
        assert copy.read_bytes() == (shipped / copy.name).read_bytes()
    config = (home / name / 'config.py').read_text()
    assert config.startswith((shipped / 'look_beside.py').read_text())


def test_contents_that_are_no_checkpoints(config):
    for content in ([1], dict(weights={})):
        with pytest.raises(ValueError, match='there is no state_dict'):
            export_model(config('GML', 'cosine', 'FCNHead'), content)


@pytest.mark.parametrize(
    ('meta', 'hook'),
    [
        (dict(class_counts=[50, 30, 15, 5]), dict()),
        (dict(class_counts=[50, 30, 15, 5], class_prior=[0.4, 0.3, 0.2, 0.1]), dict()),
        (
            dict(class_counts=[50, 30, 15, 5], class_prior=[0.4, 0.3, 0.2, 0.1]),
            dict(sampler_prior=False),
        ),
        (dict(class_counts=[50, 30, 15, 5]), dict(class_counts=[1, 2, 3, 4])),
        (dict(), dict(class_counts=[1, 2, 3, 4])),
    ],
)
def test_post_compensation_of_a_model_trained_without_it(config, trained, meta, hook):
    cfg = config('Cosine', 'linear', 'FCNHead')
    model, checkpoint = trained(cfg)
    checkpoint['meta'] = meta
    counts = hook.get('class_counts') or meta['class_counts']
    prior = torch.tensor(counts) / sum(counts)
    if 'class_prior' in meta and hook.get('sampler_prior', True):
        prior = torch.tensor(meta['class_prior'])
    cfg.model.decode_head.post_compensation = dict(alpha=0.5)
    cfg.custom_hooks[0].update(hook)
    exported = export_model(cfg, checkpoint)
    plain = MODELS.build(exported.config.model)
    plain.load_state_dict(exported.checkpoint['state_dict'])
    batch = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = model(batch, mode='tensor') - 0.5 * prior.log()[:, None, None]
        found = plain.eval()(batch, mode='tensor')
    torch.testing.assert_close(found - found.mean(1, True), expected - expected.mean(1, True))


def test_post_compensation_without_counts_names_its_remedies(config, trained):
    cfg = config('Cosine', 'linear', 'FCNHead')
    checkpoint = trained(cfg)[1]
    checkpoint['meta'] = {}
    cfg.model.decode_head.post_compensation = dict(alpha=0.5)
    with pytest.raises(ValueError, match=r'no class counts.*post_compensation=dict\(class_counts'):
        export_model(cfg, checkpoint)

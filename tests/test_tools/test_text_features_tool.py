"""tools/dataset_converters/text_features.py with a tiny random text encoder."""

import json

import pytest
import torch
from mmengine.registry import MODELS
from mmseg.utils import get_predefined_templates, tokenize

import lt_mm  # noqa: F401
from lt_mm.models.losses import TextGMLLoss
from lt_mm.structures import TextFeatures

TOOL = 'dataset_converters/text_features.py'


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    """A folder with the weights of a text encoder, class names, templates and sentences."""
    home = tmp_path_factory.mktemp('home')
    torch.manual_seed(0)
    sizes = dict(embed_dims=64, num_layers=1, num_heads=1, output_dims=5, cat_bg=False)
    encoder = MODELS.build(
        dict(type='CLIPTextEncoder', _scope_='mmseg', vocabulary=[], templates=[], **sizes)
    )
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    torch.save(encoder.state_dict(), home / 'clip.pth')
    (home / 'names.txt').write_text('cat\n\naquarium_fish\n')
    (home / 'templates.txt').write_text('a photo of a {}.\nthe {}\n')
    (home / 'sentences.json').write_text(json.dumps({'cat': ['It purrs.']}))
    (home / 'wrong.json').write_text('{"cat": "It purrs."}')
    (home / 'unknown.json').write_text('{"dog": ["It barks."]}')
    (home / 'wrong.txt').write_text('a photo\n')
    (home / 'empty.txt').write_text('\n')
    (home / 'config.py').write_text(
        "default_scope = 'mmpretrain'\n"
        "train_dataloader = dict(dataset=dict(type='lt_mm.DigitsLT', split='train', pipeline=[]))\n"
    )
    return home, encoder


def features(encoder, texts):
    return encoder.encode_text(tokenize(texts), normalize=True).half()


def test_texts_of_each_class_in_their_order(home, run_tool, capsys):
    folder, encoder = home
    argv = ['clip.pth', 'out/texts.npz', '--classes', 'names.txt', '--templates', 'templates.txt']
    argv += ['--sentences', 'sentences.json', '--batch-size', '2', '--device', 'cpu']
    run_tool(TOOL, *argv, cwd=folder)
    out = capsys.readouterr()
    assert 'out/texts.npz: 5 texts of 2 classes, 5 channels' in out.out
    assert 'encoding texts' in out.err
    made = TextFeatures.load(folder / 'out' / 'texts.npz')
    texts = ['a photo of a cat.', 'the cat', 'It purrs.']
    texts += ['a photo of a aquarium fish.', 'the aquarium fish']
    assert made.class_names == ('cat', 'aquarium_fish') and made.lengths.tolist() == [3, 2]
    torch.testing.assert_close(made.features, features(encoder, texts), rtol=0, atol=1e-3)
    assert TextGMLLoss(2, 6, folder / 'out' / 'texts.npz').texts.shape == (5, 5)


def test_classes_of_a_config_and_templates_by_name(home, run_tool):
    folder, encoder = home
    argv = ['clip.pth', 'digits.npz', '--config', 'config.py', '--templates', 'vild']
    run_tool(TOOL, *argv, cwd=folder)
    made = TextFeatures.load(folder / 'digits.npz')
    assert len(made.class_names) == 10 and made.lengths.tolist() == [14] * 10
    texts = [template.format(made.class_names[3]) for template in get_predefined_templates('vild')]
    torch.testing.assert_close(
        made.features[3 * 14 : 4 * 14], features(encoder, texts), rtol=0, atol=1e-3
    )


def test_sentences_alone(home, run_tool):
    folder, encoder = home
    (folder / 'cat.txt').write_text('cat\n')
    argv = ['clip.pth', 'cat.npz', '--classes', 'cat.txt', '--templates', 'none']
    run_tool(TOOL, *argv, '--sentences', 'sentences.json', cwd=folder)
    made = TextFeatures.load(folder / 'cat.npz')
    torch.testing.assert_close(made.features, features(encoder, ['It purrs.']), rtol=0, atol=1e-3)


CLASSES = ['--classes', 'names.txt']


@pytest.mark.parametrize(
    ('argv', 'told'),
    [
        (['absent.pth', 'o.npz', *CLASSES], "checkpoint 'absent.pth' does not exist"),
        (['wrong.json', 'o.npz', *CLASSES], "checkpoint 'wrong.json' cannot be read"),
        (['clip.pth', 'o.pth', *CLASSES], 'ends in .npz'),
        (['clip.pth', 'o.npz', '--classes', 'absent.txt'], "'absent.txt' does not exist"),
        (['clip.pth', 'o.npz', '--classes', 'empty.txt'], "'empty.txt' is empty"),
        (['clip.pth', 'o.npz', '--config', 'absent.py'], 'absent.py'),
        (['clip.pth', 'o.npz', *CLASSES, '--templates', 'absent'], "'absent' does not exist"),
        (['clip.pth', 'o.npz', *CLASSES, '--templates', 'wrong.txt'], "'a photo' of 'wrong.txt'"),
        (['clip.pth', 'o.npz', *CLASSES, '--templates', 'none'], "class 'cat' has no text"),
        (['clip.pth', 'o.npz', *CLASSES, '--sentences', 'absent.json'], "'absent.json' do not"),
        (['clip.pth', 'o.npz', *CLASSES, '--sentences', 'wrong.json'], "'wrong.json' must hold"),
        (['clip.pth', 'o.npz', *CLASSES, '--sentences', 'names.txt'], "'names.txt' must hold"),
        (['clip.pth', 'o.npz', *CLASSES, '--sentences', 'unknown.json'], "'dog', which is no"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(home, run_tool, capsys, argv, told):
    with pytest.raises(SystemExit) as caught:
        run_tool(TOOL, *argv, cwd=home[0])
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert told in line
    assert not (home[0] / 'o.npz').exists()

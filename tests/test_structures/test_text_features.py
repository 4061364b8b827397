"""TextFeatures: written and read back, padding left out, files that are something else."""

import numpy as np
import pytest
import torch

from lt_mm.structures import TextFeatures


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
def test_comes_back_as_it_was_saved(tmp_path, dtype):
    torch.manual_seed(0)
    saved = TextFeatures(torch.randn(6, 4).to(dtype), torch.tensor([3, 1, 2]), ('a', 'é b', 'c'))
    saved.save(tmp_path / 'new' / 'texts.npz')
    with np.load(tmp_path / 'new' / 'texts.npz') as file:
        assert file['features'].shape == (3, 3, 4)
        assert (file['features'][1, 1:] == 0).all()
        assert (file['features'][2, 1] == saved.features[5].numpy()).all()
    loaded = TextFeatures.load(str(tmp_path / 'new' / 'texts.npz'))
    assert torch.equal(loaded.features, saved.features) and loaded.features.dtype == dtype
    assert torch.equal(loaded.lengths, saved.lengths)
    assert loaded.class_names == saved.class_names


def test_features_alone_are_enough(tmp_path):
    features = np.arange(24.0, dtype=np.float32).reshape(3, 2, 4)
    np.savez(tmp_path / 'texts.npz', features=features)
    loaded = TextFeatures.load(tmp_path / 'texts.npz')
    assert loaded.features.tolist() == features.reshape(6, 4).tolist()
    assert loaded.lengths.tolist() == [2, 2, 2] and loaded.class_names == ()


def test_what_stands_beyond_the_lengths_does_not_matter(tmp_path):
    features = np.ones((2, 2, 3), dtype=np.float32)
    features[0, 1] = np.nan
    np.savez(tmp_path / 'texts.npz', features=features, lengths=np.array([1, 2]))
    assert TextFeatures.load(tmp_path / 'texts.npz').features.shape == (3, 3)


ONES = np.ones((2, 2, 3), dtype=np.float32)
NAN = np.where(np.arange(2)[:, None, None] == 1, np.nan, ONES).astype(np.float32)


@pytest.mark.parametrize(
    ('arrays', 'told'),
    [
        (dict(texts=ONES), 'features'),
        (dict(features=ONES[0]), r'\(2, 3\)'),
        (dict(features=ONES[:0]), r'\(0, 2, 3\)'),
        (dict(features=np.float32(1)), r'\(\)'),
        (dict(features=ONES.astype(int)), 'int64'),
        (dict(features=NAN), 'feature of class 1 is not finite'),
        (dict(features=ONES, lengths=np.array([1])), 'lengths'),
        (dict(features=ONES, lengths=np.array([1.0, 2.0])), 'lengths'),
        (dict(features=ONES, lengths=np.array([1, 3])), 'class 1 has 3 texts'),
        (dict(features=ONES, lengths=np.array([0, 2])), 'class 0 has 0 texts'),
        (dict(features=ONES, class_names=np.array(['a'])), '1 class_names'),
        (dict(features=np.array([object()])), 'Object arrays'),
    ],
)
def test_other_arrays_are_refused(tmp_path, arrays, told):
    np.savez(tmp_path / 'texts.npz', **arrays)
    with pytest.raises(ValueError, match=told) as caught:
        TextFeatures.load(tmp_path / 'texts.npz')
    assert 'text_features.py' in str(caught.value)


@pytest.mark.parametrize('content', [b'', b'no archive', b'PK\x03\x04 cut off', b'\x80\x04N.'])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / 'texts.npz').write_bytes(content)
    with pytest.raises(ValueError, match=r'no \.npz file of text features'):
        TextFeatures.load(tmp_path / 'texts.npz')


def test_an_array_alone_and_a_missing_file(tmp_path):
    np.save(tmp_path / 'texts.npy', ONES)
    with pytest.raises(ValueError, match=r'no \.npz file'):
        TextFeatures.load(tmp_path / 'texts.npy')
    with pytest.raises(FileNotFoundError, match='do not exist; make it'):
        TextFeatures.load(tmp_path / 'absent.npz')

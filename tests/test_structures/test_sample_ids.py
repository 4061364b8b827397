"""sample_ids: stable, distinct, and honest about samples it cannot know."""

import subprocess
import sys

from mmengine.structures import BaseDataElement

from lt_mm.structures import sample_ids


def sample(**meta):
    return BaseDataElement(metainfo=meta)


def test_same_path_same_number_and_others_differ():
    ids = sample_ids([sample(img_path='a.png'), sample(img_path='b.png'), sample(img_path='a.png')])
    assert ids[0] == ids[2] != ids[1] and (ids >= 0).all()


def test_path_comes_before_the_index_and_an_index_will_do():
    path, index, both = sample_ids(
        [sample(img_path='a'), sample(sample_idx=3), sample(img_path='a', sample_idx=3)]
    )
    assert both == path != index


def test_unknown_samples_are_minus_one():
    assert sample_ids([sample()]).tolist() == [-1] and sample_ids([]).shape == (0,)


def test_another_process_gives_the_same_number():
    code = (
        'from mmengine.structures import BaseDataElement as E; '
        'from lt_mm.structures import sample_ids; '
        'print(sample_ids([E(metainfo=dict(img_path="a.png"))]).item())'
    )
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert int(out.stdout.split()[-1]) == sample_ids([sample(img_path='a.png')]).item()

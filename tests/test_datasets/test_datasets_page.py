import re
from pathlib import Path

import pytest
from mmengine.registry import DATASETS

import lt_mm.datasets

PAGE = (Path(__file__).parents[2] / 'docs' / 'datasets.md').read_text()
SNIPPETS = re.findall(r'```python\n(.*?)```', PAGE, flags=re.DOTALL)


@pytest.mark.parametrize('snippet', SNIPPETS)
def test_every_config_of_the_page_builds(snippet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(snippet, found)
    configs = {name: cfg for name, cfg in found.items() if name != '__builtins__'}
    assert configs and not set(configs) - {'train', 'tuning', 'val', 'test'}
    for cfg in configs.values():
        scope = 'mmseg' if 'seg_map_path' in str(cfg) else 'mmpretrain'
        dataset = DATASETS.build(dict(cfg, lazy_init=True, _scope_=scope))
        assert dataset.metainfo['classes']


def test_the_page_tells_of_every_data_set():
    names = [name for name in lt_mm.datasets.__all__ if name.endswith(('LT', '2017', '2018'))]
    assert len(names) >= 7
    for name in [*names, 'DigitScenesDataset', 'ADE20KDataset']:
        assert any(name in snippet for snippet in SNIPPETS) or name == 'CIFAR10LT'
        assert name in PAGE


def test_links_inside_the_page_lead_somewhere():
    anchors = {
        re.sub(r'[^a-z0-9 -]', '', title.lower()).replace(' ', '-')
        for title in re.findall(r'^## (.*)$', PAGE, flags=re.MULTILINE)
    }
    links = set(re.findall(r'\(#([^)]*)\)', PAGE))
    assert links and links <= anchors

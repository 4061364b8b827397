"""Licence, notices, version, models listed: what comes with the package and must be true."""

import hashlib
import json
import re
import runpy
from pathlib import Path
from statistics import mean

import pytest
import yaml

import lt_mm
from lt_mm.benchmark.methods import DIGIT_SCENES, DIGITS_LT
from lt_mm.registry import MODELS, SUCCESSORS

ROOT = Path(__file__).resolve().parents[1]
FOLLOWED = re.compile(r"public code|published code|authors' code", re.I)


def python_files():
    return sorted((ROOT / 'lt_mm').rglob('*.py'))


def notice_names():
    """Components that NOTICE names: words of indented lines that are no words of a language."""
    indented = re.findall(r'^    (.*)$', (ROOT / 'NOTICE').read_text(), re.M)
    # What stands in brackets are arguments.
    text = re.sub(r'\(.*?\)', '', ' '.join(indented))
    return set(re.findall(r'\b(?:\w+_\w+|[A-Z]\w*[A-Z]\w*)\b', text)) - {'lt_mm'}


def test_licence_is_the_apache_licence():
    text = (ROOT / 'LICENSE').read_text()
    standard = text.replace(
        'Copyright 2026 lt_mm authors', 'Copyright [yyyy] [name of copyright owner]'
    )
    assert text != standard
    # That of the text at www.apache.org/licenses, which begins with an empty line.
    digest = hashlib.sha256(f'\n{standard}'.encode()).hexdigest()
    assert digest == 'cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30'


def test_notice_names_components_that_exist():
    code = '\n'.join(path.read_text() for path in python_files())
    defined = set(re.findall(r'^(?:class|def) (\w+)', code, re.M))
    assert len(notice_names()) > 20
    assert notice_names() <= defined, notice_names() - defined


def test_notice_names_a_component_of_every_file_that_follows_published_code():
    for path in python_files():
        text = path.read_text()
        if FOLLOWED.search(text):
            defined = set(re.findall(r'^(?:class|def) (\w+)', text, re.M))
            assert defined & notice_names(), path


def test_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / 'CITATION.cff').read_text())
    assert citation['version'] == lt_mm.__version__
    assert citation['authors'] == [dict(name='lt_mm authors')]
    latest = re.search(r'^## \[(.+?)\]', (ROOT / 'CHANGELOG.md').read_text(), re.M)
    assert latest[1] == lt_mm.__version__


def models(folder):
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert f'configs/{folder}/metafile.yml' in index['Import']
    return yaml.safe_load((ROOT / 'configs' / folder / 'metafile.yml').read_text())['Models']


@pytest.mark.parametrize('folder', ['digit_scenes', 'digits_lt'])
def test_listed_models_are_those_measured(folder):
    benchmark = dict(digit_scenes=DIGIT_SCENES, digits_lt=DIGITS_LT)[folder]
    results = json.loads((ROOT / f'tools/benchmarks/results/{folder}.json').read_text())
    listed = models(folder)
    labels = {name: method.label for name, method in benchmark.methods.items()}
    assert [model['Metadata']['Method'] for model in listed] == list(labels.values())
    for model, (name, method) in zip(listed, benchmark.methods.items(), strict=True):
        assert (model['Config'], model['Metadata'].get('Variant')) == (
            method.config,
            method.variant,
        )
        assert (ROOT / model['Config']).is_file(), f'{model["Name"]}: {model["Config"]} is missing'
        runs = [run['metrics'] for run in results['runs'] if run['method'] == name]
        assert len(runs) >= 3
        (result,) = model['Results']
        assert set(result['Metrics']) == set(benchmark.metrics.values())
        for key, heading in benchmark.metrics.items():
            figures = [run[key] for run in runs]
            assert result['Metrics'][heading] == pytest.approx(mean(figures), abs=0.0501)


def test_every_metafile_is_listed_and_names_its_models_once():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    found = [str(path.relative_to(ROOT)) for path in (ROOT / 'configs').rglob('metafile.yml')]
    assert sorted(index['Import']) == sorted(found)
    names = [model['Name'] for path in found for model in models(Path(path).parent.name)]
    assert len(names) == len(set(names))


def test_metafiles_are_what_the_tool_writes(tmp_path):
    tool = runpy.run_path(str(ROOT / 'tools' / 'benchmarks' / 'metafiles.py'))
    tool['write'](tmp_path)
    for written in tmp_path.rglob('*.yml'):
        committed = ROOT / 'configs' / written.relative_to(tmp_path)
        assert written.read_text() == committed.read_text(), 'run tools/benchmarks/metafiles.py'
    assert len(list(tmp_path.rglob('*.yml'))) == 2


def test_changelog_has_every_name_that_is_gone():
    gone = [name for name in SUCCESSORS if not re.fullmatch(r'Decoupled\w+(?<!Cls)Head', name)]
    text = (ROOT / 'CHANGELOG.md').read_text()
    old = ' '.join(row[0] for row in re.findall(r'^\| (.+?) \| (.+?) \|$', text, re.M))
    assert [name for name in gone if f'`{name}' not in old] == []


def test_changelog_names_successors_that_exist():
    text = (ROOT / 'CHANGELOG.md').read_text()
    new = ' '.join(row[1] for row in re.findall(r'^\| (.+?) \| (.+?) \|$', text, re.M))
    types = re.findall(r'(?:`|lt_mm\.)([A-Z]\w+)\(', new)
    assert len(types) > 8
    for name in types:
        assert MODELS.get(f'lt_mm.{name}') is not None, name
    for path in re.findall(r'`(?:configs/\w+/|lt_mm\.\w+)`', new):
        assert (ROOT / path.strip('`').replace('.', '/')).is_dir(), path

"""What a result file says about its machine, and what a fresh process knows."""

import json

import torch

from lt_mm.benchmark.measurement import describe_environment, in_fresh_process, peak_memory

STATE = ['as imported']


def test_names_hardware_and_versions():
    described = describe_environment()
    assert described['torch'] == torch.__version__ and described['cores'] >= 1
    assert described['processor'] and described['date'].count('-') == 2
    assert json.loads(json.dumps(described)) == described


def read_state(more):
    return STATE + more


def test_fresh_process_has_seen_nothing():
    STATE.append('changed')
    assert in_fresh_process(read_state, ['an argument']) == ['as imported', 'an argument']


def test_peak_memory_grows_by_what_is_held():
    before = peak_memory('cpu')
    held = torch.ones(before // 4 + (64 << 20) // 4)
    assert peak_memory('cpu') - before >= 32 << 20 and held[0] == 1

"""Earlier stages read from configs, put in order, found, guarded and handed over."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from lt_mm.stages.read import read_stages
from lt_mm.stages.run import plan_stages, train_earlier_stages
from lt_mm.stages.stage import Stage, first_difference

PLAIN = """
default_scope = 'mmpretrain'
model = dict(type='ImageClassifier', backbone=dict(type='LeNet5'))
data_preprocessor = dict(mean=[0.0], std=[255.0])
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
param_scheduler = [dict(type='LinearLR', end=1), dict(type='PolyLR', power=0.9)]
train_cfg = dict(by_epoch=True, max_epochs=2)
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1))
visualizer = dict(type='UniversalVisualizer', name='visualizer')
"""


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Write configs, the last of them with ``earlier_stages``, and read the stages."""
    monkeypatch.chdir(tmp_path)

    def _read(earlier='', last=PLAIN, work_dir='w', **settings):
        (tmp_path / 'plain.py').write_text(PLAIN)
        path = tmp_path / 'student.py'
        path.write_text(f'{last}\nearlier_stages = dict({earlier})\n')
        cfg = Config.fromfile(path)
        cfg.merge_from_dict({'work_dir': work_dir, 'launcher': 'none', **settings})
        return read_stages(cfg, tmp_path)

    return _read


def finish(stage, choice='last', config=None):
    """Leave in the folder what a finished training leaves there."""
    stage.folder.mkdir(parents=True)
    (stage.folder / f'{choice}.pth').touch()
    (stage.folder / 'stage.json').write_text(json.dumps({choice: f'{choice}.pth'}))
    (config or stage.cfg).dump(stage.folder / Path(stage.cfg.filename).name)
    return str(stage.folder / f'{choice}.pth')


def interrupt(stage):
    """Leave in the folder what a training leaves there that was killed on the way."""
    stage.folder.mkdir(parents=True, exist_ok=True)
    checkpoint = stage.folder / 'epoch_1.pth'
    checkpoint.touch()
    (stage.folder / 'last_checkpoint').write_text(str(checkpoint))
    stage.cfg.dump(stage.folder / Path(stage.cfg.filename).name)
    return str(checkpoint)


def names(stages):
    return [stage.name for stage in stages]


TEACHER = "teacher=dict(config='plain.py', gives='teacher')"
WEIGHTS = "encoder=dict(config='plain.py', gives='weights')"
CHAIN = """
    a=dict(config='plain.py', gives='teacher', to=['b', 'last']),
    b=dict(config='plain.py', gives='weights', to='c'),
    c=dict(config='plain.py', gives='weights')"""


def test_a_config_without_earlier_stages_is_one_stage(read):
    stages = read()
    assert names(stages) == ['last']
    assert plan_stages(stages) == stages


def test_stages_have_folders_names_and_the_settings_of_the_last(read):
    last = f'{PLAIN}\nrandomness = dict(seed=3, deterministic=True)'
    options = 'cfg_options=dict(randomness=dict(seed=4), train_cfg=dict(max_epochs=7))'
    first, second, final = read(
        f"a=dict(config='plain.py', gives='teacher', {options}), {WEIGHTS}", last
    )
    assert first.folder == Path('w/a').absolute()
    assert first.cfg.randomness == dict(seed=4, deterministic=True)
    assert second.cfg.randomness == dict(seed=3, deterministic=True)
    assert (first.cfg.train_cfg.max_epochs, second.cfg.train_cfg.max_epochs) == (7, 2)
    assert first.cfg.launcher == 'none'
    stages = (first, second, final)
    assert len({stage.cfg.visualizer.name for stage in stages}) == 3
    assert len({stage.cfg.get('experiment_name') for stage in stages}) == 3


def test_options_of_the_command_line_reach_a_stage(read):
    key = 'earlier_stages.teacher.cfg_options.'
    options = {f'{key}train_cfg.max_epochs': 5, f'{key}param_scheduler.1.power': 0.5}
    stage, _ = read(TEACHER, **options)
    assert stage.options == key
    assert stage.cfg.train_cfg == dict(by_epoch=True, max_epochs=5)
    assert [x.get('power') for x in stage.cfg.param_scheduler] == [None, 0.5]
    assert names(read(TEACHER, **{'earlier_stages.teacher': None})) == ['last']


def test_a_chain_is_trained_in_order(read):
    stages = read(CHAIN)
    assert names(stages) == ['a', 'b', 'c', 'last']
    takers = {stage.name: names(stage.takers) for stage in stages}
    assert takers == {'a': ['b', 'last'], 'b': ['c'], 'c': ['last'], 'last': []}
    assert names(plan_stages(stages)) == ['a', 'b', 'c', 'last']


def test_what_only_a_finished_stage_needs_is_not_trained(read, capsys):
    stages = read(CHAIN.replace(", to=['b', 'last']", ", to='b'"))
    checkpoint = finish(stages[2])
    training = plan_stages(stages)
    assert names(training) == ['last']
    train_earlier_stages(stages, training)
    assert stages[3].cfg.load_from == checkpoint
    assert capsys.readouterr().out.splitlines() == [
        'stage a: not needed, stage b has a checkpoint of its own',
        'stage b: not needed, stage c has a checkpoint of its own',
        f'stage c: found {checkpoint}',
    ]


def test_stages_of_a_stage_come_before_it(read, tmp_path):
    (tmp_path / 'encoder.py').write_text(f'{PLAIN}\nearlier_stages = dict({TEACHER})')
    stages = read("encoder=dict(config='encoder.py', gives='weights')", **{'randomness.seed': 5})
    assert names(stages) == ['encoder/teacher', 'encoder', 'last']
    assert stages[0].folder == tmp_path / 'w' / 'encoder' / 'teacher'
    assert stages[0].cfg.randomness.seed == 5
    prefix = 'earlier_stages.encoder.cfg_options.earlier_stages.teacher.cfg_options.'
    assert stages[0].options == prefix
    assert names(stages[0].takers) == ['encoder']
    stages = read(
        "encoder=dict(config='encoder.py', gives='weights')",
        **{f'{prefix}train_cfg.max_epochs': 9},
    )
    assert stages[0].cfg.train_cfg.max_epochs == 9


def test_a_teacher_is_handed_over_with_its_config(read, capsys):
    last = PLAIN + "\nmodel.update(teacher=dict(config='other.py', layer=3))"
    stages = read(TEACHER, last)
    checkpoint = finish(stages[0])
    train_earlier_stages(stages, plan_stages(stages))
    teacher = stages[1].cfg.model.teacher
    assert (teacher.checkpoint, teacher.layer) == (checkpoint, 3)
    model = Config.fromfile('plain.py')
    assert teacher.config == dict(model=model.model, data_preprocessor=model.data_preprocessor)
    assert stages[1].cfg.get('load_from') is None
    assert capsys.readouterr().out == f'stage teacher: found {checkpoint}\n'


@pytest.mark.parametrize(
    ('entry', 'key'), [(TEACHER, 'model.teacher.checkpoint'), (WEIGHTS, 'load_from')]
)
def test_a_stage_is_skipped_if_its_checkpoint_is_given(read, tmp_path, capsys, entry, key):
    given = tmp_path / 'given.pth'
    given.touch()
    stages = read(entry, **{key: str(given)})
    # Whatever lies there is of no interest.
    finish(stages[0], config=Config(dict(other=1)))
    training = plan_stages(stages)
    assert training == [stages[1]]
    train_earlier_stages(stages, training)
    name = stages[0].name
    assert capsys.readouterr().out == f'stage {name}: skipped, {key}={given} is given\n'
    assert stages[1].given(stages[0].gives) == f'{key}={given}'
    assert plan_stages(read(entry, **{key: 'https://host/given.pth'}))[0].name == 'last'


def test_a_given_teacher_is_built_from_the_config_of_its_stage(read, tmp_path):
    given = tmp_path / 'given.pth'
    given.touch()
    stages = read(TEACHER, **{'model.teacher.checkpoint': str(given)})
    stages[1].cfg.model.teacher.pop('config', None)
    train_earlier_stages(stages, plan_stages(stages))
    teacher = stages[1].cfg.model.teacher
    assert teacher.config.model == stages[0].cfg.model
    assert teacher.checkpoint == str(given)


@pytest.mark.parametrize(
    ('entry', 'key'), [(TEACHER, 'teacher.checkpoint'), (WEIGHTS, 'load_from')]
)
def test_a_given_checkpoint_must_exist(read, capsys, entry, key):
    key = f'model.{key}' if 'teacher' in key else key
    with pytest.raises(SystemExit):
        read(entry, **{key: 'absent.pth'})
    assert f'{key} absent.pth does not exist' in capsys.readouterr().err


def test_a_stage_of_a_skipped_stage_is_skipped(read, tmp_path, capsys):
    (tmp_path / 'encoder.py').write_text(f'{PLAIN}\nearlier_stages = dict({TEACHER})')
    (tmp_path / 'given.pth').touch()
    stages = read("encoder=dict(config='encoder.py', gives='weights')", load_from='given.pth')
    train_earlier_stages(stages, plan_stages(stages))
    assert capsys.readouterr().out.splitlines() == [
        'stage encoder/teacher: skipped, as stage encoder',
        'stage encoder: skipped, load_from=given.pth is given',
    ]


def test_an_unfinished_stage_goes_on_from_its_latest_checkpoint(read):
    checkpoint = interrupt(read(TEACHER)[0])
    options = {'earlier_stages.teacher.cfg_options.load_from': 'start.pth'}
    stage, last = read(TEACHER, **options)
    assert stage.finished is None and stage.latest == checkpoint
    assert (stage.cfg.resume, stage.cfg.load_from) == (True, None)
    assert plan_stages([stage, last]) == [stage, last]
    # Killed between the removal of a checkpoint and the saving of the next.
    Path(checkpoint).unlink()
    stage, _ = read(TEACHER, **options)
    assert (stage.cfg.resume, stage.cfg.load_from) == (False, 'start.pth')


DAMAGED = {
    'empty': '',
    'cut off': '{"last": "epo',
    'of another kind': '["last"]',
    'without the checkpoint': '{"best": null}',
    'naming a number': '{"last": 3}',
}


@pytest.mark.parametrize('content', DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_record_is_named_and_the_stage_goes_on(read, monkeypatch, capsys, content):
    checkpoint = interrupt(read(TEACHER)[0])
    stage, last = read(TEACHER)
    (stage.folder / 'stage.json').write_text(content)
    assert stage.finished is None and stage.latest == checkpoint
    training = plan_stages([stage, last])
    assert names(training) == ['teacher', 'last']
    monkeypatch.setattr(Stage, 'train', lambda stage: checkpoint)
    train_earlier_stages([stage, last], training)
    record = stage.folder / 'stage.json'
    said = capsys.readouterr().out.splitlines()[0]
    assert said.startswith(f'stage teacher: {record} is damaged (')
    assert said.endswith(f'): goes on from {checkpoint}')
    # With nothing else left of it, nobody knows whether it had ended.
    Path(checkpoint).unlink()
    (stage.folder / 'last_checkpoint').unlink()
    with pytest.raises(SystemExit):
        plan_stages(read(TEACHER))
    told = capsys.readouterr().err
    assert f'{record} is damaged' in told and 'delete that folder to train stage teacher' in told


def test_a_stage_that_begins_again_says_why(read, monkeypatch, capsys):
    stage, last = read(TEACHER)
    checkpoint = Path(finish(stage))
    monkeypatch.setattr(Stage, 'train', lambda stage: 'new.pth')
    assert stage.lost is None
    checkpoint.unlink()
    train_earlier_stages([stage, last], plan_stages([stage, last]))
    record, folder = stage.folder / 'stage.json', stage.folder
    line = f'stage teacher: {checkpoint}, which {record} names, is not there: begins in {folder}'
    assert capsys.readouterr().out.splitlines()[0] == line
    record.unlink()
    (folder / 'last_checkpoint').write_text('epoch_1.pth')
    stage, last = read(TEACHER)
    train_earlier_stages([stage, last], plan_stages([stage, last]))
    line = f'stage teacher: {folder / "last_checkpoint"} names no checkpoint that is there: begins'
    assert capsys.readouterr().out.startswith(line)


def test_a_stage_is_found_again_by_its_files(read, tmp_path):
    """After a kill before last_checkpoint was written, or in a folder that was moved."""
    checkpoint = Path(interrupt(read(TEACHER)[0]))
    for content in ('', '/elsewhere/epoch_1.pth', 'epoch_9.pth', 'epoch_1.pth'):
        (checkpoint.parent / 'last_checkpoint').write_text(content)
        assert read(TEACHER)[0].latest == str(checkpoint)
    (checkpoint.parent / 'last_checkpoint').unlink()
    stage, _ = read(TEACHER)
    assert stage.latest == str(checkpoint) and stage.cfg.resume


def test_a_folder_of_an_earlier_version_is_gone_on_with(read):
    """Whose config names mmengine's hook, for which tools put in one of lt_mm."""
    stage = read(TEACHER)[0]
    interrupt(stage)
    key = 'earlier_stages.teacher.cfg_options.default_hooks.checkpoint.type'
    assert len(plan_stages(read(TEACHER, **{key: 'lt_mm.SafeCheckpointHook'}))) == 2


def test_weights_are_not_needed_by_a_stage_that_is_resumed(read, capsys):
    stages = read(WEIGHTS, resume=True)
    finish(stages[0])
    train_earlier_stages(stages, plan_stages(stages))
    # There is nothing to resume yet.
    assert (stages[1].cfg.resume, stages[1].cfg.load_from) == (False, stages[0].finished)
    interrupt(stages[1])
    stages = read(WEIGHTS, resume=True)
    train_earlier_stages(stages, plan_stages(stages))
    assert (stages[1].cfg.resume, stages[1].cfg.get('load_from')) == (True, None)
    (stages[0].folder / 'last.pth').unlink()
    stages = read(WEIGHTS, resume=True)
    assert names(plan_stages(stages)) == ['last']
    # A teacher is needed all the same.
    assert names(plan_stages(read(TEACHER, resume=True))) == ['teacher', 'last']


def test_the_best_checkpoint(read, capsys):
    best = WEIGHTS.replace('gives', "checkpoint='best', gives")
    with pytest.raises(SystemExit):
        read(best)
    key = 'earlier_stages.encoder.cfg_options.default_hooks.checkpoint.save_best'
    assert key in capsys.readouterr().err
    stages = read(best, **{key: 'auto'})
    assert stages[0].finished is None
    checkpoint = finish(stages[0], 'best')
    train_earlier_stages(stages, plan_stages(stages))
    assert stages[1].cfg.load_from == checkpoint


@pytest.mark.parametrize('leave', [finish, interrupt])
@pytest.mark.parametrize(
    ('key', 'value', 'told'),
    [
        ('train_cfg.max_epochs', 3, 'train_cfg.max_epochs=2 and 3 is'),
        ('param_scheduler.1.power', 0.5, 'param_scheduler.1.power=0.9 and 0.5 is'),
        ('model.backbone.depth', 3, 'model.backbone.depth=nothing and 3 is'),
    ],
)
def test_another_config_is_refused(read, capsys, leave, key, value, told):
    leave(read(TEACHER)[0])
    plan_stages(read(TEACHER))
    with pytest.raises(SystemExit):
        plan_stages(read(TEACHER, **{f'earlier_stages.teacher.cfg_options.{key}': value}))
    message = capsys.readouterr().err
    assert told in message and str(Path('w/teacher').absolute()) in message


def test_another_seed_is_refused_and_none_is_not(read, capsys):
    finish(read(TEACHER, **{'randomness.seed': 1})[0])
    for settings in ({'randomness.seed': 1}, {}):
        assert names(plan_stages(read(TEACHER, **settings))) == ['last']
    with pytest.raises(SystemExit):
        plan_stages(read(TEACHER, **{'randomness.seed': 2}))
    assert 'randomness.seed=1 and 2 is' in capsys.readouterr().err


def test_what_leaves_the_weights_alone_is_not_compared(read):
    settings = {
        'env_cfg': dict(cudnn_benchmark=True),
        'launcher': 'pytorch',
        'earlier_stages.teacher.cfg_options': dict(
            log_level='DEBUG', test_pipeline=[], visualizer=dict(vis_backends=[]), load_from='a'
        ),
    }
    finish(read(TEACHER)[0])
    assert names(plan_stages(read(TEACHER, **settings))) == ['last']


def test_a_received_teacher_is_not_compared(read):
    chain = f'{TEACHER.replace("gives", "to=" + repr("encoder") + ", gives")}, {WEIGHTS}'
    stages = read(chain)
    finish(stages[0])
    stages[1].take(stages[0], str(stages[0].folder / 'last.pth'))
    finish(stages[1])
    assert names(plan_stages(read(chain))) == ['last']


@pytest.mark.parametrize(
    ('teacher', 'told'),
    [
        ("config='plain.py'", 'has no checkpoint: give model.teacher.checkpoint=PATH, or'),
        ("checkpoint='https://host/a.pth'", 'has no config: give model.teacher.config=PATH, or'),
        (
            '',
            'has no config and no checkpoint: give model.teacher.config=PATH and '
            'model.teacher.checkpoint=PATH, or',
        ),
    ],
)
def test_a_teacher_that_nobody_gives(read, capsys, teacher, told):
    last = PLAIN + f'\nmodel.update(teacher=dict({teacher}))'
    plan_stages(read(TEACHER, last))
    with pytest.raises(SystemExit):
        plan_stages(read('', last))
    assert told in capsys.readouterr().err


def test_a_teacher_of_another_kind(read):
    assert plan_stages(read('', PLAIN + "\nmodel.update(teacher=dict(type='Own'))"))
    assert plan_stages(read('', PLAIN + '\nmodel.update(teacher=None)'))


def test_missing_data_is_found_in_every_stage_to_train(read, capsys):
    loader = dict(dataset=dict(type='CustomDataset', data_prefix='absent'))
    options = {'earlier_stages.teacher.cfg_options.train_dataloader': loader}
    with pytest.raises(SystemExit):
        plan_stages(read(TEACHER, **options))
    message = capsys.readouterr().err
    assert 'absent does not exist' in message
    assert 'stage teacher with earlier_stages.teacher.cfg_options. before' in message
    finish(read(TEACHER, **options)[0])
    assert names(plan_stages(read(TEACHER, **options))) == ['last']


@pytest.mark.parametrize(
    ('earlier', 'told'),
    [
        ("last=dict(config='plain.py', gives='weights')", 'earlier_stages.last'),
        ("**{'a/b': dict(config='plain.py', gives='weights')}", 'earlier_stages.a/b'),
        ("a='plain.py'", 'earlier_stages.a in'),
        ("a=dict(gives='weights')", 'names no config'),
        ("a=dict(config='plain.py')", 'gives=None'),
        ("a=dict(config='plain.py', gives='love')", "gives='love'"),
        ("a=dict(config='plain.py', gives='weights', too='b')", "'too'"),
        ("a=dict(config='plain.py', gives='weights', to='b')", "to='b'"),
        ("a=dict(config='plain.py', gives='weights', to='a')", "to='a'"),
        ("a=dict(config='plain.py', gives='weights', checkpoint='first')", "'first'"),
        ("a=dict(config='absent.py', gives='weights')", 'absent.py'),
        ("a=dict(config='student.py', gives='weights')", 'has itself as earlier stage'),
        (f'{WEIGHTS}, {WEIGHTS.replace("encoder", "other")}', 'Two earlier stages give weights'),
    ],
)
def test_entries_that_cannot_be_understood(read, capsys, earlier, told):
    with pytest.raises(SystemExit) as caught:
        read(earlier)
    message = capsys.readouterr().err
    assert caught.value.code == 2
    assert told in message and len(message.splitlines()) == 1


def test_a_list_of_stages_is_refused(read, capsys):
    with pytest.raises(SystemExit):
        read(earlier_stages=[dict(config='plain.py', gives='weights')])
    assert 'is a list' in capsys.readouterr().err


def test_a_config_may_come_before_itself_if_that_ends(read):
    options = 'cfg_options=dict(earlier_stages=None)'
    assert len(read(f"a=dict(config='student.py', gives='weights', {options})")) == 2


@pytest.fixture
def grid(read, tmp_path):
    """Write a config with variants that has a stage with variants and one without."""
    variants = 'variants = dict(long=dict(train_cfg=dict(max_epochs=7)))'
    (tmp_path / 'teacher.py').write_text(f'{PLAIN}\n{variants}')
    (tmp_path / 'encoder.py').write_text(
        f"{PLAIN}\nearlier_stages = dict(teacher=dict(config='teacher.py', gives='teacher'))"
    )
    return "encoder=dict(config='encoder.py', gives='weights'{})".format


def test_earlier_stages_use_the_variant_if_they_have_it(read, grid):
    lengths = [stage.cfg.train_cfg.max_epochs for stage in read(grid(''), variant='long')]
    assert lengths == [7, 2, 2]
    stages = read(grid(''), variant='unknown')
    assert [stage.cfg.train_cfg.max_epochs for stage in stages] == [2, 2, 2]
    assert [stage.cfg.get('variant') for stage in stages] == [None, None, 'unknown']
    assert names(stages) == ['encoder/teacher', 'encoder', 'last']


def test_an_entry_may_name_the_variant(read, capsys):
    teacher = "teacher=dict(config='teacher.py', gives='teacher', variant={})"
    Path('teacher.py').write_text(f'{PLAIN}\nvariants = dict(long=dict(a=1), other=dict(a=2))')
    for name, expected in (("'long'", 1), ("'other'", 2), (None, None)):
        assert read(teacher.format(name), variant='other')[0].cfg.get('a') == expected
    with pytest.raises(SystemExit):
        read(teacher.format("'lang'"))
    assert "teacher.py has no variant 'lang': choose from long, other" in capsys.readouterr().err


def test_configs_are_looked_for_in_the_repository_last(read, tmp_path):
    (tmp_path / 'configs').mkdir()
    for name in ('plain', 'distant'):
        (tmp_path / 'configs' / f'{name}.py').write_text(PLAIN)
    for name, folder in (('plain', tmp_path), ('distant', tmp_path / 'configs')):
        stage, _ = read(f"a=dict(config='{name}.py', gives='weights')")
        assert Path(stage.cfg.filename) == folder / f'{name}.py'


@pytest.mark.parametrize(
    ('old', 'new', 'expected'),
    [
        (dict(a=1), dict(a=1), None),
        (dict(a=dict(b=[1, dict(c=2)])), dict(a=dict(b=(1, dict(c=2)))), None),
        (dict(a=dict(b=[1, dict(c=2)])), dict(a=dict(b=[1, dict(c=3)])), ('a.b.1.c', '2', '3')),
        (dict(a=[1]), dict(a=[1, 2]), ('a', '[1]', '[1, 2]')),
        (dict(), dict(a=None), ('a', 'nothing', 'None')),
        (dict(a=1), dict(), ('a', '1', 'nothing')),
        (dict(a=dict(b=1)), dict(a=None), ('a', "{'b': 1}", 'None')),
    ],
)
def test_the_first_difference(old, new, expected):
    assert first_difference(old, new) == expected


def test_a_finished_stage_whose_checkpoint_is_gone_is_trained_anew(tmp_path):
    (tmp_path / 'plain.py').write_text(PLAIN)
    stage = Stage('a', Config.fromfile(tmp_path / 'plain.py'))
    stage.cfg.work_dir = str(tmp_path / 'a')
    checkpoint = finish(stage)
    assert stage.finished == checkpoint
    Path(checkpoint).unlink()
    assert stage.finished is None and stage.latest is None
    (tmp_path / 'a' / 'last.pth').touch()
    (tmp_path / 'a').rename(tmp_path / 'b')
    stage.cfg.work_dir = str(tmp_path / 'b')
    assert stage.finished == str(tmp_path / 'b' / 'last.pth')

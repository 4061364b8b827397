"""Trainings that a config builds on, such as its teacher's, done by the same command."""

from collections.abc import Sequence

from mmengine.config import Config
from mmengine.dist import init_dist, is_distributed, is_main_process
from mmengine.utils.dl_utils import set_multi_processing

from lt_mm.engine.data_config import check_dataset_paths
from lt_mm.engine.distributed import prepare_distributed
from lt_mm.engine.launch import stop
from lt_mm.stages.stage import Stage


def plan_stages(stages: Sequence[Stage]) -> list[Stage]:
    """Find out which stages must be trained, and check these before anything is trained.

    Args:
        stages: Those of :func:`read_stages`.

    Returns:
        Those to train, the last one included. Left out are the skipped ones, the
        finished ones, and those for stages that are finished or, for their weights, resumed.

    Raises:
        SystemExit: if a stage was begun with another config or its record is all that is left of
            it, data is missing, or a model has a teacher without a checkpoint.
    """
    training = [stages[-1]]
    for stage in reversed(stages[:-1]):
        if stage.skipped is not None:
            continue
        stage.refuse_another_config()
        stage.refuse_damaged_record()
        if stage.finished is None and any(_needs(taker, stage, training) for taker in stage.takers):
            training.insert(0, stage)
    for stage in training:
        _check_teacher(stage)
        _check_data(stage)
    return training


def train_earlier_stages(stages: Sequence[Stage], training: Sequence[Stage]) -> None:
    """Train or find every stage but the last, and put what they give into the configs.

    For each, a line says what became of it, and which checkpoint it gives.

    Args:
        stages: Those of :func:`read_stages`; their configs are changed in place.
        training: Those of :func:`plan_stages`.
    """
    if len(stages) > 1:
        _start_processes(stages[-1].cfg)
    for stage in stages[:-1]:
        checkpoint = stage.finished
        if stage.skipped is not None:
            _say(stage, f'skipped, {stage.skipped}')
            for taker in stage.takers:
                if taker.given(stage.gives):
                    taker.take(stage, checkpoint)
            continue
        if stage in training:
            latest = stage.latest
            loss = f'{stage.lost}: ' if stage.lost else ''
            _say(
                stage, loss + (f'goes on from {latest}' if latest else f'begins in {stage.folder}')
            )
            checkpoint = stage.train()
            _say(stage, f'trained, {checkpoint}')
        elif checkpoint is not None:
            _say(stage, f'found {checkpoint}')
        else:
            _say(stage, f'not needed, stage {stage.takers[0].name} has a checkpoint of its own')
            continue
        for taker in stage.takers:
            taker.take(stage, checkpoint)


def _needs(taker: Stage, giver: Stage, training: Sequence[Stage]) -> bool:
    if taker not in training or taker.given(giver.gives):
        return False
    return giver.gives == 'teacher' or not taker.resumes


def _check_teacher(stage: Stage) -> None:
    settings = ('config', 'checkpoint')
    teacher = stage.teacher
    # Other packages have teachers of other kinds.
    if teacher is None or 'teacher' in stage.receives or teacher and not {*teacher} & {*settings}:
        return
    missing = [setting for setting in settings if not teacher.get(setting)]
    if missing:
        wanted = [f'{stage.options}model.teacher.{setting}=PATH' for setting in missing]
        stop(
            f'The teacher of {stage.cfg.filename} has no {" and no ".join(missing)}: give '
            f'{" and ".join(wanted)}, or name in earlier_stages what trains it.'
        )


def _check_data(stage: Stage) -> None:
    try:
        check_dataset_paths(stage.cfg, ('train_dataloader', 'val_dataloader'), suffixes=True)
    except FileNotFoundError as error:
        where = f' , for stage {stage.name} with {stage.options} before each key'
        stop(f'{error}{where if stage.options else ""}')


def _start_processes(cfg: Config) -> None:
    """Let the processes know each other before the first Runner, so that only one speaks."""
    prepare_distributed(cfg)
    if cfg.get('launcher', 'none') != 'none' and not is_distributed():
        env_cfg = cfg.get('env_cfg') or {}
        set_multi_processing(**env_cfg.get('mp_cfg', {}), distributed=True)
        init_dist(cfg.launcher, **env_cfg.get('dist_cfg', {}))


def _say(stage: Stage, what: str) -> None:
    if is_main_process():
        print(f'stage {stage.name}: {what}', flush=True)

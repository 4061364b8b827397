"""The methods that are compared, for both tasks: the one list of their names, configs, teachers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmengine.config import Config

from lt_mm.engine.launch import select_variant

_PACKAGE = Path(__file__).resolve().parents[1]
# Configs and tools lie beside the package in the repository, and in it once it is installed.
ROOT = _PACKAGE.parent if (_PACKAGE.parent / 'tools/train.py').is_file() else _PACKAGE / '.mim'

SEGMENTATION_METRICS = {
    'mIoU': 'mIoU', 'mAcc': 'mAcc',
    'head_IoU': 'head IoU', 'body_IoU': 'body IoU', 'tail_IoU': 'tail IoU',
    'head_Acc': 'head Acc', 'body_Acc': 'body Acc', 'tail_Acc': 'tail Acc',
}  # fmt: skip
CLASSIFICATION_METRICS = {
    'accuracy/top1': 'all', 'accuracy/many': 'many', 'accuracy/medium': 'medium',
    'accuracy/few': 'few', 'calibration/ECE': 'ECE',
}  # fmt: skip


@dataclass(frozen=True)
class Method:
    """What is trained.

    Args:
        label: name in tables.
        config: file, relative to the repository.
        variant: of the config.
        teacher: short name of the method whose run of the same seed is the teacher.
        evaluates: short name of the method whose run of the same seed is evaluated by this config,
            in place of a training.
    """

    label: str
    config: str
    variant: str | None = None
    teacher: str | None = None
    evaluates: str | None = None

    def load(self) -> Config:
        """The config, with the settings of the variant."""
        config = Config.fromfile(ROOT / self.config)
        select_variant(config, self.variant)
        return config


@dataclass(frozen=True)
class Benchmark:
    """A comparison on one data set.

    Args:
        methods: short name to method, in the order of the table.
        metrics: keys of :attr:`Result.metrics` to their headings.
        costs: fields of :class:`Result` to heading and format, see
            :func:`~lt_mm.benchmark.tables.summary_table`.
        priced: methods of the second table, which has costs at inference and experts alone, to the
            methods whose config says what they cost; mostly themselves.
        files: options that are set to a path in the folder of a run, and the name of that file.
        out_dir: default folder of all runs.
        epochs: whether logs count epochs, not iterations.
    """

    methods: Mapping[str, Method]
    metrics: Mapping[str, str]
    costs: Mapping[str, tuple[str, str]]
    priced: Mapping[str, str]
    files: Sequence[tuple[str, str]]
    out_dir: Path
    epochs: bool = False
    labels: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        labels = {name: method.label for name, method in self.methods.items()}
        object.__setattr__(self, 'labels', labels)

    def with_teachers(self, names: Sequence[str]) -> list[str]:
        """The methods, and before them the teachers that are not among them."""
        missing = {self.methods[name].teacher for name in names} - {None, *names}
        return [*sorted(missing), *names]


def _on_scenes(
    label: str,
    name: str,
    variant: str | None = None,
    teacher: str | None = None,
    suffix: str = '',
) -> Method:
    config = f'configs/digit_scenes/{name}_fcn_r18_digits{suffix}.py'
    return Method(label, config, variant, teacher)


def _on_digits(label: str, name: str, teacher: str | None = None) -> Method:
    return Method(label, f'configs/digits_lt/{name}_resnet8_digits-lt.py', teacher=teacher)


DIGIT_SCENES = Benchmark(
    methods={
        'ce': _on_scenes('cross-entropy', 'ce'),
        'balanced-softmax': _on_scenes('balanced softmax', 'balanced-softmax'),
        'logit-adjustment': _on_scenes(
            'logit adjustment, α = 0.2', 'balanced-softmax', 'alpha02'
        ),
        'weighted-ce': _on_scenes('class-weighted cross-entropy', 'weighted-ce'),
        'focal': _on_scenes('focal loss', 'focal'),
        'seesaw': _on_scenes('Seesaw', 'seesaw'),
        'las': _on_scenes('label-aware smoothing', 'las'),
        'ldam': _on_scenes('LDAM', 'ldam'),
        'repeat-factor': _on_scenes('repeat-factor sampling', 'repeat-factor'),
        'rare-class': _on_scenes('rare-class sampling', 'rare-class'),
        'cosine': _on_scenes('cosine, L_cls, α = 0.2', 'cosine'),
        'cosine-alpha1': _on_scenes('cosine, L_cls, α = 1', 'cosine', 'alpha1'),
        'gml-no-teacher': _on_scenes('GML without teacher, α = 0.2', 'gml', suffix='_no-teacher'),
        'gml-no-teacher-alpha1': _on_scenes(
            'GML without teacher, α = 1', 'gml', 'alpha1', suffix='_no-teacher'
        ),
        'gml': _on_scenes('GML, α = 0.2', 'gml', teacher='ce'),
        'gml-alpha1': _on_scenes('GML, α = 1', 'gml', 'alpha1', teacher='ce'),
        'gml-trainable-temperature': _on_scenes(
            'GML, α = 1, τ_g learnt', 'gml', None, 'ce', '_trainable-temperature'
        ),
        'post-compensation': _on_scenes('post-compensated softmax', 'post-compensation'),
        'wide': _on_scenes('post-compensated, one wide head', 'wide'),
        'mutual': _on_scenes('mutual learning, 3 heads', 'mutual'),
        'sade': _on_scenes('SADE, 3 heads', 'sade'),
    },
    metrics=SEGMENTATION_METRICS,
    costs=dict(seconds_per_iteration=('s/iter', '.3f'), peak_memory_mib=('peak MiB', '.0f')),
    priced={name: name for name in ('ce', 'post-compensation', 'wide', 'mutual', 'sade')},
    files=[('val_evaluator.output_csv', 'per_class.csv')],
    out_dir=Path('work_dirs/demo'),
)  # fmt: skip
"""Segmentation of the digit scenes, of their validation split."""


def _on_freedoom(
    label: str,
    name: str,
    variant: str | None = None,
    teacher: str | None = None,
) -> Method:
    suffix = '_no-teacher' if name == 'gml' and teacher is None else ''
    config = f'configs/freedoom_scenes/{name}_efficientnet-lite0_freedoom-scenes-small{suffix}.py'
    return Method(label, config, variant, teacher)


_GML_SETTINGS = {
    'alpha02': ('α = 0.2, weight 0.2, linear', None),
    'alpha1': ('α = 1', 'alpha1'),
    'weight1': ('weight 1', 'weight1'),
    'bn': ('batch normalisation in the MLPs', 'bn1'),
    'cosine': ('cosine', 'cosine1'),
    'paper': ("the paper's: weight 1, cosine", 'paper1'),
    'temperature': ('τ_g = 0.2', 'temperature02'),
}
_TEACHERS = {
    'gml': ('GML without teacher', None),
    'gml-ce': ('GML, teacher of cross-entropy', 'ce'),
    'gml-bs': ('GML, teacher of balanced softmax', 'balanced-softmax'),
}

FREEDOOM_SCENES = Benchmark(
    methods={
        'ce': _on_freedoom('cross-entropy', 'ce'),
        'balanced-softmax': _on_freedoom('balanced softmax', 'balanced-softmax'),
        'alpha02': _on_freedoom('logit adjustment, α = 0.2', 'balanced-softmax', 'alpha02'),
        'alpha05': _on_freedoom('logit adjustment, α = 0.5', 'balanced-softmax', 'alpha05'),
        **{
            f'{short}-{name}': _on_freedoom(f'{gml}, {label}', 'gml', variant, teacher)
            for short, (gml, teacher) in _TEACHERS.items()
            for name, (label, variant) in _GML_SETTINGS.items()
        },
        'gml-weighted': _on_freedoom('GML on class weights', 'gml-weighted'),
        'gml-repeat-factor': _on_freedoom('GML on repeat-factor sampling', 'gml-repeat-factor'),
        'wide': _on_freedoom('post-compensated, one wide head', 'wide'),
        'mutual': _on_freedoom('mutual learning, 3 heads', 'mutual'),
        'sade': _on_freedoom('SADE, 3 heads', 'sade'),
    },
    metrics=SEGMENTATION_METRICS,
    costs=dict(seconds_per_iteration=('s/iter', '.3f')),
    priced={name: name for name in ('ce', 'wide', 'mutual', 'sade')},
    files=[('val_evaluator.output_csv', 'per_class.csv')],
    out_dir=Path('work_dirs/freedoom'),
)
"""Segmentation of the small Freedoom scenes: what tools/compare.py has no name for."""


DIGITS_LT = Benchmark(
    methods={
        'ce': _on_digits('cross-entropy', 'ce'),
        'cosine': _on_digits('cosine, L_cls', 'cosine'),
        'balanced-softmax': _on_digits('balanced softmax', 'balanced-softmax'),
        'supcon': _on_digits('SupCon + cross-entropy', 'supcon'),
        'bcl': _on_digits('BCL', 'bcl'),
        'paco': _on_digits('PaCo', 'paco'),
        'kd': _on_digits('KD', 'kd', 'ce'),
        'crd': _on_digits('CRD', 'crd', 'ce'),
        'gml-no-teacher': _on_digits('GML without teacher', 'gml-no-teacher'),
        'gml': _on_digits('GML', 'gml', 'balanced-softmax'),
        'gml-kd': _on_digits('GML and KD', 'gml-kd', 'balanced-softmax'),
        'focal': _on_digits('focal loss', 'focal'),
        'class-balanced-ce': _on_digits('cross-entropy, effective numbers', 'class-balanced-ce'),
        'seesaw': _on_digits('Seesaw', 'seesaw'),
        'lade': _on_digits('LADE', 'lade'),
        'ldam-drw': _on_digits('LDAM-DRW', 'ldam-drw'),
        'las': _on_digits('label-aware smoothing', 'las'),
        'square-root-sampler': _on_digits('square-root sampling', 'square-root-sampler'),
        'class-balanced-sampler': _on_digits('class-balanced sampling', 'class-balanced-sampler'),
        'mixup': _on_digits('mixup', 'mixup'),
        'crt': _on_digits('cRT', 'crt'),
        'lws': _on_digits('LWS', 'lws'),
        'disalign': _on_digits('DisAlign', 'disalign'),
        'mislas': _on_digits('MiSLAS', 'mislas'),
        'post-compensation': _on_digits('post-compensated softmax', 'post-compensation'),
        'tau-norm': _on_digits('τ-normalised', 'tau-norm'),
        'ncm': _on_digits('nearest class mean', 'ncm'),
        'wide': _on_digits('post-compensated, one wide network', 'wide'),
        'experts': _on_digits('3 experts without exchange', 'experts'),
        'mutual': _on_digits('mutual learning', 'mutual'),
        'ride': _on_digits('RIDE', 'ride'),
        'ride-six': _on_digits('RIDE of 6 experts', 'ride-six'),
        'ride-kd': _on_digits('RIDE, distilled from 6 experts', 'ride-kd', 'ride-six'),
        'ride-routed': _on_digits('RIDE with routing', 'ride-routed'),
        'sade': _on_digits('SADE', 'sade'),
        'ncl': _on_digits('NCL', 'ncl'),
        'reslt': _on_digits('ResLT', 'reslt'),
    },
    metrics=CLASSIFICATION_METRICS,
    costs=dict(seconds=('seconds', '.0f')),
    # Routers cost next to nothing, and how many experts they ask is measured.
    priced={
        name: name
        for name in (
            'ce', 'post-compensation', 'wide', 'experts', 'mutual', 'ride', 'ride-six', 'ride-kd',
            'ride-routed', 'sade', 'ncl', 'reslt',
        )
    } | {'ride-routed': 'ride'},
    files=[
        ('val_evaluator.0.output_csv', 'per_class.csv'),
        ('val_evaluator.1.output_json', 'calibration.json'),
    ],
    out_dir=Path('work_dirs/digits'),
    epochs=True,
)  # fmt: skip
"""Classification of DigitsLT."""

META_WEIGHTS = replace(
    DIGITS_LT,
    methods={
        name: DIGITS_LT.methods[name] for name in ('ce', 'post-compensation', 'class-balanced-ce')
    }
    | {
        'drw': _on_digits('DRW', 'drw'),
        'cb-fine-tuning': _on_digits('class-balanced fine-tuning', 'cb-fine-tuning'),
        'meta': _on_digits('two components', 'meta'),
        'meta-permuted': _on_digits('two components, permuted', 'meta-permuted'),
        'meta-all': _on_digits('two components, all layers', 'meta-all'),
        'meta-paper': _on_digits("two components, the paper's step", 'meta-paper'),
        'l2rw': _on_digits('L2RW', 'l2rw'),
        'mw-net': _on_digits('Meta-Weight-Net', 'mw-net'),
        'cmw-net': _on_digits('CMW-Net', 'cmw-net'),
    },
    priced={name: name for name in ('ce', 'post-compensation')},
    out_dir=Path('work_dirs/meta_weights'),
)
"""Weights of samples that are learnt, and their controls, on DigitsLT."""


def _on_fashion(
    label: str, name: str, variant: str | None = None, teacher: str | None = None
) -> Method:
    suffix = '_no-teacher' if name == 'gml' and teacher is None else ''
    config = f'configs/fashion_mnist_lt/{name}_resnet8_fashion-mnist-lt{suffix}.py'
    return Method(label, config, variant, teacher)


_FASHION_GML = {
    'weight1': ('α = 1, weight 1, linear, one view', None),
    'weight02': ('weight 0.2', 'weight02'),
    'bn': ('batch normalisation in the MLPs', 'bn1'),
    'temperature': ('τ_g = 0.2', 'temperature02'),
    'cosine': ('cosine', 'cosine1'),
    'views': ('three views', 'views3'),
    'paper': ("the paper's: cosine, three views", 'paper1'),
}

FASHION_MNIST_LT = replace(
    DIGITS_LT,
    methods={
        'ce': _on_fashion('cross-entropy', 'ce'),
        'balanced-softmax': _on_fashion('balanced softmax', 'balanced-softmax'),
        'cosine': _on_fashion('balanced softmax, cosine', 'balanced-softmax', 'cosine20'),
        'class-balanced-sampler': _on_fashion('class-balanced sampling', 'class-balanced-sampler'),
        **{
            f'{short}-{name}': _on_fashion(f'{gml}, {label}', 'gml', variant, teacher)
            for short, gml, teacher in (
                ('gml', 'GML without teacher', None),
                ('gml-bs', 'GML, teacher of balanced softmax', 'balanced-softmax'),
            )
            for name, (label, variant) in _FASHION_GML.items()
        },
        'gml-class-balanced': _on_fashion('GML on class-balanced sampling', 'gml-class-balanced'),
        'drw': _on_fashion('DRW', 'meta', 'drw1'),
        'cb-fine-tuning': _on_fashion('class-balanced fine-tuning', 'meta', 'finetuning1'),
        'meta': _on_fashion('two components', 'meta'),
        'meta-permuted': _on_fashion('two components, permuted', 'meta', 'permuted1'),
        'l2rw': _on_fashion('L2RW', 'meta', 'lrw2'),
        'mw-net': _on_fashion('Meta-Weight-Net', 'meta', 'mwnet1'),
        'cmw-net': _on_fashion('CMW-Net', 'meta', 'cmwnet1'),
    },
    priced={},
    out_dir=Path('work_dirs/fashion'),
)
"""Classification of Fashion-MNIST-LT: what tools/compare.py has no name for."""

"""What a model needs to have a frozen teacher."""

from inspect import signature
from typing import Any, ClassVar

from lt_mm.models.teachers.frozen_network import FrozenNetwork, check_preprocessing


class Taught:
    """Give a model of mmengine a teacher, in ``class MyModel(Taught, Base)``.

    The teacher is in no checkpoint, no optimizer and no DDP bucket. It is loaded when training
    initialises the weights, so inference needs neither its memory nor its file.

    Args:
        args: those of the base class.
        teacher: arguments of ``teacher_class``, ``dict(config=..., checkpoint=...)``; ``dict()``
            for those that an earlier stage gives. None for a model that can do without.
        kwargs: those of the base class.

    Raises:
        ValueError: if a teacher has other arguments; in training, if it does not suit the student.
    """

    teacher_class: ClassVar[type[FrozenNetwork]]

    def __init__(self, *args: Any, teacher: dict | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        unknown = sorted(set(teacher or ()) - set(signature(self.teacher_class).parameters))
        if unknown:
            raise ValueError(
                f'the teacher of {type(self).__name__} has {", ".join(unknown)}, which is no '
                'argument of a teacher; give dict(config=..., checkpoint=...).'
            )
        self._teacher_cfg = teacher
        self._teacher: FrozenNetwork | None = None

    @property
    def has_teacher(self) -> bool:
        """Whether the config has a teacher, loaded or not."""
        return self._teacher_cfg is not None

    @property
    def teacher(self) -> FrozenNetwork | None:
        """The teacher, loaded at the first use; None where there is none."""
        if self._teacher is None and self._teacher_cfg is not None:
            missing = sorted({'config', 'checkpoint'} - set(self._teacher_cfg))
            if missing:
                raise ValueError(
                    f'the teacher of {type(self).__name__} has no {" and no ".join(missing)}; give '
                    'model.teacher.checkpoint and .config, or train with tools/train.py and '
                    'earlier_stages, which train or find a teacher.'
                )
            teacher = self.teacher_class(**self._teacher_cfg)
            self.check_teacher(teacher)
            self._teacher = teacher
        return self._teacher

    def check_teacher(self, teacher: FrozenNetwork) -> None:
        """Refuse a teacher that does not suit.

        Raises:
            ValueError: saying why.
        """
        check_preprocessing(self.data_preprocessor, teacher.preprocessor)

    def init_weights(self) -> None:
        """Initialise the student, and find out now whether the teacher is there and fits."""
        super().init_weights()
        _ = self.teacher

"""How many samples each class of a data set has, with names, unit and source."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lt_mm.functional.priors import check_counts, log_prior

UNITS = ('pixels', 'images', 'instances')
_PACKAGED = Path(str(files('lt_mm') / 'class_counts'))


@dataclass(frozen=True, eq=False)
class ClassCounts:
    """Class counts of a data set; not to be changed once made.

    Two of them are equal if counts, class names, unit and prior are; where they come from does not
    matter.

    Args:
        counts (Tensor | Sequence[int]): Samples of each class, shape (C,), whole numbers. A class
            may have none, but not all of them. Kept as an int64 tensor on the CPU.
        class_names (Sequence[str], optional): C names in class order. Defaults to None.
        unit (str): What was counted: 'pixels', 'images' or 'instances'. Defaults to 'images'.
        source (str): Where the figures come from, for a reader. Defaults to ''.
        name (str): What errors call these counts. Defaults to ''.
        prior (Tensor | Sequence[float], optional): Probability of each class in what is trained on,
            shape (C,), where a sampler makes it differ from the counts; see `with_prior`. Kept as a
            float64 tensor on the CPU, summing to one. Defaults to None.

    Raises:
        ValueError: If the counts or the prior are not valid, the names are not C strings, or the
            unit is unknown.
    """

    counts: Tensor
    class_names: tuple[str, ...] | None = None
    unit: str = 'images'
    source: str = ''
    name: str = ''
    prior: Tensor | None = None

    def __post_init__(self) -> None:
        if isinstance(self.counts, Mapping | Set):
            raise ValueError(
                f'class counts must be numbers in class order, but got {self.counts!r:.80}: '
                'give a list'
            )
        self._refuse_truth_values()
        counts = check_counts(self.counts, whole=True).cpu().clone()
        object.__setattr__(self, 'counts', counts)
        if self.prior is not None:
            object.__setattr__(self, 'prior', self._checked_prior())
        if self.unit not in UNITS:
            raise ValueError(f'unit {self.unit!r} is unknown: use one of {", ".join(UNITS)}')
        if self.class_names is None:
            return
        names = tuple(self.class_names)
        if isinstance(self.class_names, str) or not all(isinstance(n, str) for n in names):
            raise ValueError(f'class_names must be a list of strings, got {self.class_names!r:.80}')
        if len(names) != len(counts):
            raise ValueError(
                f'{len(names)} class names were given for {len(counts)} class counts: '
                'give one name for each class, or none at all'
            )
        object.__setattr__(self, 'class_names', names)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ClassCounts):
            return NotImplemented
        return (
            torch.equal(self.counts, other.counts)
            and self.class_names == other.class_names
            and self.unit == other.unit
            and (self.prior is None) == (other.prior is None)
            and (self.prior is None or torch.equal(self.prior, other.prior))
        )

    @property
    def num_classes(self) -> int:
        """Number of classes, C."""
        return len(self.counts)

    @property
    def imbalance_factor(self) -> float:
        """Largest count over the smallest count that is not zero."""
        return self.counts.max().item() / self.counts[self.counts > 0].min().item()

    def log_prior(self) -> Tensor:
        """Log of the class prior of what is trained on.

        Returns:
            Tensor: Shape (C,), float32; minus infinity for a class without a sample, or of which a
            sampler yields none. Without `prior` it is that of the counts,
            `lt_mm.functional.priors.log_prior`.
        """
        if self.prior is None:
            return log_prior(self.counts)
        prior = self.prior.masked_fill(self.counts == 0, 0)
        return (prior.log() - prior.sum().log()).float()

    def with_prior(self, prior: 'Tensor | Sequence[float] | None') -> 'ClassCounts':
        """The same counts, of which a sampler yields the classes with other probabilities.

        What corrects for the prior (logit adjustment) follows `log_prior`; what depends on how many
        samples of a class there are (margins, queue lengths, head and tail) follows `counts`.

        Args:
            prior (Tensor | Sequence[float], optional): Probability of each class, shape (C,), up to
                a common factor. None: that of the counts.

        Returns:
            ClassCounts: A copy with that prior.

        Raises:
            ValueError: If the prior is not C finite numbers of zero or more with a positive sum.
        """
        return replace(self, prior=prior)

    def in_order_of(self, class_names: Sequence[str] | None, owner: str) -> 'ClassCounts':
        """The same counts in the class order of whoever uses them.

        Args:
            class_names (Sequence[str], optional): Names of the user's classes in order. None, or
                counts without names, leave the counts as they are.
            owner (str): What the error calls the user.

        Returns:
            ClassCounts: With the names in that order.

        Raises:
            ValueError: If the names are those of other classes.
        """
        names = None if class_names is None else tuple(class_names)
        if not names or self.class_names is None or self.class_names == names:
            return self
        title = f'class counts {self.name!r}' if self.name else 'class counts'
        if len(names) != self.num_classes:
            self.validate(len(names), owner)
        if sorted(names) != sorted(self.class_names) or len(set(names)) < len(names):
            ours, theirs = next(
                (a, b) for a, b in zip(self.class_names, names, strict=True) if a != b
            )
            raise ValueError(
                f'{title} are of other classes than {owner}: {ours!r} stands where that has '
                f'{theirs!r}. Use the counts of its own classes, or give the numbers as a list if '
                'only the names differ'
            )
        order = [self.class_names.index(name) for name in names]
        prior = None if self.prior is None else self.prior[order]
        return replace(self, counts=self.counts[order], class_names=names, prior=prior)

    def _refuse_truth_values(self) -> None:
        counts = self.counts
        if isinstance(counts, Tensor):
            wrong = counts.dtype == torch.bool
        else:
            wrong = isinstance(counts, Iterable) and any(
                isinstance(value, bool | np.bool_) for value in counts
            )
        if wrong:
            raise ValueError(
                f'class counts must be one number for each class, got truth values: {counts!r:.80}'
            )

    def _checked_prior(self) -> Tensor:
        prior = torch.as_tensor(self.prior, dtype=torch.float64).cpu()
        if prior.shape != self.counts.shape:
            raise ValueError(
                f'a prior of shape {tuple(prior.shape)} was given for {len(self.counts)} class '
                'counts: give one probability for each class'
            )
        if not torch.isfinite(prior).all() or (prior < 0).any() or not prior.sum() > 0:
            raise ValueError(
                f'the prior {prior.tolist()!r:.80} is none: give finite probabilities of zero or '
                'more, not all zero'
            )
        if not prior[self.counts > 0].any():
            raise ValueError(
                f'the prior {prior.tolist()!r:.80} is that of classes without a sample alone, of '
                'which nothing can be drawn: give that of the classes that occur'
            )
        return prior / prior.sum()

    def validate(self, num_classes: int, owner: str = 'the module') -> None:
        """Check that the counts are for as many classes as whoever uses them has.

        Args:
            num_classes (int): Number of classes of the user of the counts.
            owner (str): What the error calls that user. Defaults to 'the module'.

        Raises:
            ValueError: If the numbers of classes differ.
        """
        if num_classes != self.num_classes:
            name = f' {self.name!r}' if self.name else ''
            raise ValueError(
                f'class counts{name} have {self.num_classes} classes but {owner} has '
                f'{num_classes}: use the counts of the data set that is trained on, or set '
                'num_classes to theirs'
            )

    @staticmethod
    def names() -> list[str]:
        """Names of the packaged class counts, sorted."""
        return sorted(path.stem for path in _PACKAGED.glob('*.json'))

    @classmethod
    def of(
        cls, value: 'ClassCounts | str | os.PathLike | Sequence[int] | Tensor', unit: str = 'images'
    ) -> 'ClassCounts':
        """Make class counts of whatever a config may hold.

        Args:
            value (ClassCounts | str | PathLike | Sequence[int] | Tensor): Class counts, a packaged
                name, a path, or the numbers themselves.
            unit (str): Unit of bare numbers. Defaults to 'images'.

        Returns:
            ClassCounts: The class counts.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, str | os.PathLike):
            return cls.load(value)
        return cls(value, unit=unit, source='numbers given in the config')

    @classmethod
    def load(cls, name_or_path: str | os.PathLike) -> 'ClassCounts':
        """Load packaged class counts by name, or a JSON file that `save` wrote.

        Args:
            name_or_path (str | PathLike): A name out of `names()`, or the path of a file.

        Returns:
            ClassCounts: What the file holds.

        Raises:
            FileNotFoundError: If it is neither a packaged name nor a file.
            ValueError: If the file is no JSON or does not hold class counts.
        """
        path = Path(name_or_path)
        if str(name_or_path) in cls.names():
            path = _PACKAGED / f'{name_or_path}.json'
        elif not path.is_file():
            nearest = get_close_matches(path.stem.lower(), cls.names(), n=1)
            hint = f' (perhaps {nearest[0]!r})' if nearest else ''
            raise FileNotFoundError(
                f"class counts '{name_or_path}' are neither packaged nor a file: give a path or "
                f'one of {", ".join(cls.names())}{hint}'
            )
        try:
            return cls._from_json(
                json.loads(path.read_text(encoding='utf-8'), object_pairs_hook=_unique_keys)
            )
        except ValueError as error:
            raise ValueError(
                f"'{path}' does not hold class counts ({error}): write it with ClassCounts.save, "
                'or delete it and count again'
            ) from error

    @classmethod
    def _from_json(cls, content: object) -> 'ClassCounts':
        keys = ('name', 'unit', 'source', 'classes')
        missing = [key for key in keys if not isinstance(content, dict) or key not in content]
        if missing:
            raise ValueError(f'it lacks {", ".join(missing)}')
        classes = content['classes']
        if not isinstance(classes, list) or not all(
            isinstance(pair, list) and len(pair) == 2 for pair in classes
        ):
            raise ValueError("'classes' is not a list of [name, count] pairs")
        names, counts = [pair[0] for pair in classes], [pair[1] for pair in classes]
        named = any(name is not None for name in names)
        repeated = _repeated(names) if named and all(isinstance(n, str) for n in names) else []
        unexpected = [name for name in repeated if name not in content.get('repeated_names', ())]
        if unexpected:
            raise ValueError(f'class {unexpected[0]!r} stands in it more than once')
        return cls(
            counts,
            names if named else None,
            content['unit'],
            content['source'],
            content['name'],
            content.get('prior'),
        )

    def save(self, path: str | os.PathLike) -> None:
        """Write the class counts as JSON, one class a line, making the folder if need be.

        The file appears complete or not at all, so that another process may wait for it.

        Args:
            path (str | PathLike): Where to write.
        """
        path = Path(path)
        names = self.class_names or (None,) * self.num_classes
        classes = zip(names, self.counts.tolist(), strict=True)
        lines = ',\n'.join(f'    {json.dumps(pair, ensure_ascii=False)}' for pair in classes)
        head = ''.join(
            f'  "{key}": {json.dumps(getattr(self, key), ensure_ascii=False)},\n'
            for key in ('name', 'unit', 'source')
        )
        if self.prior is not None:
            head += f'  "prior": {json.dumps(self.prior.tolist())},\n'
        if self.class_names and _repeated(self.class_names):
            # ImageNet has two classes called 'crane'; elsewhere it is a mistake.
            repeated = json.dumps(_repeated(self.class_names), ensure_ascii=False)
            head += f'  "repeated_names": {repeated},\n'
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f'{path.name}.{os.getpid()}.part')
        partial.write_text(f'{{\n{head}  "classes": [\n{lines}\n  ]\n}}\n', encoding='utf-8')
        partial.replace(path)


def _repeated(names: Sequence[str]) -> list[str]:
    return [name for name, number in Counter(names).items() if number > 1]


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    repeated = _repeated([key for key, _ in pairs])
    if repeated:
        raise ValueError(f'{repeated[0]!r} stands in it more than once')
    return dict(pairs)

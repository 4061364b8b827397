"""Which classes are head, body and tail, or many, medium and few shot."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from torch import Tensor

from lt_mm.structures.class_counts import ClassCounts

SHOTS = ('many', 'medium', 'few')
PARTS = ('head', 'body', 'tail')
_OLD = dict(group_sizes='sizes', group_by='by', many_above='many_above', few_below='few_below')


class ClassGroups(ABC):
    """A rule that puts the classes of a data set into groups: what metrics, losses and plots share.

    Four rules are at hand, as :meth:`by_thresholds`, :meth:`by_sizes`, :meth:`by_lists` and
    :meth:`by_share`; :meth:`of` makes one of what a config holds. A rule knows no data set until
    :meth:`split` is given the counts of one.
    """

    names: tuple[str, ...]
    """Names of the groups, from frequent to rare."""
    needs_counts: bool = True
    """Whether the split depends on the class counts, and not on the number of classes alone."""

    @staticmethod
    def by_thresholds(
        many_above: float = 100, few_below: float = 20, names: Sequence[str] = SHOTS
    ) -> 'ClassGroups':
        """Groups by thresholds on the counts.

        Source: the public code of OLTR (Liu et al., CVPR 2019) and of Decoupling (Kang et al.,
        ICLR 2020): many have over 100 images, few under 20, medium 20 to 100.

        Args:
            many_above (float): Classes with more samples than this are in the first group. Defaults
                to 100.
            few_below (float): Classes with fewer samples than this are in the last group, those
                without any among them. Defaults to 20.
            names (Sequence[str]): Three names. Defaults to 'many', 'medium' and 'few'.

        Returns:
            ClassGroups: The rule. Classes of a group come by rising index.

        Raises:
            ValueError: If a class could be in both the first and the last group.
        """
        return _ByThresholds(tuple(names), many_above, few_below)

    @staticmethod
    def by_sizes(
        sizes: Sequence[int] | None = None, by: str = 'counts', names: Sequence[str] = PARTS
    ) -> 'ClassGroups':
        """Groups of given numbers of classes.

        Args:
            sizes (Sequence[int], optional): Number of classes in each group, summing to C; a group
                may be empty. Defaults to None, the proportions published for ADE20K (20, 55 and 75
                of 150 classes) at any C: ``max(1, round(C * 20 / 150))`` classes,
                ``round(C * 55 / 150)`` of the others, and the rest.
            by (str): 'counts' ranks the classes by falling count, of equal counts the lower class
                index first; 'index' takes them in class order, as is published for ADE20K (0-19,
                20-74, 75-149). Defaults to 'counts'.
            names (Sequence[str]): One name for each size. Defaults to 'head', 'body' and 'tail'.

        Returns:
            ClassGroups: The rule. Classes of a group come in the order they were ranked.

        Raises:
            ValueError: If the sizes are not one for each name or are negative, or ``by`` is
                unknown; from `split`, if they do not sum to C.
        """
        return _BySizes(tuple(names), None if sizes is None else tuple(sizes), by)

    @staticmethod
    def by_lists(lists: Mapping[str, Sequence[int]]) -> 'ClassGroups':
        """Groups given class by class.

        Args:
            lists (Mapping[str, Sequence[int]]): Name of each group to the indices of its classes,
                which may be a tensor. A class in none of them (a background, for example) belongs
                to no group.

        Returns:
            ClassGroups: The rule. Classes of a group come in the order given.

        Raises:
            ValueError: If an index is not a whole number of 0 or more, or stands twice; from
                `split`, if it is no class.
        """
        if not isinstance(lists, Mapping):
            raise ValueError(
                f'lists of class groups are {lists!r:.80}: give the classes of each group by its '
                'name, such as dict(head=[0, 1], tail=[2])'
            )
        return _ByLists(tuple(lists), tuple(map(_listed, lists.values())))

    @staticmethod
    def by_share(
        shares: Sequence[float] = (0.8, 0.16, 0.04), names: Sequence[str] = PARTS
    ) -> 'ClassGroups':
        """Groups by the share of all samples that they hold, at any number of classes.

        Classes are ranked as by 'counts' in `by_sizes`. One is in the first group if the classes
        before it hold less than the first share of all samples, in the second if they hold less
        than the first two together, and so on; those without a sample are in the last. The most
        frequent class is thus always in the first, however few classes there are.

        Args:
            shares (Sequence[float]): Share of each group, summing to one. Defaults to 0.8, 0.16 and
                0.04: what the published groups of ADE20K hold of its pixels.
            names (Sequence[str]): One name for each share. Defaults to 'head', 'body' and 'tail'.

        Returns:
            ClassGroups: The rule. Classes of a group come in the order they were ranked.

        Raises:
            ValueError: If the shares are not one positive number for each name that sum to one.
        """
        return _ByShare(tuple(names), tuple(shares))

    @classmethod
    def of(
        cls, value: 'ClassGroups | Mapping[str, Any] | None' = None, unit: str = 'pixels'
    ) -> 'ClassGroups':
        """Make a rule of whatever a config may hold.

        Args:
            value (ClassGroups | Mapping[str, Any], optional): A rule, or the arguments of one, of
                which at least one has to tell the rule: ``dict(many_above=40, few_below=10)``,
                ``dict(sizes=(20, 55, 75), by='index')``, ``dict(lists=dict(head=[0, 1]))`` or
                ``dict(shares=(0.8, 0.16, 0.04))``, each with ``names`` where these can be given.
                Defaults to None, what is usual for the unit.
            unit (str): What None stands for: 'images' for `by_thresholds`, as is usual for
                classification, any other for `by_share`, which puts the class of most pixels in
                the head however few classes there are. Defaults to 'pixels'.

        Returns:
            ClassGroups: The rule.

        Raises:
            ValueError: If the arguments are of no rule, or those of a rule are not valid.
        """
        if isinstance(value, ClassGroups):
            return value
        if value is None:
            return cls.by_thresholds() if unit == 'images' else cls.by_share()
        rules = (
            (cls.by_thresholds, {'many_above', 'few_below'}, {'names'}),
            (cls.by_sizes, {'sizes', 'by'}, {'names'}),
            (cls.by_lists, {'lists'}, set()),
            (cls.by_share, {'shares'}, {'names'}),
        )
        fault = None
        for rule, own, more in rules:
            given = value.keys() if isinstance(value, Mapping) else set()
            if own & given and given <= own | more:
                try:
                    return rule(**value)
                except TypeError as error:  # A number for a list, or a word for a number.
                    fault = error
        raise ValueError(
            f'groups are {value!r:.100}: give arguments of one rule, such as '
            "dict(many_above=100, few_below=20), dict(sizes=(20, 55, 75), by='index'), "
            'dict(lists=dict(head=[0, 1], tail=[2])) or dict(shares=(0.8, 0.16, 0.04))'
        ) from fault

    def split(
        self,
        counts: 'ClassCounts | Tensor | Sequence[int] | None' = None,
        num_classes: int | None = None,
    ) -> dict[str, Tensor]:
        """Put the classes of a data set into groups.

        Args:
            counts (ClassCounts | Tensor | Sequence[int], optional): Counts of the C classes, or
                what `ClassCounts.of` makes them of. None will do if not `needs_counts`.
            num_classes (int, optional): C, where there are no counts. Defaults to None.

        Returns:
            dict[str, Tensor]: Name of every group to the indices of its classes, int64; no class is
            in two groups, and a group may be empty.

        Raises:
            ValueError: If the rule does not fit the number of classes, or needs counts.
        """
        if counts is None and (self.needs_counts or num_classes is None):
            raise ValueError(f'{self} has no class counts to go by: give those of the training set')
        if counts is not None:
            counts = ClassCounts.of(counts).counts
            num_classes = len(counts)
        return dict(zip(self.names, self._split(counts, num_classes), strict=True))

    @abstractmethod
    def _split(self, counts: Tensor | None, num_classes: int) -> Sequence[Tensor]:
        """Classes of each group; ``counts`` (C,) int64 are None only if not `needs_counts`."""

    def _check_names(self, what: str, number: int) -> None:
        names = self.names
        if not names or len(set(names)) < len(names) or not all(isinstance(n, str) for n in names):
            raise ValueError(
                f'names of class groups are {names!r}: give different strings, at least one'
            )
        if len(names) != number:
            raise ValueError(
                f'{number} {what} were given for the class groups {", ".join(names)}: give one for '
                'each of these names, or other names'
            )


@dataclass(frozen=True)
class _ByThresholds(ClassGroups):
    names: tuple[str, ...]
    many_above: float
    few_below: float

    def __post_init__(self) -> None:
        self._check_names('parts between two thresholds', 3)
        if not self.few_below <= self.many_above + 1:
            raise ValueError(
                f'few_below is {self.few_below} and many_above {self.many_above}, so that a class '
                'could be in both groups: give few_below of at most many_above + 1'
            )

    def _split(self, counts: Tensor, num_classes: int) -> Sequence[Tensor]:
        many, few = counts > self.many_above, counts < self.few_below
        return [mask.nonzero().flatten() for mask in (many, ~many & ~few, few)]


@dataclass(frozen=True)
class _BySizes(ClassGroups):
    names: tuple[str, ...]
    sizes: tuple[int, ...] | None
    by: str

    def __post_init__(self) -> None:
        if self.by not in ('counts', 'index'):
            raise ValueError(f"classes cannot be grouped by {self.by!r}: use 'counts' or 'index'")
        self._check_names('sizes', 3 if self.sizes is None else len(self.sizes))
        if not all(_is_whole(size) and size >= 0 for size in self.sizes or ()):
            raise ValueError(
                f'group sizes {self.sizes} do not split any number of classes: give whole numbers '
                'of 0 or more'
            )

    @property
    def needs_counts(self) -> bool:
        return self.by == 'counts'

    def _split(self, counts: Tensor | None, num_classes: int) -> Sequence[Tensor]:
        sizes = self.sizes
        if sizes is None:
            head = max(1, round(num_classes * 20 / 150))
            body = min(round(num_classes * 55 / 150), num_classes - head)
            sizes = (head, body, num_classes - head - body)
        if sum(sizes) != num_classes:
            raise ValueError(
                f'group sizes {sizes} do not split {num_classes} classes: give sizes for '
                f'{", ".join(self.names)} that sum to {num_classes}'
            )
        order = _ranked(counts) if self.needs_counts else torch.arange(num_classes)
        return order.split(sizes)


@dataclass(frozen=True)
class _ByLists(ClassGroups):
    names: tuple[str, ...]
    lists: tuple[tuple[int, ...], ...]
    needs_counts = False

    def __post_init__(self) -> None:
        self._check_names('lists', len(self.lists))
        classes = [c for classes in self.lists for c in classes]
        told = f'stands in the lists of the class groups {", ".join(self.names)}'
        for wrong in (c for c in classes if not _is_whole(c) or c < 0):
            kind = 'negative' if _is_whole(wrong) else f'a {type(wrong).__name__}'
            raise ValueError(
                f'class {wrong!r} {told}, but is {kind}: give whole numbers, the indices of '
                'classes from 0'
            )
        twice = [c for c, number in Counter(classes).items() if number > 1]
        if twice:
            raise ValueError(f'class {twice[0]} {told} twice: give each index once')

    def _split(self, counts: Tensor | None, num_classes: int) -> Sequence[Tensor]:
        groups = [torch.tensor(classes, dtype=torch.int64) for classes in self.lists]
        for name, classes in zip(self.names, groups, strict=True):
            if len(classes) and classes.max() >= num_classes:
                raise ValueError(
                    f'class {classes.max()} of the group {name} is none of the {num_classes} '
                    f'classes: give indices up to {num_classes - 1}'
                )
        return groups


@dataclass(frozen=True)
class _ByShare(ClassGroups):
    names: tuple[str, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        self._check_names('shares', len(self.shares))
        if not min(self.shares) > 0 or not abs(sum(self.shares) - 1) < 1e-6:
            raise ValueError(
                f'shares of class groups are {self.shares}: give positive ones that sum to 1'
            )

    def _split(self, counts: Tensor, num_classes: int) -> Sequence[Tensor]:
        order = _ranked(counts)
        ranked = counts[order].double()
        before = (ranked.cumsum(0) - ranked) / ranked.sum()
        bounds = torch.tensor(self.shares, dtype=torch.float64).cumsum(0)[:-1]
        group = torch.bucketize(before, bounds, right=True)
        group[ranked == 0] = len(bounds)
        return [order[group == index] for index in range(len(self.shares))]


def _ranked(counts: Tensor) -> Tensor:
    return counts.sort(descending=True, stable=True).indices


def _listed(classes: Iterable) -> tuple:
    """Classes of a sequence or of a tensor as plain numbers, where they are numbers."""
    if isinstance(classes, Tensor) and classes.ndim:
        return tuple(classes.tolist())
    return tuple(c.item() if isinstance(c, Tensor) and c.numel() == 1 else c for c in classes)


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def refuse_old_arguments(owner: str, arguments: Mapping[str, Any]) -> None:
    """Name the successor of arguments that told the groups before there was `ClassGroups`.

    Args:
        owner (str): What the error calls the class that was given the arguments.
        arguments (Mapping[str, Any]): Arguments that the class itself does not know.

    Raises:
        TypeError: If there is such an argument among them.
    """
    old = [name for name in _OLD if name in arguments]
    if old:
        new = ', '.join(f'{_OLD[name]}={arguments[name]!r}' for name in old)
        raise TypeError(
            f'{owner} does not know {" and ".join(old)} any more: give groups=dict({new})'
        )

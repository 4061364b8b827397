"""The iNaturalist competitions of 2017 and 2018, long-tailed by nature."""

import json

from mmengine.fileio import get_file_backend, get_text

from lt_mm.compat import name_classes
from lt_mm.datasets.label_lists import LabelListDataset
from lt_mm.registry import DATASETS


@DATASETS.register_module()
class INaturalist2018(LabelListDataset):
    """iNaturalist 2018: 437,513 training images of 8142 species, 2 to 1000 of each.

    The official validation set, 24,426 images, 3 of each species, is what papers test on.
    ``ann_file`` is the official JSON (``train2018.json``, ``val2018.json``), whose ``categories``
    also name the classes unless ``classes`` is given, or a public list of lines ``path label``.
    Either way the label is the official category id. Images lie at ``file_name``, or the path,
    under ``data_prefix``. Other arguments and errors are those of :class:`LabelListDataset`.
    """

    METAINFO = dict(classes=tuple(map(str, range(8142))))
    list_source = '{train,val}2018.json or iNaturalist18_{train,val}.txt, see docs/datasets.md'

    def _read_annotations(self) -> list[dict]:
        if not self.ann_file.endswith('.json'):
            return super()._read_annotations()
        try:
            content = json.loads(get_text(self.ann_file))
            files = {image['id']: image['file_name'] for image in content['images']}
            names = {c['id']: str(c['name']) for c in content.get('categories', ())}
            samples = [
                dict(img_path=files[a['image_id']], gt_label=int(a['category_id']))
                for a in content.get('annotations', ())
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f'{self.ann_file} is not an annotation file of {type(self).__name__} '
                f'({type(error).__name__}: {error}): take the official one ({self.list_source}).'
            ) from error
        if not self.with_label:
            samples = [dict(img_path=file) for file in files.values()]
        elif not samples:
            raise ValueError(
                f'{self.ann_file} holds no annotations, as the labels of test images are not '
                'public: test on the validation file, or predict only, with with_label=False.'
            )
        if names:
            self._name_classes(names)
        join = get_file_backend(self.img_prefix, enable_singleton=True).join_path
        return [
            {**sample, 'img_path': join(self.img_prefix, sample['img_path'])} for sample in samples
        ]

    def _name_classes(self, names: dict[int, str]) -> None:
        numbers = self.METAINFO['classes']
        if sorted(names) != list(range(len(numbers))):
            raise ValueError(
                f'{self.ann_file} has {len(names)} categories, but {type(self).__name__} has '
                f'{len(numbers)}, with ids 0 to {len(numbers) - 1}: check that it is a file of '
                f'that year ({self.list_source}).'
            )
        if tuple(self.CLASSES) == numbers:
            name_classes(self, tuple(names[label] for label in sorted(names)))


@DATASETS.register_module()
class INaturalist2017(INaturalist2018):
    """iNaturalist 2017: 579,184 training images of 5089 categories.

    As :class:`INaturalist2018`, with ``train2017.json`` and ``val2017.json`` (95,986 images, as
    long-tailed as the training set).
    """

    METAINFO = dict(classes=tuple(map(str, range(5089))))
    list_source = '{train,val}2017.json, see docs/datasets.md'

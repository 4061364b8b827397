import importlib
import sys

import lt_mm.datasets

MODULES = [
    f'lt_mm.datasets.{name}'
    for name in ('cifar_lt', 'digits_lt', 'fashion_mnist_lt', 'inaturalist')
]
NAMES = {
    'CIFAR10LT',
    'CIFAR100LT',
    'DigitsLT',
    'FashionMNISTLT',
    'INaturalist2017',
    'INaturalist2018',
    'PlacesLT',
}


def test_segmentation_works_silently_without_mmpretrain(monkeypatch, capfd):
    try:
        with monkeypatch.context() as without:
            # None is what makes find_spec and import agree that a module does not exist.
            without.setitem(sys.modules, 'mmpretrain', None)
            for module in MODULES:
                without.delitem(sys.modules, module)
            importlib.reload(lt_mm.datasets)
            assert not set(MODULES) & set(sys.modules)
            assert 'DigitScenesDataset' in lt_mm.datasets.__all__
            assert not NAMES & set(lt_mm.datasets.__all__)
    finally:
        importlib.reload(lt_mm.datasets)
    assert set(lt_mm.datasets.__all__) >= NAMES
    assert capfd.readouterr().err == ''

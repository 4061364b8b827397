"""Make the file of class text features that lt_mm.TextGMLLoss reads, with a CLIP text encoder."""

import argparse
import json
from itertools import chain
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.registry import DATASETS, init_default_scope
from mmseg.models.text_encoder import CLIPTextEncoder
from mmseg.utils import get_predefined_templates, tokenize
from rich.console import Console
from rich.progress import track
from torch import Tensor

import lt_mm  # noqa: F401  (lets configs inherit from mmseg and mmpretrain)
from lt_mm.checkpoints import trust_checkpoints
from lt_mm.engine.data_config import check_dataset_paths
from lt_mm.engine.launch import add_trust_argument, stop
from lt_mm.models.teachers.clip_text_encoder import load_clip_text_encoder
from lt_mm.structures import TextFeatures


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='path or URL of a CLIP; see docs/text_centres.md')
    parser.add_argument('out', type=Path, help='.npz file to write')
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument('--classes', type=Path, help='text file with one class name a line')
    source.add_argument('--config', help='config whose training set names the classes')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='config overrides'
    )
    parser.add_argument(
        '--templates',
        default='imagenet',
        help="'imagenet' (80 templates), 'vild' (14), or a text file with one a line, in which {} "
        "stands for the class name; 'none' takes sentences alone (default: imagenet)",
    )
    parser.add_argument(
        '--sentences', type=Path, help='JSON file: {class name: [sentence, ...]}, taken besides'
    )
    parser.add_argument('--batch-size', type=int, default=256, help='texts at a time (256)')
    parser.add_argument('--device', default=get_device(), help='device (the accelerator, or cpu)')
    add_trust_argument(parser)
    return parser.parse_args()


def main() -> None:
    """Read names, write prompts, encode them, save."""
    args = parse_args()
    trust_checkpoints(args.trust_checkpoint)
    if args.out.suffix != '.npz':
        stop(f'The file to write is {args.out}: give a name that ends in .npz.')
    try:
        names = read_lines(args.classes) if args.classes else classes_of(args)
        texts = write_prompts(names, read_templates(args.templates), read_sentences(args.sentences))
        encoder = load_clip_text_encoder(args.checkpoint)
    except (OSError, ValueError) as error:
        stop(str(error))
    features = encode(encoder, list(chain(*texts)), args.batch_size, torch.device(args.device))
    # Half precision, as GML's queue keeps its features.
    lengths = torch.tensor([len(prompts) for prompts in texts])
    TextFeatures(features.half(), lengths, tuple(names)).save(args.out)
    print(
        f'{args.out}: {len(features):,} texts of {len(names)} classes, {features.shape[1]} '
        f'channels, {args.out.stat().st_size:,} bytes'
    )


def read_lines(path: Path) -> list[str]:
    """Lines of a text file that are not blank.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it has no such line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"'{path}' does not exist; give a text file of one item a line.")
    lines = [line.strip() for line in path.read_text(encoding='utf-8').splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        raise ValueError(f"'{path}' is empty; write one item a line.")
    return lines


def classes_of(args: argparse.Namespace) -> list[str]:
    """Class names of the training set of a config.

    Raises:
        FileNotFoundError: if the config or the data set is missing.
        ValueError: if the data set names no classes.
    """
    config = Config.fromfile(args.config)
    config.merge_from_dict(args.cfg_options or {})
    init_default_scope(config.get('default_scope', 'mmengine'))
    check_dataset_paths(config, ['train_dataloader'])
    dataset = DATASETS.build(config.train_dataloader.dataset)
    names = dataset.metainfo.get('classes')
    if not names:
        raise ValueError(f'the training set of {args.config} names no classes; use --classes.')
    return list(names)


def read_templates(name: str) -> list[str]:
    """A set of templates that mmsegmentation has, or those of a file.

    Raises:
        FileNotFoundError: if it is neither.
        ValueError: if a template has no place for the class name.
    """
    if name == 'none':
        return []
    if name in ('imagenet', 'vild'):
        return get_predefined_templates(name)
    templates = read_lines(Path(name))
    without = [template for template in templates if '{}' not in template]
    if without:
        raise ValueError(f"template {without[0]!r} of '{name}' lacks {{}}; write {{}} in it.")
    return templates


def read_sentences(path: Path | None) -> dict[str, list[str]]:
    """Sentences of classes by name.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not JSON of this form.
    """
    if path is None:
        return {}
    if not path.is_file():
        raise FileNotFoundError(f"sentences '{path}' do not exist; give the path of a JSON file.")
    fault = f"'{path}' must hold one JSON object, {{class name: [sentence, ...]}}"
    try:
        sentences = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'{fault}; correct it ({error}).') from error
    if not isinstance(sentences, dict) or not all(
        isinstance(texts, list) and all(isinstance(text, str) for text in texts)
        for texts in sentences.values()
    ):
        raise ValueError(f'{fault}; correct it.')
    return sentences


def write_prompts(
    names: list[str], templates: list[str], sentences: dict[str, list[str]]
) -> list[list[str]]:
    """Texts of each class: templates with its name, underscores as blanks, then its sentences.

    Raises:
        ValueError: if a class has no text, or sentences are for a class that is not named.
    """
    unknown = sorted(set(sentences) - set(names))
    if unknown:
        raise ValueError(f'sentences are for {unknown[0]!r}, which is no class; correct the name.')
    texts = [
        [template.replace('{}', name.replace('_', ' ')) for template in templates]
        + sentences.get(name, [])
        for name in names
    ]
    for name, prompts in zip(names, texts, strict=True):
        if not prompts:
            raise ValueError(f'class {name!r} has no text; use templates, or write a sentence.')
    return texts


def encode(
    encoder: CLIPTextEncoder, texts: list[str], batch_size: int, device: torch.device
) -> Tensor:
    """(K, D) float32 features of norm 1, on the CPU; what exceeds the context is cut off."""
    encoder.to(device)
    starts = range(0, len(texts), batch_size)
    features = [
        encoder.encode_text(
            tokenize(texts[start : start + batch_size], encoder.num_pos).to(device), normalize=True
        ).cpu()
        for start in track(starts, 'encoding texts', console=Console(stderr=True))
    ]
    return torch.cat(features)


if __name__ == '__main__':
    main()

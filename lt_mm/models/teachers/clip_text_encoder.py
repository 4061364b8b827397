"""mmsegmentation's CLIP text encoder with the weights and the sizes of a checkpoint."""

import os
import re

import torch
from mmengine.registry import MODELS
from mmseg.models.text_encoder import CLIPTextEncoder
from torch import Tensor

from lt_mm.checkpoints import load_weights

# As in every CLIP of OpenAI; no checkpoint says the number of heads.
_HEAD_WIDTH = 64
_TEXT = re.compile(r'(token_embedding|positional_embedding|text_projection|ln_final|transformer)\b')
# From the names of OpenAI, which mmpretrain keeps, to those of mmsegmentation.
_RENAMED = {
    r'^transformer\.resblocks\.': 'transformer.',
    r'^(transformer\.\d+)\.attn\.': r'\1.attentions.0.attn.',
    r'^(transformer\.\d+)\.ln_1\.': r'\1.norms.0.',
    r'^(transformer\.\d+)\.ln_2\.': r'\1.norms.1.',
    r'^(transformer\.\d+)\.mlp\.c_fc\.': r'\1.ffns.0.layers.0.0.',
    r'^(transformer\.\d+)\.mlp\.c_proj\.': r'\1.ffns.0.layers.1.',
}


def load_clip_text_encoder(checkpoint: str | os.PathLike) -> CLIPTextEncoder:
    """Build the encoder for a checkpoint of a CLIP with OpenAI's architecture.

    The names of weights may be those of OpenAI (of mmpretrain, too) or those of mmsegmentation,
    there after the prefix 'text_encoder.'. Weights of the image encoder are passed over.

    Args:
        checkpoint: of tensors only, see :func:`lt_mm.checkpoints.load_weights`.

    Returns:
        The encoder in eval mode, in float32, on the CPU.

    Raises:
        FileNotFoundError: if it is a path to nothing.
        ConnectionError: if it cannot be downloaded.
        ValueError: if the file is no checkpoint, holds code, or holds no such text encoder.
    """
    try:
        weights = _text_weights(load_weights(checkpoint))
    except ValueError as error:
        if 'TorchScript' not in str(error):
            raise
        raise ValueError(
            f'checkpoint {str(checkpoint)!r} is a TorchScript archive, which can run code; where '
            'you trust it, save its weights alone: torch.save(torch.jit.load(PATH, '
            "map_location='cpu').state_dict(), NEW_PATH)."
        ) from error
    try:
        width, output_dims = weights['text_projection'].shape
        layers = {name.split('.')[1] for name in weights if name.startswith('transformer.')}
        encoder = MODELS.build(
            dict(
                type='CLIPTextEncoder',
                _scope_='mmseg',
                vocabulary=[],
                templates=[],
                total_vocab_size=len(weights['token_embedding.weight']),
                context_length=len(weights['positional_embedding']),
                embed_dims=width,
                num_layers=len(layers),
                num_heads=width // _HEAD_WIDTH,
                mlp_ratio=len(weights['transformer.0.ffns.0.layers.0.0.bias']) // width,
                output_dims=output_dims,
                cat_bg=False,
            )
        )
        # A factor of the logits, which features do not have.
        weights['logit_scale'] = encoder.logit_scale
        encoder.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        raise ValueError(
            f'checkpoint {str(checkpoint)!r} holds no text encoder of a CLIP as OpenAI built it '
            f'({type(error).__name__}: {str(error):.200}); give one such as ViT-B/32.'
        ) from error
    return encoder.eval()


def _text_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those of the text encoder, under the names of mmsegmentation."""
    prefix = 'text_encoder.'
    if any(name.startswith(prefix) for name in weights):
        weights = {
            name.removeprefix(prefix): value
            for name, value in weights.items()
            if name.startswith(prefix)
        }
    found = {}
    for name, value in weights.items():
        if _TEXT.match(name):
            for old, new in _RENAMED.items():
                name = re.sub(old, new, name)
            found[name] = value.to(torch.float32)
    return found

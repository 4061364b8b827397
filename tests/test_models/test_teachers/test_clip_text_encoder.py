"""The text encoder of a tiny random CLIP against the architecture written out in float64."""

import pytest
import torch
from mmseg.utils import tokenize
from torch.nn import functional as F

from lt_mm.models.teachers.clip_text_encoder import load_clip_text_encoder

WIDTH, LAYERS, CONTEXT, OUT = 128, 2, 12, 6
TEXTS = ['a photo of a cat.', 'dog', 'a ' * 30]


@pytest.fixture(scope='module')
def weights():
    """Of an OpenAI CLIP, in half precision as OpenAI's are."""
    torch.manual_seed(0)
    blocks = {}
    for i in range(LAYERS):
        for name, shape in (
            ('attn.in_proj_weight', (3 * WIDTH, WIDTH)),
            ('attn.in_proj_bias', (3 * WIDTH,)),
            ('attn.out_proj.weight', (WIDTH, WIDTH)),
            ('attn.out_proj.bias', (WIDTH,)),
            ('ln_1.weight', (WIDTH,)),
            ('ln_1.bias', (WIDTH,)),
            ('ln_2.weight', (WIDTH,)),
            ('ln_2.bias', (WIDTH,)),
            ('mlp.c_fc.weight', (4 * WIDTH, WIDTH)),
            ('mlp.c_fc.bias', (4 * WIDTH,)),
            ('mlp.c_proj.weight', (WIDTH, 4 * WIDTH)),
            ('mlp.c_proj.bias', (WIDTH,)),
        ):
            blocks[f'transformer.resblocks.{i}.{name}'] = 0.1 * torch.randn(shape)
    weights = blocks | {
        'token_embedding.weight': 0.1 * torch.randn(49408, WIDTH),
        'positional_embedding': 0.1 * torch.randn(CONTEXT, WIDTH),
        'ln_final.weight': torch.randn(WIDTH),
        'ln_final.bias': torch.randn(WIDTH),
        'text_projection': torch.randn(WIDTH, OUT),
        'logit_scale': torch.tensor(3.0),
        'visual.proj': torch.randn(2, 2),
        'context_length': torch.tensor(CONTEXT),
    }
    return {name: value.half() for name, value in weights.items()}


def expected(weights, texts):
    """CLIP's text encoder, one text at a time."""
    w = {name: value.double() for name, value in weights.items()}
    rows = []
    for tokens in tokenize(texts, CONTEXT):
        x = w['token_embedding.weight'][tokens] + w['positional_embedding']
        for i in range(LAYERS):
            own = {
                name.split('.', 3)[3]: value
                for name, value in w.items()
                if name.startswith(f'transformer.resblocks.{i}.')
            }
            y = F.layer_norm(x, (WIDTH,), own['ln_1.weight'], own['ln_1.bias'])
            qkv = y @ own['attn.in_proj_weight'].T + own['attn.in_proj_bias']
            q, k, v = qkv.reshape(CONTEXT, 3, WIDTH // 64, 64).permute(1, 2, 0, 3)
            scores = q @ k.transpose(1, 2) / 8
            later = torch.ones(CONTEXT, CONTEXT).triu(1).bool()
            y = scores.masked_fill(later, -torch.inf).softmax(-1) @ v
            y = y.transpose(0, 1).reshape(CONTEXT, WIDTH)
            x = x + y @ own['attn.out_proj.weight'].T + own['attn.out_proj.bias']
            y = F.layer_norm(x, (WIDTH,), own['ln_2.weight'], own['ln_2.bias'])
            y = y @ own['mlp.c_fc.weight'].T + own['mlp.c_fc.bias']
            y = y * torch.sigmoid(1.702 * y)
            x = x + y @ own['mlp.c_proj.weight'].T + own['mlp.c_proj.bias']
        x = F.layer_norm(x, (WIDTH,), w['ln_final.weight'], w['ln_final.bias'])
        rows.append(x[tokens.tolist().index(49407)] @ w['text_projection'])
    return torch.stack(rows)


def encode(path):
    encoder = load_clip_text_encoder(path)
    return encoder.encode_text(tokenize(TEXTS, encoder.num_pos))


def test_names_of_openai(tmp_path, weights):
    torch.save(weights, tmp_path / 'clip.pth')
    features = encode(tmp_path / 'clip.pth')
    assert features.dtype == torch.float32 and not features.requires_grad
    torch.testing.assert_close(features.double(), expected(weights, TEXTS), rtol=1e-4, atol=1e-4)


def test_names_of_mmsegmentation_under_state_dict(tmp_path, weights):
    torch.save(weights, tmp_path / 'openai.pth')
    encoder = load_clip_text_encoder(tmp_path / 'openai.pth')
    state = {f'text_encoder.{name}': value for name, value in encoder.state_dict().items()}
    state |= {
        'image_encoder.ln_final.weight': torch.zeros(3),
        'text_encoder.bg_embed': torch.zeros(1),
    }
    torch.save({'state_dict': state, 'meta': {}}, tmp_path / 'mmseg.pth')
    assert torch.equal(encode(tmp_path / 'mmseg.pth'), encode(tmp_path / 'openai.pth'))


def test_what_is_no_text_encoder(tmp_path, weights):
    path = tmp_path / 'clip.pth'
    for change, told in (
        ({'text_projection': None}, 'text_projection'),
        ({'ln_final.bias': None}, 'ln_final'),
        ({'transformer.resblocks.0.ln_1.bias': torch.zeros(3)}, 'norms.0'),
    ):
        changed = {name: v for name, v in (weights | change).items() if v is not None}
        torch.save(changed, path)
        with pytest.raises(ValueError, match='no text encoder of a CLIP') as caught:
            load_clip_text_encoder(path)
        assert told in str(caught.value)
    with pytest.raises(FileNotFoundError, match='absent.pth'):
        load_clip_text_encoder(tmp_path / 'absent.pth')


@pytest.mark.filterwarnings('ignore')
def test_torchscript_is_not_run_and_the_message_says_how_to_convert_it(tmp_path):
    class Archive(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    torch.jit.trace(Archive(), torch.ones(1)).save(str(tmp_path / 'ViT-B-32.pt'))
    with pytest.raises(ValueError, match='TorchScript archive.*torch.jit.load'):
        load_clip_text_encoder(tmp_path / 'ViT-B-32.pt')

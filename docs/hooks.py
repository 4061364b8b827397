"""What the site does to pages beyond Markdown, at build time: formulas, roles of docstrings."""

import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

_ROLE = re.compile(r':(?:class|func|meth|attr|mod|obj|data|exc):<code>(~?)([^<]*)</code>')
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.S)


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """The first page is the README, whose links start at the repository."""
    if page.file.src_uri != 'index.md':
        return markdown
    text = (Path(__file__).parents[1] / 'README.md').read_text(encoding='utf-8')
    return re.sub(r'\[(\w+)\]\(CONTRIBUTING.md\)', r'\1', text).replace('](docs/', '](')


def on_page_content(html: str, **kwargs: Any) -> str:
    """Formulas as MathML, which browsers show without a script; roles as the name alone."""
    html = _ROLE.sub(_name, html)
    return _FORMULA.sub(_formula, html)


def _name(match: re.Match) -> str:
    short = match[2].rsplit('.', 1)[-1] if match[1] else match[2]
    return f'<code>{short}</code>'


def _formula(match: re.Match) -> str:
    text = match[2].replace('&lt;', '<').replace('&gt;', '>').replace('&amp;', '&')
    return convert(text, display='block' if match[1] == 'div' else 'inline')

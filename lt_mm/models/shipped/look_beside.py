"""The head of an exported config: it makes the modules beside the config importable."""

import sys

if '{{ fileDirname }}' not in sys.path:
    sys.path.append('{{ fileDirname }}')

"""Templates of generated pages: shared parts lie here, a page's own template beside the code that fills it.

Only this module imports Jinja.
"""

from __future__ import annotations

from pathlib import Path

import jinja2

SHARED_TEMPLATES = Path(__file__).parent


def load_template(file: Path) -> jinja2.Template:
    """The template at `file`, which escapes what it is given and refuses to print what it was not given."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([file.parent, SHARED_TEMPLATES]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(file.name)

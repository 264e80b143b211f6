"""One HTML page that needs nothing beside itself: no network, no script, no other file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_hybridse.fileio.lists import atomic_path
from espnet_hybridse.fileio.tables import Table
from espnet_hybridse.report.figures import Figure
from espnet_hybridse.report.utterances import Shown

TEMPLATE = "page.html.j2"


@dataclass(frozen=True)
class Block:
    """A part of a section: a paragraph, a figure, a table or several of them, in this order.

    With `closed` it is folded away under its title.
    """

    title: str = ""
    text: str = ""
    figure: Figure | None = None
    table: Table | None = None
    utterance: Shown | None = None
    items: Sequence[str] = ()
    closed: bool = False


@dataclass(frozen=True)
class Section:
    """A heading of the page and what is under it."""

    key: str
    title: str
    blocks: list[Block]


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Render the template and write the page whole or not at all.

    Raises:
        ValueError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise ValueError(f"{error}; pip install 'espnet_hybridse[recipe]'") from error

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(TEMPLATE).render(title=title, lead=lead, sections=sections)
    with atomic_path(path) as tmp:
        tmp.write_text(text, encoding="utf-8")

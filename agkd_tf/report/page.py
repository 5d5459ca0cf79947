"""One HTML page with all tables and figures, which needs nothing beside itself."""

import base64
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import jinja2
import pandas

from agkd_tf.report.missing import Work
from agkd_tf.report.reading import figures_shown, terms, terms_beside_published
from agkd_tf.report.tables import FilledTable

PAGE = jinja2.Template(
    """
{%- macro table_of(frame) -%}
<div class="table">
<table>
<thead><tr><th></th>{% if frame.index.nlevels == 2 %}<th></th>{% endif -%}
{% for column in frame.columns %}<th scope="col">{{ column }}</th>{% endfor %}</tr></thead>
<tbody>
{%- for line in lines_of(frame) %}
<tr class="{{ line.source }}{{ " first" if line.span }}">
{%- if line.span %}<th scope="rowgroup" rowspan="{{ line.span }}">{{ line.row }}</th>{% endif -%}
{% if line.source %}<th scope="row">{{ line.source }}</th>{% endif -%}
{% for cell in line.cells %}{% set figure, _, range = cell.partition(" (") -%}
<td>{{ figure }}{% if range %} <small>
{%- for part in range.split(", ") -%}
<span>{{ "(" if loop.first }}{{ part }}{{ "," if not loop.last }}</span> {% endfor -%}
</small>{% endif %}</td>{% endfor %}</tr>
{%- endfor %}
</tbody>
</table>
</div>
{%- endmacro %}
{%- macro list_of(terms) -%}
<dl>{% for term, meaning in terms.items() %}<dt>{{ term }}</dt><dd>{{ meaning }}</dd>{% endfor %}</dl>
{%- endmacro %}
{%- macro body_of(table) -%}
{% if remark_of(table) %}<p>{{ remark_of(table) }}</p>{% endif %}
{% if table.measured | length %}
{{ table_of(table.measured) }}
{% endif %}
{% if table.summary %}<p>{{ table.summary }}</p>{% endif %}
{% if table.notes %}<ul class="notes">{% for note in table.notes %}<li>{{ note }}</li>{% endfor %}</ul>{% endif %}
{% if table.left_out() and table.measured | length %}
<details><summary>{{ table.left_out() }}</summary>
{{ table_of(table.unmeasured) }}
</details>
{% elif table.left_out() %}
{{ table_of(table.unmeasured) }}
{% endif %}
{% if table.missing %}
<details><summary>To fill what is empty</summary>
<pre>{{ table.commands(describe) }}</pre>
</details>
{% endif %}
{%- endmacro -%}
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{ title }}</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
  color: #1a1a1a; background: #fff; overflow-wrap: break-word; }
h1 { line-height: 1.2; } h2 { margin: 2.5rem 0 .75rem; line-height: 1.25; } h3 { margin: 2rem 0 .5rem; }
nav ul { list-style: none; padding: 0; margin: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; }
a { color: #0b57a4; }
div.table { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem; text-align: right; vertical-align: top; white-space: nowrap; }
td small { display: block; color: #595959; font-size: 12px; white-space: normal; max-width: 5.5rem; margin-left: auto; }
td span { white-space: nowrap; }
tbody th { text-align: left; font-weight: 400; color: #595959; }
tbody th[rowspan] { font-weight: 600; color: inherit; padding-left: 0; position: sticky; left: 0; background: #fff; }
thead { border-bottom: 2px solid #1a1a1a; }
tr.first { border-top: 1px solid #ccc; } tbody { border-bottom: 1px solid #ccc; }
tr.published td, tr.difference td { color: #595959; } tr.difference td { font-weight: 600; }
ul.notes { color: #595959; font-size: 14px; padding-left: 1.2rem; }
dl { font-size: 14px; color: #444; max-width: 48rem; } dt { font-weight: 600; } dd { margin: 0 0 .5rem 1.2rem; }
details { margin: .6rem 0; } summary { cursor: pointer; color: #0b57a4; } details.table > summary { font-weight: 600; }
details.table > :not(summary) { margin-left: 1rem; }
pre { font-size: 12px; line-height: 1.6; overflow-x: auto; background: #f5f5f5; padding: .7rem; }
div.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr)); gap: 1.5rem; }
figure { margin: 0; min-width: 0; } img { max-width: 100%; } figcaption { color: #595959; font-size: 13px; }
@media (max-width: 40rem) {
  th, td { padding: .3rem .45rem; } tbody th[rowspan] { white-space: normal; max-width: 7rem; min-width: 4.5rem; }
}
</style>
<h1>{{ title }}</h1>
{% if contents | length > 2 %}
<nav aria-label="Contents"><ul>
{% for place, heading in contents.items() %}<li><a href="#{{ place }}">{{ heading }}</a></li>
{% endfor %}</ul></nav>
{% endif %}
{% for table in own %}
<h2 id="{{ place_of(table) }}">{{ table.heading }}</h2>
<p>The share of the test images that each run classifies right, in %.</p>
{{ body_of(table) }}
{% endfor %}
{% if terms %}
<details open><summary>How to read these figures</summary>
{{ list_of(terms) }}
</details>
{% endif %}
{% if figures %}
<h2 id="figures">Figures</h2>
{% for text in figures_shown(figures) %}<p>{{ text }}</p>{% endfor %}
<div class="figures">
{% for name, content in figures.items() %}
<figure><img alt="{{ name }}" src="data:image/png;base64,{{ content }}"><figcaption>{{ name }}</figcaption></figure>
{% endfor %}
</div>
{% endif %}
{% if filled or unfilled %}
<h2 id="published">Beside the published figures</h2>
{{ list_of(terms_beside_published) }}
{% for table in filled %}
<h3 id="{{ place_of(table) }}">{{ heading_of(table) }}</h3>
{{ body_of(table) }}
{% endfor %}
{% if unfilled %}
<h3 id="unfilled">Tables without a run of yours</h3>
{% for table in unfilled %}
<details class="table"><summary>{{ heading_of(table) }}</summary>
{{ body_of(table) }}
</details>
{% endfor %}
{% endif %}
{% endif %}
</html>
""",
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)


class _Line(NamedTuple):
    """A line of a table: its row's title and how many lines the row has, on the first of them; source; cells."""

    row: str
    span: int
    source: str
    cells: list[str]


def html_page(
    title: str,
    tables: Iterable[FilledTable],
    figures: Mapping[str, bytes],
    *,
    describe: Callable[[Work], str] = str,
) -> str:
    """Returns the page as text: the runs' own tables, figures, tables beside published figures, those without a run.

    Published rows and tables that no run has figures for, and what would fill empty cells, open at a click.

    Args:
        title: its heading.
        tables: `FilledTable`s.
        figures: dict of caption -> bytes of a PNG file.
        describe: what the page says of work that fills empty cells, such as the command that does it.
    """
    tables = list(tables)
    own = [table for table in tables if not table.has_published]
    filled = [table for table in tables if table.has_published and len(table.measured)]
    unfilled = [table for table in tables if table.has_published and not len(table.measured)]
    contents = {_place(table): table.name for table in own}
    contents |= {"figures": "Figures"} if figures else {}
    contents |= {_place(table): table.name for table in filled}
    contents |= {"unfilled": "Tables without a run of yours"} if unfilled else {}
    return PAGE.render(
        title=title,
        contents=contents,
        own=own,
        filled=filled,
        unfilled=unfilled,
        figures={name: base64.b64encode(content).decode() for name, content in figures.items()},
        terms=terms(tables),
        terms_beside_published=terms_beside_published(tables),
        figures_shown=figures_shown,
        describe=describe,
        lines_of=_lines,
        place_of=_place,
        heading_of=lambda table: _split(table)[0],
        remark_of=lambda table: _split(table)[1],
    )


def _place(table: FilledTable) -> str:
    """Returns the name of a table's place on the page."""
    return table.name.lower().replace(" ", "-")


def _split(table: FilledTable) -> tuple[str, str]:
    """Returns a table's heading and, of one that ends in parentheses, what they say."""
    heading, _, remark = table.heading.rpartition(" (")
    if not heading or not remark.endswith(")"):
        return table.heading, ""
    return heading, f"{remark[:1].upper()}{remark[1:-1]}."


def _lines(frame: pandas.DataFrame) -> Iterator[_Line]:
    """Yields the lines of a table; those of a row follow each other, its measured figures first."""
    keys = [key if isinstance(key, tuple) else (key, "") for key in frame.index]
    starts = [place for place, (_, source) in enumerate(keys) if source in ("", "measured")]
    spans = {start: after - start for start, after in itertools.pairwise([*starts, len(keys)])}
    for place, ((row, source), cells) in enumerate(zip(keys, frame.to_numpy().tolist(), strict=True)):
        yield _Line(row, spans.get(place, 0), source, cells)

"""One HTML page with all tables and figures, which needs nothing beside itself."""

import base64
from collections.abc import Callable, Iterable, Mapping

import jinja2

from agkd_tf.report.missing import Work
from agkd_tf.report.tables import FilledTable

PAGE = jinja2.Template(
    """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{ title }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222; }
h2 { margin-top: 2.5rem; }
div.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; white-space: nowrap; border: 0; }
tbody th { text-align: left; font-weight: 600; vertical-align: top; }
div.sources tbody th:last-of-type { font-weight: 400; color: #555; }
thead { border-bottom: 2px solid #222; }
tbody tr { border-bottom: 1px solid #ddd; }
ul { color: #555; font-size: 13px; }
code { font-size: 12px; }
figure { margin: 1.5rem 0; } img { max-width: 100%; } figcaption { color: #555; font-size: 13px; }
</style>
<h1>{{ title }}</h1>
<p>Accuracies in %, with 95 % intervals over images (over seeds where there are several).</p>
{% for table in tables %}
<h2>{{ table.heading }}</h2>
<div class="table{{ " sources" if table.frame.index.nlevels == 2 }}">
{{ table.frame.to_html(border=0, justify="right") | safe }}
</div>
{% if table.notes %}<ul>{% for note in table.notes %}<li>{{ note }}</li>{% endfor %}</ul>{% endif %}
{% if table.missing %}<p>To fill what is empty:</p>
<ul>
{%- for line in table.missing %}<li><code>{{ line.row }}: {{ describe(line.work) }}</code></li>{% endfor -%}
</ul>{% endif %}
{% endfor %}
{% if figures %}<h2>Figures</h2>{% endif %}
{% for name, content in figures.items() %}
<figure><img alt="{{ name }}" src="data:image/png;base64,{{ content }}"><figcaption>{{ name }}</figcaption></figure>
{% endfor %}
</html>
""",
    autoescape=True,
)


def html_page(
    title: str,
    tables: Iterable[FilledTable],
    figures: Mapping[str, bytes],
    *,
    describe: Callable[[Work], str] = str,
) -> str:
    """Returns the page as text.

    Args:
        title: its heading.
        tables: `FilledTable`s.
        figures: dict of caption -> bytes of a PNG file.
        describe: what the page says of work that fills empty cells, such as the command that does it.
    """
    pictures = {name: base64.b64encode(content).decode() for name, content in figures.items()}
    return PAGE.render(title=title, tables=tables, figures=pictures, describe=describe)

"""The operator's file: YAML, with errors that name the line and the field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from millpond.errors import MillpondError
from millpond.terms.terms import Terms

# Terms are a few pages; a megabyte is a mistake.
FILE_BYTES_MAX = 262_144
# A wrong value is shown to be recognized, not to be read to its end.
SHOWN_CHARACTERS_MAX = 120


class TermsFileInvalid(MillpondError):
    """{path} can't be published:
    {problems}
    """


def read_terms_file(path: Path) -> Terms:
    """The terms in a YAML file. Raises ``TermsFileInvalid`` with every problem: line, field, value, what it must be."""
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
        if len(raw) > FILE_BYTES_MAX:
            raise TermsFileInvalid(path=path, problems=f"- it has more than {FILE_BYTES_MAX} bytes")
        tree = yaml.compose(raw.decode(), Loader=yaml.SafeLoader)
        value = yaml.safe_load(raw)
    except OSError as error:
        raise TermsFileInvalid(path=path, problems=f"- it can't be opened: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TermsFileInvalid(path=path, problems="- it is not UTF-8 text") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise TermsFileInvalid(path=path, problems=f"- line {line}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise TermsFileInvalid(path=path, problems=f"- it is not YAML: {' '.join(str(error).split())}") from error
    try:
        return Terms.model_validate_json(_json(value))
    except ValidationError as error:
        problems = "\n".join(_problem(tree, details) for details in error.errors(include_url=False))
        raise TermsFileInvalid(path=path, problems=problems) from None


def _json(value: object) -> str:
    # Dates and other YAML notions become their text, and so an error that names the field.
    return json.dumps(value, default=str)


def _problem(tree: yaml.Node | None, details: object) -> str:
    assert isinstance(details, dict)
    location = details["loc"]
    field = ".".join(map(str, location)) or "the whole"
    message = str(details["msg"]).removeprefix("Value error, ")
    shown = repr(details["input"])
    if len(shown) > SHOWN_CHARACTERS_MAX:
        shown = f"{shown[:SHOWN_CHARACTERS_MAX]}…"
    found = "" if details["type"] == "missing" or isinstance(details["input"], dict) else f" is {shown}"
    return f"- line {_line(tree, location)}: {field}{found}: {message}"


def _line(tree: yaml.Node | None, location: Sequence[object]) -> int:
    """The line of the deepest part of ``location`` that the file has, counted from 1."""
    line, node = 1, tree
    for step in location:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(step)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line

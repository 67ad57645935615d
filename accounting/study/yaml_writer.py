"""Writes values as YAML that YAML 1.1 and 1.2 parsers read alike: one key per line, in the order of the mapping."""

from __future__ import annotations

import io
import re

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

from accounting.study.yaml12 import means_text

UNFOLDED = 1 << 30
_OLD_VALUE = re.compile(
    r"(?i:yes|no|on|off|y|n)|[-+]?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?|[-+]?\.[0-9_]+([eE][-+]?[0-9]+)?"
    r"|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?|[-+]?0[bx][0-9a-fA-F_]+|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*|=|<<",
    re.DOTALL,
)
"""Texts that YAML 1.1 would not read as text."""


def write_yaml(value: object, *, folded: bool = True) -> str:
    """Dump nested mappings, lists, texts, numbers, booleans and None; ``folded``: long texts span several lines."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.allow_unicode = True
    yaml.width = 80 if folded else UNFOLDED
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()


class _Representer(SafeRepresenter):
    def ignore_aliases(self, data: object) -> bool:
        """Write out a value that occurs twice both times, without an alias."""
        return True

    def represent_str(self, data: str) -> ScalarNode:
        is_clear = means_text(data) and not _OLD_VALUE.fullmatch(data)
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if is_clear else "'")

    def represent_float(self, data: float) -> ScalarNode:
        node = super().represent_float(data)
        if "e" in node.value and "." not in node.value:
            node.value = node.value.replace("e", ".0e", 1)  # otherwise YAML 1.1 reads it as text
        return node


_Representer.add_representer(str, _Representer.represent_str)
_Representer.add_representer(float, _Representer.represent_float)

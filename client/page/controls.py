"""The controls of the page, made from the schema of the Brief: the same names, the same bounds, the same words."""

from typing import Any

from ...proto.brief import Brief

# Where a slider of a share or of seconds stops between two whole numbers.
STEP = 0.01
# What most people turn; the others are shown on demand.
COMMON = {"look", "prompt", "negative_prompt", "strength", "seed", "confidence", "keyframe_threshold", "hole_limit"}
# A group begins with the field named.
GROUPS = {"look": "What to paint", "steps": "Diffusion", "keyframes": "Keyframes and holes"}
# Names as people read them, where the field's own does not read well.
TITLES = {
    "vae": "VAE",
    "loras": "LoRAs",
    "controls": "ControlNets",
    "clip_skip": "CLIP skip",
    "vary_seed": "vary the seed",
}
KINDS = {"string": "text", "number": "number", "integer": "integer", "boolean": "flag", "array": "list"}


def controls() -> list[dict[str, Any]]:
    """One map a field of the Brief, in order. The choices of `look` are the painter's, and not known here."""
    found, group = [], ""
    for name, schema in Brief.model_json_schema()["properties"].items():
        group = GROUPS.get(name, group)
        found.append(_control(name, schema) | {"group": group, "common": name in COMMON})
    return found


def _control(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    typed = next((each for each in schema.get("anyOf", []) if each.get("type") != "null"), {}) | schema
    kind = "choice" if "enum" in typed or name == "look" else KINDS[typed["type"]]
    bounds = {
        "choices": typed.get("enum"),
        "min": typed.get("minimum"),
        "exclusive_min": typed.get("exclusiveMinimum"),
        "max": typed.get("maximum"),
        "max_length": typed.get("maxLength"),
        "max_items": typed.get("maxItems"),
        "step": {"number": STEP, "integer": 1}.get(kind),
    }
    words = name.removesuffix("_s").replace("_", " ")
    return {
        "name": name,
        "title": TITLES.get(name, words + (", seconds" if name.endswith("_s") else "")),
        "kind": kind,
        "description": schema["description"],
        "default": schema["default"],
        **{key: value for key, value in bounds.items() if value is not None},
    }

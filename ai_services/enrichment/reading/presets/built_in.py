"""The presets that come along, by name: `calls` with our own column names, exports of PBXes, diallers and
contact centres, and two public data sets.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from ai_services.enrichment.reading.presets.aliyun import aliyun_call
from ai_services.enrichment.reading.presets.asterisk import asterisk_leg, freepbx_leg
from ai_services.enrichment.reading.presets.bank_marketing import BankCalls
from ai_services.enrichment.reading.presets.five9 import five9_call
from ai_services.enrichment.reading.presets.fusionpbx import fusionpbx_leg
from ai_services.enrichment.reading.presets.genesys import genesys_call
from ai_services.enrichment.reading.presets.preset import Derive, Preset, parse_preset, read_preset
from ai_services.enrichment.reading.presets.star import star_call
from ai_services.enrichment.reading.presets.tencent import tencent_call
from ai_services.enrichment.reading.presets.threecx import threecx_call
from ai_services.enrichment.reading.presets.twilio import twilio_leg
from shared.errors import Detail, InvalidInput

_FOLDER: Final = Path(__file__).parent
_DERIVATIONS: Final[Mapping[str, Callable[[], Derive]]] = {
    "bank_marketing": BankCalls,
    "star": lambda: star_call,
    "asterisk": lambda: asterisk_leg,
    "freepbx": lambda: freepbx_leg,
    "fusionpbx": lambda: fusionpbx_leg,
    "3cx": lambda: threecx_call,
    "twilio": lambda: twilio_leg,
    "five9": lambda: five9_call,
    "genesys": lambda: genesys_call,
    "aliyun": lambda: aliyun_call,
    "tencent": lambda: tencent_call,
}
# Exports of PBXes, diallers and contact centres.
DIALLERS: Final = (
    *("asterisk", "freepbx", "fusionpbx", "3cx", "vicidial"),
    *("twilio", "five9", "genesys", "aliyun", "tencent"),
)
BUILT_IN: Final = ("calls", "autodialer", "bank_marketing", "star", *DIALLERS)


def load_preset(name_or_path: str) -> Preset:
    """A built-in preset by its name, or a column map by the path of its TOML file."""
    if name_or_path in BUILT_IN:
        text = (_FOLDER / f"{name_or_path}.toml").read_text(encoding="utf-8")
        return parse_preset(name_or_path, text, _DERIVATIONS.get(name_or_path), built_in=True)
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.exists():
        return read_preset(path)
    near = difflib.get_close_matches(name_or_path, BUILT_IN, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    fix = f"{hint}write one of {', '.join(BUILT_IN)}, or the path of a column map (.toml)"
    raise InvalidInput(
        f"There is no preset {name_or_path!r}: {fix}.",
        details=[Detail("preset", f"{name_or_path!r} is not known", fix)],
    )

"""The types of a trace's fields, which are checked when one is read."""

from typing import Annotated

import msgspec

LARGEST = 2**53  # floats represent every integer up to here
Natural = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=LARGEST)]
# One line, no control characters, none that turn the direction of writing or cannot be seen.
_UNPRINTABLE = r"\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
Name = Annotated[str, msgspec.Meta(pattern=f"^[^{_UNPRINTABLE}]*$")]

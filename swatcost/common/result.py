"""The base class of results, which print as their reports without importing them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import pandas


class Result:
    """A result, whose repr is its report.

    `report` names the module of swatcost.report that writes it in every format. Reports import results; a result only
    names its report, which is imported when needed.
    """

    report: ClassVar[str]

    def _reported(self, function: str) -> Any:
        return getattr(import_module(f"swatcost.report.{self.report}"), function)(self)

    def to_dict(self) -> dict[str, Any]:
        """The result as plain data, as printed by `--format json`."""
        data: dict[str, Any] = self._reported("to_dict")
        return data

    def to_frame(self) -> pandas.DataFrame:
        """The result as a pandas DataFrame, in its finest rows."""
        import pandas

        return pandas.DataFrame(self._reported("rows"))

    @property
    def notes(self) -> list[str]:
        """Everything that its report says about its numbers, of which a table shows what may change a decision."""
        return [str(each) for each in import_module(f"swatcost.report.{self.report}").sheet(self).notes]

    def __repr__(self) -> str:
        return str(import_module("swatcost.report").render(self))

    def _repr_html_(self) -> str:
        return str(import_module("swatcost.report.html").to_html(self))

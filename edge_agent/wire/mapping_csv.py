"""How a text of lines becomes a document: headers, fixed widths, and records that belong together.

What is read is done in `ingest.csv_tables`; here is the form alone.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from edge_agent.wire.mapping_part import Part, one_or_more

COLUMNS_MAX = 500
# Every object of a record says its kind under this name.
KIND = "record"

ColumnName = Annotated[str, Field(max_length=100)]
Columns = Annotated[
    tuple[ColumnName, ...], BeforeValidator(one_or_more), Field(max_length=COLUMNS_MAX)
]
Widths = Annotated[
    tuple[Annotated[int, Field(ge=1, le=10_000)], ...], Field(max_length=COLUMNS_MAX)
]


class Record(Part):
    """One kind of line, told by its first column.

    Attributes:
        columns: Names of what follows the kind.
        under: The kind of line that this one belongs to, the last one before it; none: it begins
            something new.
        widths: Characters of each column, the kind's first, where no delimiter parts them.
    """

    columns: Columns = ()
    under: str | None = None
    widths: Annotated[Widths, BeforeValidator(one_or_more)] = ()

    @model_validator(mode="after")
    def _fits(self) -> Record:
        if self.widths and len(self.widths) != len(self.columns) + 1:
            msg = "widths has a number for the kind and one for each of the columns"
            raise ValueError(msg)
        return self


class Csv(Part):
    """Lines of text.

    Attributes:
        delimiter: Between columns.
        encoding: Of the text.
        skip: Lines at the top to leave out.
        head: Lines after them that are a table of their own, about the whole.
        head_form: Whether that table is names over values, or a name and its value in each line.
        header: Header lines over the columns.
        columns: Names of the columns, where no header line has them.
        widths: Characters of each column, where no delimiter parts them.
        records: Kinds of lines, where they differ.
    """

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    encoding: Literal["utf-8", "utf-16", "cp1252", "latin-1", "cp850"] = "utf-8"
    skip: Annotated[int, Field(ge=0, le=100)] = 0
    head: Annotated[int, Field(ge=0, le=100)] = 0
    head_form: Literal["table", "pairs"] = "table"
    header: Annotated[int, Field(ge=1, le=5)] = 1
    columns: Columns = ()
    widths: Annotated[Widths, BeforeValidator(one_or_more)] = ()
    records: dict[str, Record] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_layout(self) -> Csv:
        said = self.model_fields_set
        if self.records and said & {"head", "header", "columns", "widths"}:
            msg = "records have columns and widths of their own, and no header lines"
            raise ValueError(msg)
        if self.columns and "header" in said:
            msg = "columns name what has no header line; use skip to leave one out"
            raise ValueError(msg)
        if self.columns and self.widths and len(self.columns) != len(self.widths):
            msg = "widths has one number for each of the columns"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _records_fit(self) -> Csv:
        kinds = self.records
        if len({bool(each.widths) for each in kinds.values()}) > 1:
            msg = "all records have widths, or none has"
            raise ValueError(msg)
        for kind, record in kinds.items():
            if record.under is not None and record.under not in kinds:
                msg = f"{kind} is under {record.under}, which is no record"
                raise ValueError(msg)
            if _goes_round(kind, kinds):
                msg = f"{kind} is under itself"
                raise ValueError(msg)
            taken = {KIND, *(name for name, each in kinds.items() if each.under == kind)}
            if taken & set(record.columns):
                msg = f"a column of {kind} is called like a record under it, or {KIND}"
                raise ValueError(msg)
        return self


def _goes_round(kind: str, kinds: dict[str, Record]) -> bool:
    above = kinds[kind].under
    for _ in kinds:
        if above is None or above not in kinds:
            return False
        above = kinds[above].under
    return above is not None


PLAIN_CSV = Csv()

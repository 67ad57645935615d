"""Numbers of Arrow columns as numpy arrays, without pandas: Arrow's own ``to_numpy`` imports it, which takes a while."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


def array_of(column: pa.ChunkedArray | pa.Array) -> NDArray[np.float64]:
    """A column of numbers or truth values as an array of its own type; null becomes NaN, in floats only.

    Raises:
        ValueError: there are nulls, and the column is not of floats.

    """
    import numpy as np

    chunks = column.chunks if hasattr(column, "chunks") else [column]
    if len(chunks) == 1:
        return _of_chunk(chunks[0])
    whole: NDArray[np.float64] = np.concatenate([_of_chunk(chunk) for chunk in chunks]) if chunks else np.empty(0)
    return whole


def _of_chunk(chunk: pa.Array) -> NDArray[np.float64]:
    import numpy as np

    valid, values = chunk.buffers()
    places = slice(chunk.offset, chunk.offset + len(chunk))
    if values is None:
        return np.empty(0)
    kind = str(chunk.type)
    found: NDArray[np.float64]
    if kind == "bool":
        found = _bits(values, places).astype(np.bool_)
    else:
        found = np.frombuffer(values, dtype=np.dtype(kind.replace("double", "float64")))[places]
    if chunk.null_count:
        if kind != "double":
            raise ValueError(f"a column of {kind} has nulls")
        found = np.where(_bits(valid, places), found, np.nan)
    return found


def _bits(buffer: pa.Buffer, places: slice) -> NDArray[np.uint8]:
    """One bit of each value; the lowest of a byte comes first."""
    import numpy as np

    whole: NDArray[np.uint8] = np.unpackbits(
        np.frombuffer(buffer, dtype=np.uint8), bitorder="little", count=places.stop
    )
    return whole[places]

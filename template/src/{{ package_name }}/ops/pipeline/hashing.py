"""A hash of rows that is the same on every machine, in every version, for ever.

The hashes of data engines change with their releases; a split built on one would shuffle itself
after an upgrade. This one is written down here, and a test holds it to constants:

- A value becomes 64 bits: a whole number, a date (days since 1970) or a time (microseconds
  since 1970) its two's complement; a boolean 0 or 1; a float its IEEE 754 bits as float64,
  with -0.0 as 0.0; a text the digest below; a missing value (NaN too) `MISSING`.
- `mix` is the finaliser of splitmix64, which turns any change of a bit into a change of about
  half of all bits.
- A text is taken as its UTF-8 bytes, padded with zeros to whole words of eight, little-endian:
  `state = mix(length)`, then `state = mix(state ^ word)` for each word.
- An array is `state = mix(length)`, then `state = mix(state ^ value)` for each item.
- A row is `mix` of the sum (modulo 2^64) over its columns of `mix(value ^ digest of the name)`:
  the order of the columns, like the order of the rows, makes no difference.

Arrays are of shape (rows,) throughout.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

Keys = NDArray[np.uint64]

MISSING = np.uint64(0x9E37_79B9_7F4A_7C15)
WORD = 8


def row_keys(rows: pl.LazyFrame, names: Sequence[str]) -> Keys:
    """Hash every row over its columns `names`; eight bytes per row are held in memory."""
    keys = pl.struct(names).map_batches(
        lambda batch: pl.Series(_keys(batch.struct.unnest())),
        return_dtype=pl.UInt64,
        is_elementwise=True,
    )
    return rows.select(keys).collect(engine="streaming").to_series().to_numpy()


def mix(values: Keys) -> Keys:
    """Spread every bit over the whole word: the finaliser of splitmix64."""
    mixed = values ^ (values >> np.uint64(30))
    mixed *= np.uint64(0xBF58_476D_1CE4_E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D0_49BB_1331_11EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def digest(texts: pl.Series) -> Keys:
    """Hash texts, none of them missing."""
    lengths = texts.str.len_bytes().to_numpy().astype(np.int64)
    joined = texts.str.join("").item().encode()
    # Every position of the text, read as the word that starts there.
    words = np.ndarray(len(joined) + 1, np.dtype("<u8"), joined + bytes(WORD), strides=(1,))
    starts = np.cumsum(lengths) - lengths
    state = mix(lengths.astype(np.uint64))
    active = np.flatnonzero(lengths)
    for offset in range(0, int(lengths.max(initial=0)), WORD):
        active = active[lengths[active] > offset]
        beyond = np.maximum(WORD - (lengths[active] - offset), 0).astype(np.uint64)
        kept = np.uint64(2**64 - 1) >> (beyond * np.uint64(8))
        state[active] = mix(state[active] ^ (words[starts[active] + offset] & kept))
    return state


def _keys(frame: pl.DataFrame) -> Keys:
    total = np.zeros(frame.height, np.uint64)
    for column in frame.iter_columns():
        total += mix(_bits(column) ^ digest(pl.Series([column.name])))
    return mix(total)


def _bits(values: pl.Series) -> Keys:
    """The 64 bits of every value of a column."""
    dtype = values.dtype
    if isinstance(dtype, pl.Array):
        return _bits(values.arr.to_list())
    if dtype == pl.List:
        lengths = values.list.len().fill_null(0).to_numpy().astype(np.int64)
        items = _bits(values.drop_nulls().explode(empty_as_null=False))
        starts, bits = np.cumsum(lengths) - lengths, mix(lengths.astype(np.uint64))
        for place in range(lengths.max(initial=0)):
            longer = np.flatnonzero(lengths > place)
            bits[longer] = mix(bits[longer] ^ items[starts[longer] + place])
        return np.where(values.is_null().to_numpy(), MISSING, bits)
    if dtype in (pl.String, pl.Enum):
        bits = np.full(len(values), MISSING)
        bits[values.is_not_null().to_numpy()] = digest(values.drop_nulls().cast(pl.String))
        return bits
    if dtype.is_float():
        values = values.cast(pl.Float64).fill_nan(None)
        bits = (values.fill_null(0.0).to_numpy() + 0.0).view(np.uint64)  # -0.0 + 0.0 is 0.0
    else:
        moments = values.cast(pl.Datetime("us")) if dtype == pl.Datetime else values
        whole = moments if dtype == pl.UInt64 else moments.to_physical().cast(pl.Int64)
        bits = whole.fill_null(0).to_numpy().view(np.uint64)
    return np.where(values.is_null().to_numpy(), MISSING, bits) if values.null_count() else bits

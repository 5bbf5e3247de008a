"""Readers of data set files, a format a file: `read(card, paths) -> list[Series]`, found in the registry by name.

from tsfm import registry
series = registry.get(card.reader, kind="reader")(card, paths)
"""

from tsfm.data.formats import parquet_set as parquet_set

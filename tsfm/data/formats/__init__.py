"""Readers of data set files, a format a file: `read(card, paths) -> list[Series]`, found in the registry by name.

from tsfm import registry
series = registry.get(card.reader, kind="reader")(card, paths)
"""

from tsfm.data.formats import fev as fev
from tsfm.data.formats import gluonts_repository as gluonts_repository
from tsfm.data.formats import m4 as m4
from tsfm.data.formats import parquet_set as parquet_set
from tsfm.data.formats import tables as tables
from tsfm.data.formats import tsf as tsf

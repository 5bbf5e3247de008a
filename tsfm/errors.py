"""The errors of the package: every one derives from `TsfmError` and names the series, the value and the remedy."""


class TsfmError(Exception):
    """Base of every error that tsfm raises on purpose."""


class DataError(TsfmError, ValueError):
    """The data given cannot be forecast as they stand; the message names the series, the value and the remedy."""


class UnknownName(TsfmError, KeyError):
    """A model, data set or option that does not exist; the message lists what does."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class MissingDependency(TsfmError, ImportError):
    """An optional package is needed; the message gives the pip command."""

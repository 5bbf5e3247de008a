"""Synthetic series for training: a mixture of families with known laws, drawn in batches by torch alone.

    from tsfm.data.synthetic import sample
    batch = sample(512, 2048, seed=1)      # batch.values, batch.observed (512, 2048), batch.family, batch.period (512,)

Every family is vectorised over its rows, without a loop over series, and runs unchanged on a GPU (`device="cuda"`).
"""

from tsfm.data.synthetic.mix import EXTRAS, FAMILIES, Family, Samples, only, sample

__all__ = ["EXTRAS", "FAMILIES", "Family", "Samples", "only", "sample"]

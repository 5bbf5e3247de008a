"""The RealTS family: drawn by name alone, in the published shares, and no change to any mix that does not name it."""

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tsfm.cli.app import app
from tsfm.data.synthetic import EXTRAS, FAMILIES, only, realts, sample
from tsfm.data.synthetic.draws import Draws
from tsfm.data.windows import TrainingWindows, WindowConfig
from tsfm.errors import UnknownName

REALTS = len(FAMILIES)  # its number in a batch


def spectrum(values: torch.Tensor) -> torch.Tensor:
    return torch.fft.rfft(values - values.mean(1, keepdim=True)).abs()


@pytest.mark.parametrize("length", [16, 64, 1000])
@pytest.mark.parametrize("law", [make for _, make in realts.LAWS], ids=lambda make: make.__name__)
def test_every_law_gives_finite_series_that_change(law, length):
    drawn = law(Draws(1), 24, length)
    assert drawn.values.shape == (24, length) and drawn.values.isfinite().all()
    assert (drawn.values.amax(1) > drawn.values.amin(1)).all()
    assert drawn.period.shape == (24,) and (drawn.period >= 0).all()


def test_the_shares_of_the_laws_are_the_published_ones():
    assert [share for share, _ in realts.LAWS] == [0.08] * 5 + [0.3] * 2


def test_a_mix_that_does_not_name_it_has_none_of_it():
    assert set(EXTRAS) == {"realts"} and not set(EXTRAS) & set(FAMILIES)
    assert (sample(2000, 32, 0, transforms=False).family < REALTS).all()


def test_the_stream_of_a_mix_that_does_not_name_it_is_as_if_it_did_not_exist():
    """Which family each row is of comes first from the generator, from the weights of the default families alone."""
    weights = torch.tensor([each.weight for each in FAMILIES.values()])
    for count in (1, 7, 200):
        wanted = Draws(count).pick(weights, count)
        found = sample(count, 256, count, transforms=False).family
        kept = found != list(FAMILIES).index("spectral")  # the gate may have put others there
        assert torch.equal(found[kept], wanted[kept])


def test_it_is_drawn_alone_or_beside_the_others():
    assert (sample(64, 256, 2, families=only("realts"), transforms=False).family == REALTS).all()
    both = sample(4000, 32, 2, families={"realts": 1.04}, transforms=False).family
    assert abs(float((both == REALTS).float().mean()) - 0.5) < 0.04


def test_a_series_is_a_function_of_its_seed():
    first, second = (sample(16, 256, 5, families=only("realts")) for _ in range(2))
    assert torch.equal(first.values, second.values)
    assert not torch.equal(first.values, sample(16, 256, 6, families=only("realts")).values)


def test_half_of_the_series_run_backwards(monkeypatch):
    monkeypatch.setattr(realts, "LAWS", ((1.0, rising),))
    values = realts.realts(Draws(0), 2000, 32).values
    assert abs(float((values[:, -1] > values[:, 0]).float().mean()) - 0.5) < 0.05


def rising(draws: Draws, rows: int, length: int) -> realts.Drawn:
    return realts.Drawn(torch.arange(float(length)).repeat(rows, 1), torch.zeros(rows))


def test_smooth_spectra_fall_with_the_frequency_and_peaked_ones_stand_out_at_their_season():
    smooth = spectrum(realts.smooth_spectrum(Draws(0), 200, 1024).values)
    assert (smooth[:, 1:20].mean(1) > smooth[:, 300:].mean(1)).all()
    drawn = realts.peaked_spectrum(Draws(0), 200, 1024)
    magnitude, place = spectrum(drawn.values), (1024 / drawn.period).round().long()
    near = torch.stack([magnitude.gather(1, (place + off).clamp(0, 512)[:, None])[:, 0] for off in (-2, -1, 0, 1, 2)])
    assert float((near.amax(0) > 2 * magnitude[:, 1:].mean(1)).float().mean()) > 0.8


def test_growth_levels_off_where_it_began_and_ends():
    values = realts.logistic_growth(Draws(0), 500, 512).values
    steepest = values.unfold(1, 64, 32).diff(dim=-1).mean(-1).argmax(1)
    assert len(set(steepest.tolist())) > 5


def test_training_windows_take_it_by_name():
    config = WindowConfig(patch=16, contexts=(64,), context_shares=(1.0,), tokens=64, families=only("realts"))
    values, observed = TrainingWindows(config, None, 0).draw(0)
    assert values.isfinite().all() and observed.any()
    default = WindowConfig(patch=16, contexts=(64,), context_shares=(1.0,), tokens=64)
    assert not torch.equal(values, TrainingWindows(default, None, 0).draw(0)[0])


def test_a_page_of_it_is_drawn_from_the_command_line(tmp_path: Path):
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.png"
    made = CliRunner().invoke(app, ["synth", "--families", "realts", "--plot", str(page)])
    assert made.exit_code == 0, made.output
    height = int.from_bytes(page.read_bytes()[20:24], "big")
    assert height == int(1.25 * 90)  # one row of axes


def test_a_family_that_does_not_exist_is_named_with_those_that_do(tmp_path: Path):
    pytest.importorskip("matplotlib")
    made = CliRunner().invoke(app, ["synth", "--families", "realtz", "--plot", str(tmp_path / "page.png")])
    assert isinstance(made.exception, UnknownName) and "realts" in str(made.exception)

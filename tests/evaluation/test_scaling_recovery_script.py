"""`evaluation/scaling_recovery.py` keeps a row a study, and makes none that is there."""

from tsfm.evaluation.results import read_csv


def run(module, monkeypatch, *options):
    monkeypatch.setattr("sys.argv", ["scaling_recovery.py", *map(str, options)])
    assert module.main() == 0


def test_a_study_has_a_row_that_a_later_run_leaves_alone(script, tmp_path, monkeypatch, capsys):
    module, out = script("scaling_recovery"), tmp_path / "rows.csv"
    few = ("--shared", 1, "--single", 1, "--out", out)
    run(module, monkeypatch, "--studies", 1, *few)
    first = read_csv(out)
    assert [(row["law"], row["milestone"], row["crossed"], row["study"]) for row in first] == [
        ("joint", "0", "0", "0"),
        ("joint", "0.5", "1", "0"),
        ("joint", "0.5", "0", "0"),
        ("joint", "0", "1", "0"),
        ("power of active", "0", "0", "0"),
        ("power of points", "0", "0", "0"),
    ]
    run(module, monkeypatch, "--studies", 2, *few)
    rows = read_csv(out)
    assert rows[:-1] == first
    assert (rows[-1]["law"], rows[-1]["study"]) == ("joint", "1")
    said = capsys.readouterr().out
    assert "joint, b: " in said
    assert "joint, 50 % of noise common to a milestone, milestones crossed, b: " in said
    for row in rows:
        inside = float(row["a_low"]) <= float(row["a_true"]) <= float(row["a_high"])
        assert row["a_inside"] == str(int(inside))
        assert row["commit"] and row["hardware"] and "scipy" in row["versions"]

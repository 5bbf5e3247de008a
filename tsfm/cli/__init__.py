"""The command `tsfm`: forecast, check, models, doctor, synth. Importing this loads neither typer nor torch."""


def main() -> None:
    """Run the command line and leave with its exit code: 0 done, 2 something to correct."""
    from tsfm.cli.app import run

    run()

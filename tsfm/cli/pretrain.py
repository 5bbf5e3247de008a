"""`tsfm pretrain`: train a forecaster from nothing, or go on where a run stopped."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tsfm.training.config import RunConfig

RUNS = Path("~/.cache/tsfm/train")
MODEL, PRESET = "moe-decoder", "tiny"


def pretrain(
    run: Annotated[
        str | None,
        typer.Option(help="Name of the run, whose folder holds all that a restart needs; else that of its model."),
    ] = None,
    model: Annotated[str | None, typer.Option(help=f"Architecture: {MODEL}, or another that can be trained.")] = None,
    preset: Annotated[str | None, typer.Option(help=f"Size of the model, {PRESET} for a new run.")] = None,
    data: Annotated[
        str, typer.Option(help="Comma-separated: 'synthetic', and folders of parquet sets that may be trained on.")
    ] = "synthetic",
    hours: Annotated[float, typer.Option(help="Training time, turned into steps after a minute of measuring.")] = 0.0,
    steps: Annotated[int, typer.Option(help="Steps instead of hours.")] = 0,
    tokens: Annotated[int | None, typer.Option(help="Tokens of a step of a new run, 8,192 if not given.")] = None,
    decay: Annotated[
        float | None, typer.Option(help="Share of the steps over which the rate falls to zero: 0.2, of a branch all.")
    ] = None,
    rate: Annotated[
        float, typer.Option(help="Peak rates of a new run, times the usual; of a branch, its run's.")
    ] = 1.0,
    real: Annotated[
        float | None, typer.Option(help="Share of windows cut from real series, of a new run (0.4) or a branch.")
    ] = None,
    branch: Annotated[str, typer.Option(help="Begin from the state of another run, and take --steps more.")] = "",
    restore: Annotated[Path | None, typer.Option(help="Begin from a backup in the repository.")] = None,
    backup: Annotated[Path | None, typer.Option(help="Afterwards write a backup that a repository can carry.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same run.")] = 0,
    threads: Annotated[int, typer.Option(help="Part of the run: sums depend on it.")] = 1,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu or cuda, of a new or restored run; else cpu, or as it was begun.")
    ] = None,
    compiled: Annotated[bool, typer.Option(help="Compile the training step; needs a C++ compiler.")] = True,
    out: Annotated[Path | None, typer.Option(help="Also write the trained model into this folder, in int8.")] = None,
    folder: Annotated[Path, typer.Option(help="Where runs live.")] = RUNS,
) -> None:
    """Pretrain a forecaster; the same command again goes on where the run stopped."""
    from tsfm.training.config import read_config
    from tsfm.training.runs import back_up, open_run, start_branch, write_model
    from tsfm.training.runs import restore as restore_run

    home = folder.expanduser()
    place = home / (run or run_name(model or MODEL, preset or PRESET))
    origins = [place, *([home / branch] if branch else []), *([restore] if restore else [])]
    standing = next((one for one in origins if (one / "run.json").exists()), None)
    if standing is None:
        config = with_tokens(begun(model or MODEL, preset or PRESET), tokens).with_real(real)
    else:
        config = read_config(standing)
        check_asked(standing, config, model, preset, tokens)
    config = on_device(config, device, None if standing == restore else standing)
    sources = tuple(data.split(","))
    config = replace(config, data=sources, withhold=True, seed=seed, threads=threads, compiled=compiled)
    config = replace(config, decay_share=0.2 if decay is None else decay).with_steps(steps).at_rate(rate)
    if branch:
        start_branch(home / branch, place, steps, 1.0 if decay is None else decay, rate, real)
    if restore is not None:
        restore_run(restore, place, sources, config.device)
    trainer = open_run(place, config)
    done = trainer.run(hours=hours or None, report=typer.echo)
    typer.echo(f"step {trainer.step}, {'done' if done else 'stopped; the same command goes on'}: {place}")
    if backup is not None:
        back_up(place, backup)
    if out is not None and done:
        write_model(trainer.model, out, place)
        typer.echo(f"model {out}")


def run_name(model: str, preset: str) -> str:
    """The name of a run that was given none: its size, after its architecture where that is not the usual one."""
    return preset if model == MODEL else f"{model}-{preset}"


def with_tokens(config: "RunConfig", tokens: int | None) -> "RunConfig":
    """The settings with steps of so many tokens, each full of windows whatever their length."""
    from tsfm.errors import DataError

    if tokens is None:
        return config
    longest = max(config.windows.contexts) // config.windows.patch
    if tokens < longest or tokens % longest:
        raise DataError(f"--tokens {tokens} are no whole windows of {longest} tokens; give a multiple of {longest}")
    return replace(config, windows=replace(config.windows, tokens=tokens))


def on_device(config: "RunConfig", asked: str | None, standing: Path | None) -> "RunConfig":
    """The settings with the device asked for, None as they are; a run that stands stays where it was begun."""
    from tsfm.errors import DataError
    from tsfm.kernels import choose_device

    if asked is None:
        return config
    wanted = str(choose_device(asked))
    if standing is not None and wanted != config.device:
        raise DataError(f"{standing} was begun on {config.device}, not on {wanted}; move it by --backup and --restore")
    return replace(config, device=wanted)


def check_asked(
    run: Path, config: "RunConfig", model: str | None, preset: str | None, tokens: int | None = None
) -> None:
    """Refuse to go on with a run of another model or step than was asked for; None asks for none."""
    from tsfm.errors import DataError

    remedy = f"give the new run a name of its own, or go on with this one by --run {run.name} alone"
    if model not in (None, config.architecture):
        raise DataError(f"{run} holds a run of {config.architecture}, not of --model {model}; {remedy}")
    if tokens not in (None, config.windows.tokens):
        raise DataError(
            f"{run} holds a run of {config.windows.tokens} tokens a step, not of --tokens {tokens}; {remedy}"
        )
    if preset is not None and begun(config.architecture, preset).model != config.model:
        raise DataError(
            f"{run} holds a run of a {config.architecture} of another size than --preset {preset}; {remedy}"
        )


def begun(model: str, preset: str) -> "RunConfig":
    """The settings that a run of an architecture in a size begins with: its own where it has some."""
    import sys

    import tsfm.models  # noqa: F401  fills the registry
    from tsfm import registry
    from tsfm.errors import DataError
    from tsfm.training.config import RunConfig, learns_from_patches

    entries = {name: registry.get(name) for name in registry.names()}
    trainable = [name for name, entry in entries.items() if learns_from_patches(entry) or hasattr(entry, "window_loss")]
    if model not in trainable:
        raise DataError(f"--model {model} cannot be pretrained here; there are {', '.join(trainable)}")
    entry = registry.get(model)
    presets = sys.modules[entry.__module__].PRESETS
    if preset not in presets:
        raise DataError(f"--preset {preset} is not known; presets are {', '.join(presets)}")
    config = RunConfig(presets[preset], architecture=model)
    if not hasattr(entry, "run_settings"):
        return config
    own = entry.run_settings(presets[preset])
    return replace(config, windows=replace(config.windows, **own.pop("windows", {})), **own)

"""Run a study: every run is a trunk at a constant rate, and at every milestone a branch that decays and is measured.

At milestone m the trunk has read 0.8 m points; the branch decays over the other 0.2 m and leaves one row, and the trunk
goes on from where it branched (Haegele et al. 2024). So one run gives a decayed model at every milestone for little
more than the price of the last. Trunk and branch are folders of the trainer's, who saves them every few minutes and
resumes them bit for bit; a row is handed out before its branch is deleted. A kill at any moment costs minutes.
The weights of every row are kept, so that a question asked later needs no training.

Several processes may run one study: each run is trained by one of them. A run that fails is reported, and those after
it are run. The reference model is the weights of a run's last row; where they are not on this disk, it is run again.
"""

import json
import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from tsfm.errors import DataError, TsfmError
from tsfm.models.moe_decoder import MoEDecoder, MoEDecoderConfig
from tsfm.scaling.corpus import Corpus, CorpusWindows, make_corpus
from tsfm.scaling.difficulty import Reference, asks_reference, kept_windows
from tsfm.scaling.learner import Learner
from tsfm.scaling.measure import Exam, losses_of
from tsfm.scaling.plan import Plan, Study, counted, flops_a_point, read_study
from tsfm.training.checkpoint import load_state, save_state
from tsfm.training.config import as_tuples, read_config
from tsfm.training.runs import progress_of, start_branch

Row = dict[str, Any]
SAVE_EVERY = 240.0  # seconds
RECENT = 0.05  # share of a run's last steps whose mean is its training loss


class Run:
    """One run of a study on a corpus, in a folder."""

    def __init__(
        self,
        plan: Plan,
        corpus: Corpus,
        folder: Path,
        exams: Sequence[Exam] = (),
        reference: Reference | None = None,
        report: Callable[[str], None] = print,
    ):
        self.plan, self.corpus, self.folder, self.exams, self.report = plan, corpus, folder, exams, report
        self.stopped = False
        self.kept = kept_windows(plan, corpus, reference)
        self.config = plan.run_config(corpus.config)
        windows = plan.batch * corpus.config.patch // corpus.config.context
        source = CorpusWindows(corpus, self.kept, windows, plan.seed, plan.shuffled)
        self.learner = Learner(folder / "trunk", self.config, source, plan.kind)

    def rows(self, done: Collection[int] = ()) -> Iterator[Row]:
        """A row at every milestone that is not done; ends early where the process was told to stop."""
        for points in self.plan.milestones:
            if points in done:
                continue
            branch = self.folder / f"branch-{points}"
            self.stopped = not self.train(branch, points)
            if self.stopped:
                return
            yield self.measured(branch, points)
            shutil.rmtree(branch)
        shutil.rmtree(self.folder, ignore_errors=True)

    def train(self, branch: Path, points: int) -> bool:
        """Train the trunk up to the decay of a milestone and the branch to its end; False where told to stop."""
        apart, total = self.plan.steps(points, self.corpus.config.patch)
        if not (branch / "run.json").exists():
            trunk = self.folder / "trunk"
            if steps_done(trunk) > apart:  # its rows are lost: the trunk cannot go back
                shutil.rmtree(trunk)
            if not self.to_the_end(trunk, replace(self.config, steps=apart)):
                return False
            start_branch(trunk, branch, total - apart)
        return self.to_the_end(branch, read_config(branch))

    def to_the_end(self, folder: Path, config: Any) -> bool:
        """Train what a folder holds until the steps of a config are done."""
        self.learner.folder, self.learner.config = folder, config

        def told(line: str) -> None:
            self.report(f"{self.plan.name}/{folder.name}  {line}")

        return self.learner.run(report=told, save_every=SAVE_EVERY)

    @cached_property
    def target_share(self) -> float:
        """Share of the points read that count in the loss."""
        return self.learner.target_share()

    def measured(self, branch: Path, points: int) -> Row:
        """The row of a decayed branch, whose weights the learner holds; see the module `tsfm.scaling.measure`.

        points   steps of windows that were read, again or for the first time
        targets  how many of them counted in the loss, about
        unique   points that were different, no more than were read. Real ones are so only as windows: 13M points of
                 real series feed the 393k real windows of the study, which overlap, so L(D) is fitted on
                 `id_loss_synthetic`
        epochs   points over all points of the pool that the run draws from: below 1 where it read a part of it
        real     share of windows of that pool that are cut from real series
        """
        plan, model, patch = self.plan, self.learner.model.eval(), self.corpus.config.patch
        count = counted(self.config.model)
        steps = plan.steps(points, patch)[1]
        seen = steps * plan.batch * patch
        unique = len(self.kept) * self.corpus.config.context
        losses = [float(line.partition(",")[2]) for line in (branch / "log.csv").read_text().splitlines()[1:]]
        row: Row = {"run": plan.name, **asdict(plan), "milestone": points, "points": seen}
        del row["milestones"], row["compiled"]
        row |= {"targets": round(self.target_share * seen)}
        row |= {"unique": min(unique, seen), "epochs": seen / unique, "real": self.corpus.is_real[self.kept].mean()}
        row |= {"steps": steps, "tokens": steps * plan.batch}
        row |= {"active": count.active, "total": count.total, "ends": count.ends}
        row |= {"flops": flops_a_point(self.config.model) * seen, "seconds": self.learner.seconds}
        row |= {"matrix_rate": self.config.matrix_rate, "other_rate": self.config.other_rate}
        row |= {"train_loss": float(np.mean(losses[-max(1, round(RECENT * len(losses))) :]))}
        row |= {"busiest": self.learner.busiest, **losses_of(model, plan.kind, self.corpus, self.exams)}
        self.learner.model.train()
        return row


def steps_done(run: Path) -> int:
    """Steps of a run's folder, 0 where there is none."""
    return progress_of(run)[0] if (run / "state.safetensors").exists() else 0


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Whether no other process trains the run of this folder, and none will until the block ends.

    The lock is the system's, and gone with the process that held it, however that died.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield True
        return
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, free = os.open(folder, os.O_RDONLY), True
    try:
        with suppress(OSError):  # some network folders cannot lock
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                free = False
        yield free
    finally:
        os.close(descriptor)


def run_study(
    study: Study,
    corpus: Corpus,
    folder: Path,
    exams: Sequence[Exam] = (),
    done: Callable[[], Collection[tuple[str, int]]] = tuple,
    plans: Sequence[Plan] | None = None,
    report: Callable[[str], None] = print,
) -> Iterator[Row]:
    """Rows of the runs of a study, in order, one at each milestone that is not done yet.

    folder  of states; a run's is deleted when its last row is out, and weights/<run>-<milestone>.safetensors are left
    done    gives the runs and milestones that have a row; asked before each run, since others may add some
    plans   of the study that are run, None for all

    Raises `DataError` at the end where runs failed.
    """
    plans, failed, stopped = list(study.plans if plans is None else plans), [], False
    needed = insert_reference(study, plans, folder, done())

    def left(plan: Plan) -> set[int]:
        again = plan.name == needed and not weights_path(folder, plan.name, plan.milestones[-1]).exists()
        return milestones_left(plan, done()) | ({plan.milestones[-1]} if again else set())

    for plan in plans:
        if stopped or not left(plan):
            continue
        with alone(folder / plan.name) as free:
            if not free:
                report(f"run {plan.name}: another process trains it; skipped")
                continue
            milestones = left(plan)
            if not milestones:  # another process ended it in between
                continue
            report(f"run {plan.name}: {len(milestones)} milestones to do")
            try:
                reference = read_reference(study, folder) if asks_reference(plan) else None
                torch.compiler.reset()  # runs compile code of the same name, and after eight of them torch gives up
                run = Run(plan, corpus, folder / plan.name, exams, reference, report)
                for row in run.rows(set(plan.milestones) - milestones):
                    keep_weights(folder, run, row["milestone"])
                    yield row
                stopped = run.stopped
            except Exception as error:
                failed.append(plan.name)
                report(f"run {plan.name} failed: {what_happened(error)}")
    if failed:
        raise DataError(f"runs that failed and lack rows: {', '.join(failed)}; the lines above say why")


def milestones_left(plan: Plan, done: Collection[tuple[str, int]]) -> set[int]:
    """Milestones of a run without a row."""
    return set(plan.milestones) - {points for name, points in done if name == plan.name}


def insert_reference(study: Study, plans: list[Plan], folder: Path, done: Collection[tuple[str, int]]) -> str:
    """Put the run of the reference before the first that waits for it, where its weights are not in `folder`.

    Returns its name; "" where no run waits. Rows of it do not help: they come with the checkout, and weights do not.
    """
    waiting = [place for place, plan in enumerate(plans) if asks_reference(plan) and milestones_left(plan, done)]
    run = study.reference_plan
    if not waiting or run is None or weights_path(folder, run.name, run.milestones[-1]).exists():
        return ""
    if run not in plans[: waiting[0]]:
        plans.insert(waiting[0], run)
    return run.name


def what_happened(error: Exception) -> str:
    """An error in a line; where it was not raised on purpose, with the place."""
    if isinstance(error, TsfmError):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})"


class Kept(NamedTuple):
    """The network of a row."""

    run: str
    milestone: int
    kind: str
    model: MoEDecoder


def weights_path(folder: Path, run: str, milestone: int) -> Path:
    """File of the weights of a row."""
    return folder / "weights" / f"{run}-{milestone}.safetensors"


def keep_weights(folder: Path, run: Run, milestone: int) -> None:
    """Keep the weights that a run has now, and all that is needed to measure them anew."""
    path = weights_path(folder, run.plan.name, milestone)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"run": run.plan.name, "milestone": str(milestone), "kind": run.plan.kind}
    about["model"] = json.dumps(asdict(run.config.model))
    save_state(path, dict(run.learner.model.state_dict()), about)


def read_kept(path: Path) -> Kept:
    """The network that `keep_weights` wrote."""
    tensors, about = load_state(path)
    model = MoEDecoder(MoEDecoderConfig(**as_tuples(json.loads(about["model"]))))
    model.load_state_dict(tensors)
    return Kept(about["run"], int(about["milestone"]), about["kind"], model.eval())


def read_reference(study: Study, folder: Path) -> Reference | None:
    """The small model whose losses say which windows are hard, once its run is over."""
    plan = study.reference_plan
    path = weights_path(folder, plan.name, plan.milestones[-1]) if plan else None
    return Reference(study.reference, read_kept(path).model) if path and path.exists() else None


def measure_again(corpus: Corpus, folder: Path, exams: Sequence[Exam] = ()) -> Iterator[Row]:
    """Run, milestone and losses, as in rows, of all weights that are kept in `folder`, without training."""
    paths = sorted((folder / "weights").glob("*.safetensors"))
    if not paths:
        raise DataError(f"{folder} keeps no weights; run the study first")
    for path in paths:
        kept = read_kept(path)
        losses = losses_of(kept.model, kept.kind, corpus, exams)
        yield {"run": kept.run, "milestone": kept.milestone, **losses}


def run_live(name: str = "quick", report: Callable[[str], None] = lambda line: None) -> list[Row]:
    """Rows of a small study that is run on the spot, on a corpus without real data made for it."""
    study = read_study(name)
    with tempfile.TemporaryDirectory() as scratch:
        corpus = make_corpus(Path(scratch) / "corpus", study.corpus, report=report)
        return list(run_study(study, corpus, Path(scratch) / "runs", report=report))

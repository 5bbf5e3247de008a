"""Run a study: every run is a trunk at a constant rate, and at every milestone a branch that decays and is measured.

At milestone m the trunk has read 0.8 m points; the branch decays over the other 0.2 m and leaves one row, and the trunk
goes on from where it branched (Haegele et al. 2024). So one run gives a decayed model at every milestone for little
more than the price of the last. Trunk and branch are folders of the trainer's, who saves them every few minutes and
resumes them bit for bit; a row is handed out before its branch is deleted. A kill at any moment costs minutes.
The weights of every row are kept, so that a question asked later needs no training.
"""

import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tsfm.models.moe_decoder import MoEDecoder
from tsfm.scaling.corpus import Corpus, CorpusWindows, make_corpus
from tsfm.scaling.difficulty import kept_windows
from tsfm.scaling.learner import Learner
from tsfm.scaling.measure import Exam, in_distribution, out_of_distribution
from tsfm.scaling.plan import Plan, Study, counted, flops_a_point, read_study
from tsfm.training.checkpoint import load_state, save_state
from tsfm.training.runs import progress_of, start_branch
from tsfm.training.trainer import read_config

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
        reference: MoEDecoder | None = None,
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

    def measured(self, branch: Path, points: int) -> Row:
        """The row of a decayed branch, whose weights the learner holds; see the module `tsfm.scaling.measure`."""
        plan, model, patch = self.plan, self.learner.model.eval(), self.corpus.config.patch
        count = counted(self.config.model)
        steps = plan.steps(points, patch)[1]
        seen = steps * plan.batch * patch
        unique = len(self.kept) * self.corpus.config.context
        losses = [float(line.partition(",")[2]) for line in (branch / "log.csv").read_text().splitlines()[1:]]
        means, each = out_of_distribution(model, plan.kind, self.exams) if self.exams else ({}, {})
        row: Row = {"run": plan.name, **asdict(plan), "milestone": points, "points": seen}
        del row["milestones"], row["compiled"]
        row |= {"unique": min(unique, seen), "epochs": seen / unique, "steps": steps, "tokens": steps * plan.batch}
        row |= {"active": count.active, "total": count.total, "ends": count.ends}
        row |= {"flops": flops_a_point(self.config.model) * seen, "seconds": self.learner.seconds}
        row |= {"matrix_rate": self.config.matrix_rate, "other_rate": self.config.other_rate}
        row |= {"train_loss": float(np.mean(losses[-max(1, round(RECENT * len(losses))) :]))}
        row |= {**in_distribution(model, plan.kind, self.corpus), **means, "busiest": self.learner.busiest}
        self.learner.model.train()
        return {**row, "tasks": each}


def steps_done(run: Path) -> int:
    """Steps of a run's folder, 0 where there is none."""
    return progress_of(run)[0] if (run / "state.safetensors").exists() else 0


def run_study(
    study: Study,
    corpus: Corpus,
    folder: Path,
    exams: Sequence[Exam] = (),
    done: Collection[tuple[str, int]] = (),
    plans: Sequence[Plan] | None = None,
    report: Callable[[str], None] = print,
) -> Iterator[Row]:
    """Rows of the runs of a study, in order, one at each milestone that is not done yet.

    folder  of states; a run's is deleted when its last row is out, and weights/<run>-<milestone>.safetensors are left
    done    runs and milestones that have a row
    plans   of the study that are run, None for all
    """
    for plan in study.plans if plans is None else plans:
        milestones = {points for name, points in done if name == plan.name}
        if milestones >= set(plan.milestones):
            continue
        report(f"run {plan.name}: {len(plan.milestones) - len(milestones)} milestones to do")
        torch.compiler.reset()  # each run compiles code of the same name, and after eight of them torch gives up
        run = Run(plan, corpus, folder / plan.name, exams, reference_of(study, corpus), report)
        for row in run.rows(milestones):
            weights = dict(run.learner.model.state_dict())
            (folder / "weights").mkdir(parents=True, exist_ok=True)
            save_state(folder / "weights" / f"{plan.name}-{row['milestone']}.safetensors", weights, {})
            if plan.name == study.reference and row["milestone"] == plan.milestones[-1]:
                save_state(corpus.folder / "reference.safetensors", weights, {})
            yield row
        if run.stopped:
            return


def reference_of(study: Study, corpus: Corpus) -> MoEDecoder | None:
    """The small model whose losses say which windows are hard, once its run is over."""
    path = corpus.folder / "reference.safetensors"
    if not path.exists():
        return None
    plan = next(plan for plan in study.plans if plan.name == study.reference)
    model = MoEDecoder(plan.model(corpus.config.context, corpus.config.patch))
    model.load_state_dict(load_state(path)[0])
    return model.eval()


def run_live(name: str = "quick", report: Callable[[str], None] = lambda line: None) -> list[Row]:
    """Rows of a small study that is run on the spot, on a corpus without real data made for it."""
    study = read_study(name)
    with tempfile.TemporaryDirectory() as scratch:
        corpus = make_corpus(Path(scratch) / "corpus", study.corpus, report=report)
        return list(run_study(study, corpus, Path(scratch) / "runs", report=report))

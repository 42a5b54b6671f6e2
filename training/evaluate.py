"""How well a model, or a person, agrees with people: evaluation.json and evaluation.html.

    python -m training.evaluate --dataset DIR --split test --model-dir MODEL --stored-boxes --out OUT
    python -m training.evaluate --dataset DIR --tune --model-dir MODEL --detector-dir DETECTOR --out OUT
    python -m training.evaluate --predictions output/demo --truth videos           # a run's results on synthetic films
    python -m training.evaluate --predictions OUTPUT --dataset DIR --out OUT       # ... on a data set
    python -m training.evaluate --predictions bouts.csv --dataset DIR --out OUT    # bouts that anything else found
    python -m training.evaluate --raters labels.csv --behavior Grooming --out OUT  # people beside each other
    python -m training.evaluate --raters scores.xlsx --mapping mapping.toml ...    # ... in any table that import reads

With --tune, bout rules and temperature are chosen on the validation videos and written into the model folder and its
card. Results of analysed videos are kept in OUT: a second call goes on where the first stopped.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mousetal import atomic, modelfolder, records
from mousetal import dataset as datasets
from mousetal.dataset import Dataset
from mousetal.errors import SettingsError
from mousetal.formats import supervisely
from training.evaluation import boutfile, document, gather, mistakes, page, ratertable, tuning, tuningcard
from training.evaluation.share import Number
from training.evaluation.tally import TOLERANCE_S, table, tally_results
from training.exitcodes import guarded
from training.importing.mapping import read_mapping

if TYPE_CHECKING:
    from training.evaluation import analysis

TUNING_SPLIT = "validation"
NOT_PLAIN = (".boris", ".xlsx", ".xlsm")  # never a plain table of raters
JSON_NAME, PAGE_NAME = "evaluation.json", "evaluation.html"

log = logging.getLogger(__name__)


def evaluate_model(
    dataset: Dataset,
    split: str,
    model: Path,
    detector: Path | None,
    out: Path,
    rater: str | None = None,
    device: str = "auto",
    precision: str = "fp32",
    boxes: Path | None = None,
) -> dict[str, Any]:
    """Analyse a split's videos, compare with the labels, write both files; gives the content of evaluation.json.

    ``detector`` None takes the boxes stored in the data set; ``boxes`` is a folder of pictures with true boxes to judge
    the detector by. Also what runs by itself after training (`finetune_evaluation`).
    """
    networks = _networks(dataset, model, detector, out, device, precision)
    judge = _judge(boxes, split, networks) if boxes else None  # read first: what is wrong there need not wait for hours
    evaluated = gather.of_dataset(dataset, split, networks.result, networks.facts(split), rater)
    if judge:
        evaluated = judge(evaluated)
    return publish(evaluated, dataset.root, out)


def tune_model(
    dataset: Dataset,
    split: str,
    model: Path,
    detector: Path | None,
    out: Path,
    device: str = "auto",
    precision: str = "fp32",
) -> tuning.Tuning:
    """Choose temperature and bout rules on a split and write them into the model folder, its card too."""
    if split != TUNING_SPLIT:
        raise SettingsError(
            f"--tune chooses on the split {TUNING_SPLIT!r} alone, got --split {split}: what is chosen on test videos "
            "can't be tested on them, and on training videos a model is surer of itself than elsewhere."
        )
    networks = _networks(dataset, model, detector, out, device, precision)
    config = networks.classifier.config
    if modelfolder.locate(model).layout is not modelfolder.Layout.MOUSETAL:
        raise SettingsError(f"{model}: a model folder with a config.json expected, to write the rules into.")
    evaluated = gather.of_dataset(dataset, split, networks.result, networks.facts(split))
    config, chosen = tuning.tune(evaluated.comparisons, config, networks.classifier.spec)
    digest, count = gather.data_digest(dataset, split), len(evaluated.comparisons)
    notes = tuning.provenance(chosen, digest, split, count)
    tuningcard.update(model, tuningcard.section(chosen, split, count, digest))
    modelfolder.write_config(model, replace(config, provenance={**config.provenance, "tuning": notes}))
    for video, reason in evaluated.skipped.items():
        log.warning("skipped video=%s reason=%s", video, reason)
    return chosen


def _networks(
    dataset: Dataset, model: Path, detector: Path | None, out: Path, device: str, precision: str
) -> analysis.Networks:
    from training.evaluation import analysis  # imports torch, which takes seconds and the other uses don't need

    return analysis.Networks(dataset, model, detector, out, device, precision)


def _judge(boxes: Path, split: str, networks: analysis.Networks) -> Callable[[document.Evaluated], document.Evaluated]:
    """What puts the detector's scores on pictures with true boxes into an evaluation."""
    from training.evaluation import boxtruth  # torch, see above

    found = networks.detector
    if found is None:
        raise SettingsError("--boxes judges a detector, and needs --detector-dir.")
    told = boxtruth.read(boxes, split, found.spec)

    def judged(evaluated: document.Evaluated) -> document.Evaluated:
        scores = boxtruth.judge(found, told)
        quality = replace(
            evaluated.detector, labelled_frames=scores.pictures, ap50_95=scores.ap50_95, ap50=scores.ap50,
            recall50=scores.recall50, mean_iou=None, truth=f"pictures of {boxes}, every box that the detector gives",
        ) if evaluated.detector else None  # fmt: skip
        notes = [f"True boxes: {told.report}"] if told.problems else []
        notes += [f"True boxes: {len(scores.lost)} pictures or files lost. {scores.lost[0]}"] if scores.lost else []
        return replace(evaluated, detector=quality, notes=[*evaluated.notes, *notes])

    return judged


def publish(evaluated: document.Evaluated, videos: Path | None, out: Path) -> dict[str, Any]:
    """Write evaluation.json and evaluation.html; gives the content of the former. ``videos`` is where paths start."""
    content = document.build(evaluated)
    probable = [one for one in evaluated.comparisons if one.stored is not None]  # the others know no surest mistake
    worst = mistakes.worst(probable)
    paths = {one.video: videos / one.video for one in evaluated.comparisons} if videos else {}
    strips = mistakes.pictures(worst, evaluated.comparisons, paths)
    atomic.write_json(out / JSON_NAME, content)
    page.write(out / PAGE_NAME, content, evaluated.comparisons, strips, worst)
    return content


def lines(content: dict[str, Any]) -> str:
    """The result in a few lines, for the terminal."""
    rows = [f"{'behavior':24}{'bouts':>7}{'found':>7}{'F1 ±250 ms':>12}{'F1@25':>7}{'frame F1':>10}{'AP':>6}{'CCC':>6}"]
    for name, one in content["behaviors"].items():
        precision = one.get("average_precision", {"value": None})["value"]
        numbers = [one["onsets"]["250 ms"]["f1"]["value"], one["segments"]["25"]["f1"]["value"],
                   one["frames"]["f1"]["value"], precision, one["agreement"]["count"]["ccc"]]  # fmt: skip
        widths = (12, 7, 10, 6, 6)
        rows.append(
            f"{name[:23]:24}{one['support']['bouts']:>7}{one['support']['found_bouts']:>7}"
            + "".join(f"{_shown(value):>{width}}" for value, width in zip(numbers, widths, strict=True))
        )
    return "\n".join([*rows, *(f"note: {text}" for text in content["warnings"])])


def run(arguments: argparse.Namespace) -> int:
    """What the flags ask for."""
    if arguments.raters:
        return _run_raters(arguments)
    is_table = arguments.predictions is not None and _is_table(arguments.predictions)
    if arguments.mapping and not is_table:
        raise SettingsError("--mapping says what the columns of --raters, or of a table given as --predictions, mean.")
    if is_table and arguments.truth:
        raise SettingsError("--truth goes with the output folder of a run; a table of bouts needs --dataset.")
    if arguments.predictions and arguments.truth:
        return _run_films(arguments)
    if not arguments.dataset:
        raise SettingsError("give --dataset, or --predictions with --truth, or --raters; see --help.")
    if not arguments.out:
        raise SettingsError("--out is missing: the folder for results.")
    dataset = datasets.read(arguments.dataset)
    if arguments.predictions:
        return _run_predictions(arguments, dataset)
    if not arguments.model_dir or bool(arguments.detector_dir) == arguments.stored_boxes:
        raise SettingsError("--model-dir is needed, and one of --detector-dir and --stored-boxes (or --predictions).")
    if arguments.boxes and (arguments.stored_boxes or arguments.tune):
        raise SettingsError("--boxes judges a detector: it goes with --detector-dir, and not with --tune.")
    import torch

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    where = (arguments.model_dir, arguments.detector_dir, arguments.out)
    if arguments.tune:
        chosen = tune_model(dataset, arguments.split or TUNING_SPLIT, *where, arguments.device, arguments.precision)
        report_tuning(chosen, arguments.model_dir)
        return 0
    content = evaluate_model(
        dataset, arguments.split or "test", *where, arguments.rater, arguments.device, arguments.precision,
        arguments.boxes,
    )  # fmt: skip
    return report(content, arguments.out)


def _run_films(arguments: argparse.Namespace) -> int:
    print(table(tally_results(arguments.predictions, arguments.truth, arguments.tolerance), arguments.tolerance))
    if not arguments.out:
        return 0
    facts = {
        "title": f"{arguments.predictions} beside {arguments.truth}",
        "lead": "What a run of the driver found in synthetic films, beside what happens in them.",
    }
    content = publish(gather.of_films(arguments.predictions, arguments.truth, facts), arguments.truth, arguments.out)
    return report(content, arguments.out)


def _run_predictions(arguments: argparse.Namespace, dataset: Dataset) -> int:
    split = arguments.split or "test"
    facts = {
        "title": f"{arguments.predictions} on {dataset.root.resolve().name}, {split}",
        "lead": "What a run of the driver found, beside what people saw.",
        "predictions": str(arguments.predictions),
        "split": split,
    }
    if _is_table(arguments.predictions):
        mapping = read_mapping(arguments.mapping) if arguments.mapping else None
        found = boutfile.read(arguments.predictions, mapping, [entry.path for entry in dataset.videos])
        facts |= {"lead": "Bouts of a table, beside what people saw."}
        return report(
            publish(gather.of_bouts(dataset, split, found, facts, arguments.rater), dataset.root, arguments.out),
            arguments.out,
        )
    evaluated = gather.of_dataset(
        dataset, split, lambda entry: records.read_video(arguments.predictions, entry.path), facts, arguments.rater
    )
    return report(publish(evaluated, dataset.root, arguments.out), arguments.out)


def _run_raters(arguments: argparse.Namespace) -> int:
    if not arguments.out:
        raise SettingsError("--out is missing: the folder for results.")
    read = _rater_table(arguments.raters, arguments.mapping, arguments.fps)
    behaviors = tuple(arguments.behavior or read.behaviors)
    if unknown := [name for name in behaviors if name not in read.behaviors]:
        raise SettingsError(f"--behavior: nobody saw {', '.join(unknown)}; there are {', '.join(read.behaviors)}.")
    facts = {
        "title": f"{', '.join(read.raters)} beside each other",
        "lead": f"How far {len(read.raters)} people agree on {len(read.labels)} videos.",
        "labels": str(arguments.raters),
        "frames_per_second": read.fps,
    }
    content = publish(gather.of_raters(read, behaviors, facts), None, arguments.out)
    for pair, by_name in content["raters"]["humans"].items():
        for name, one in by_name.items():
            kappa, f1 = one["beyond_chance"]["kappa"]["value"], one["frames"]["f1"]["value"]
            print(f"{pair:24}{name:20} frame F1 {_shown(f1)}  kappa {_shown(kappa)}  "
                  f"F1 ±250 ms {_shown(one['onsets']['250 ms']['f1']['value'])}")  # fmt: skip
    for name, alpha in content["raters"]["krippendorff_alpha"].items():
        print(f"{'all':24}{name:20} Krippendorff's alpha {_shown(alpha, 3)}")
    print(f"written: {arguments.out / PAGE_NAME}")
    return 0


def _is_table(predictions: Path) -> bool:
    """Whether these are bouts in a file or a Supervisely project, and not the output folder of a run."""
    return not predictions.is_dir() or supervisely.is_project(predictions)


def report_tuning(chosen: tuning.Tuning, model: Path) -> None:
    """Print what was chosen and written into the folder ``model``."""
    for choice in chosen.choices:
        print(choice)
    print(f"{chosen.temperature_told}; written to {model}")


def _rater_table(path: Path, mapping: Path | None, fps: float) -> ratertable.RaterTable:
    if mapping is None and not path.is_dir() and path.suffix.lower() not in NOT_PLAIN:
        return ratertable.read(path, fps)
    return ratertable.read_mapped(path, read_mapping(mapping) if mapping else None, fps)


def report(content: dict[str, Any], out: Path) -> int:
    """Print an evaluation's content; the exit code, 1 when videos were skipped."""
    print(lines(content))
    for video, reason in content["skipped"].items():
        print(f"skipped {video}: {reason}", file=sys.stderr)
    print(f"written: {out / PAGE_NAME}")
    return 1 if content["skipped"] else 0


def _shown(value: Number, digits: int = 2) -> str:
    return "NA" if value is None else f"{value:.{digits}f}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--dataset", type=Path, help="labelled data set")
    add("--split", help="its videos to use: train, validation, test or all (default test; with --tune validation)")
    add("--model-dir", type=Path, help="classifier to evaluate")
    add("--detector-dir", type=Path, help="detector to find the animal with")
    add("--stored-boxes", action="store_true", help="take the boxes that training.preprocess stored in the data set")
    add("--boxes", type=Path, help="folder of pictures with true boxes (COCO, as training.train_detector takes it): AP "
        "and recall of --detector-dir on those of the split, or of none")  # fmt: skip
    add("--rater", help="whose labels are the truth where several people labelled (default: who labelled most videos)")
    add("--predictions", type=Path, help="instead of a model: output folder of a run of the driver, or bouts in a "
        "table, a BORIS or a Supervisely project (with --dataset)")  # fmt: skip
    add("--truth", type=Path, help="input folder of that run, with *.truth.json of synthetic films beside the videos")
    add("--tolerance", type=float, default=TOLERANCE_S, help="seconds between starts of bouts, for --truth's table")
    add("--tune", action="store_true", help="choose bout rules and temperature, and write them into --model-dir")
    add("--raters", type=Path, help="table of bouts by several people: compare them")
    add("--mapping", type=Path, help="what the columns of --raters or --predictions mean, as for "
        "training.import_videos; without it: for --raters columns video, rater, behavior, start_s, end_s, for "
        "--predictions our intervals.csv, for both a BORIS or Supervisely project")  # fmt: skip
    add("--behavior", action="append", help="behaviour to compare with --raters; may be repeated (default: all)")
    add(
        "--fps",
        type=float,
        default=25.0,
        help="frames per second that --raters' times are laid on and its frame numbers count in",
    )
    add("--out", type=Path, help="folder for evaluation.json, evaluation.html and results")
    add("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda or cuda:N")
    add("--precision", default="fp32", help="fp32, bf16 or fp16")
    add("--threads", type=int, help="CPU threads for torch")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return guarded(lambda: run(arguments))


if __name__ == "__main__":
    sys.exit(main())

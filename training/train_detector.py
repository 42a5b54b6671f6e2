"""Trains the animal detector: configuration, data, network, optimiser, schedule, loop, in this order.

    python -m training.train_detector --data work/boxes --out work/detector --export models/my-detector
    python -m training.train_detector --config my.toml --start models/demo-detector --out work/detector
    torchrun --nproc_per_node 4 -m training.train_detector --config my.toml --out work/detector

``--data`` names folders of boxes in COCO's format (`training.autolabel` writes one). The network is RT-DETRv2, the loss
its own, as the transformers library computes it. A run leaves one folder (`training.runfolder`); the same command goes
on with it where it stopped, to the same weights as if it had not. The best weights by AP on validation videos are kept.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import RTDetrV2ForObjectDetection

from mousetal.detector.config import VARIANTS, NetworkConfig
from mousetal.detector.network import build
from mousetal.errors import ModelError, RecordError, SettingsError
from mousetal.execution import Execution
from training import coco, coco_pictures, detectorcard, exitcodes, runfolder, runlock
from training.coco_scores import coco_scores, find_all
from training.detectorfeed import Deck, parts
from training.detectorknobs import HARMLESS, TOO_LARGE, Knobs, check
from training.knobs import add_flags, as_json, read
from training.pictures import Source
from training.runfolder import RunFolder
from training.startweights import start_from
from training.team import Team, join, leave, share_batch_norms
from training.trainlog import TrainLog
from training.weightaverage import Average

log = logging.getLogger(__name__)


# --- network


def network_config(knobs: Knobs, num_classes: int = 1) -> NetworkConfig:
    """The sizes of the network that the knobs ask for, when it does not start from weights."""
    if knobs.variant:
        sizes = replace(VARIANTS[knobs.variant], num_classes=num_classes)
    else:
        sizes = NetworkConfig(
            num_classes=num_classes, depths=(1, 1, 1, 1), stem_width=knobs.width,
            widths=tuple(knobs.width << i for i in range(4)), encoder_dim=knobs.hidden_dim,
            encoder_ffn=2 * knobs.hidden_dim, hidden_dim=knobs.hidden_dim, decoder_ffn=2 * knobs.hidden_dim,
            decoder_layers=knobs.decoder_layers, eval_layer=knobs.decoder_layers - 1, num_heads=4,
            num_queries=knobs.num_queries,
        )  # fmt: skip
    return replace(sizes, freeze_backbone_norms=knobs.norms == "frozen") if knobs.norms else sizes


def make_network(knobs: Knobs, classes: Sequence[str]) -> tuple[RTDetrV2ForObjectDetection, NetworkConfig]:
    """The network at the start of the run, and its sizes. Raises ModelError for an input size that it cannot take."""
    torch.manual_seed(knobs.seed)
    if knobs.start:
        is_frozen = knobs.norms == "frozen" if knobs.norms else None
        network, sizes = start_from(Path(knobs.start), classes, is_frozen)
    else:
        sizes = network_config(knobs, len(classes))
        network = build(sizes)
    for size in {knobs.input_size, *filter(None, knobs.scales)}:
        sizes.check_input_size(size)
    network.config.num_denoising = knobs.num_denoising
    return network, sizes


def loss_of(network: RTDetrV2ForObjectDetection, pixels: Tensor, labels: list[dict[str, Tensor]], execution: Execution,
            ) -> Tensor:  # fmt: skip
    """The library's loss, summed over all its terms: the network in mixed precision, the loss itself in fp32."""
    with execution.autocast():
        out = network.model(pixel_values=pixels, labels=labels)
    logits, boxes = out.intermediate_logits.float(), out.intermediate_reference_points.float()
    loss: Tensor = network.loss_function(
        logits[:, -1], labels, pixels.device, boxes[:, -1], network.config, logits, boxes,
        enc_topk_logits=out.enc_topk_logits.float(), enc_topk_bboxes=out.enc_topk_bboxes.float(),
        denoising_meta_values=out.denoising_meta_values,
    )[0]  # fmt: skip
    return loss


# --- optimiser and schedule


def parameter_groups(network: nn.Module, knobs: Knobs) -> list[dict[str, object]]:
    """Parameters by learning rate (backbone or not) and weight decay (norms and biases have none)."""
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for name, parameter in network.named_parameters():
        factor = knobs.backbone_factor if name.startswith("model.backbone.") else 1.0
        decay = knobs.weight_decay if parameter.ndim > 1 else 0.0
        if parameter.requires_grad:
            groups.setdefault((factor, decay), []).append(parameter)
    return [{"params": found, "weight_decay": decay, "factor": f} for (f, decay), found in groups.items()]


def learning_rate(step: int, knobs: Knobs) -> float:
    """Linear warm-up, then half a cosine down to a hundredth, nothing, or a tenth at every milestone."""
    if step < knobs.warmup:
        return knobs.learning_rate * (step + 1) / knobs.warmup
    done = (step - knobs.warmup) / max(1, knobs.steps - knobs.warmup)
    if knobs.schedule == "cosine":
        return knobs.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
    if knobs.schedule == "multistep":
        return knobs.learning_rate * 0.1 ** sum(step >= share * knobs.steps for share in knobs.milestones)
    return knobs.learning_rate


# --- loop


def train(knobs: Knobs, data: Source, out: Path, validation: Source | None = None, classes: Sequence[str] = ("mouse",),
          team: Team | None = None, folders: Sequence[int] | None = None) -> nn.Module:  # fmt: skip
    """The network with averaged weights after the last step; what was best on ``validation`` is in ``out/best``.

    ``folders`` tells of every picture which of ``knobs.data`` it comes from, for ``knobs.shares``.

    Raises SettingsError when ``out`` is a run with other knobs or data, ModelError when loss or gradients are no
    numbers any more (the last checkpoint is kept), OutputError on a full disk (the same).
    """
    team = team or Team()
    if knobs.epochs:
        knobs = replace(knobs, steps=math.ceil(knobs.epochs * len(data) / knobs.batch))
    check(knobs, team)
    deck = Deck.of(knobs, folders if folders is not None else [0] * len(data))
    execution = Execution.on(str(team.device), knobs.precision, compiled=False)
    network, sizes = make_network(knobs, classes)
    network.to(team.device).train()  # type: ignore[arg-type]
    averaged = copy.deepcopy(network)
    averaged.eval().requires_grad_(False)  # type: ignore[no-untyped-call]  # in transformers
    average = Average(network.state_dict().items(), knobs.ema, knobs.ema_ramp)
    network = share_batch_norms(network, team)
    optimiser = torch.optim.AdamW(parameter_groups(network, knobs), knobs.learning_rate)
    scaler = torch.amp.GradScaler(team.device.type, enabled=knobs.precision == "fp16")
    resumable: dict[str, Any] = {"network": network, "average": average, "optimiser": optimiser, "scaler": scaler}

    folder = RunFolder(out)
    digests = {"data_digest": data.digest, "validation_digest": validation.digest if validation else ""}
    identity = {**as_json(knobs), **digests, "class_list": list(classes)}
    folder.require_same(identity, HARMLESS)
    first, best_ap = 0, -1.0
    if (state := folder.load_file(team.device)) is not None:
        first, best_ap = int(state["step"]), float(state["best_ap"])
        for name, part in resumable.items():
            part.load_state_dict(state[name])

    if team.is_first:
        print(f"computed on {execution}" + (f", in {team.size} processes" if team.size > 1 else ""))
        folder.begin(identity, runfolder.environment(team.device, team.size))

    run = TrainLog(out, first, knobs.steps, knobs.print_every, is_silent=not team.is_first, curve="{name}")
    with contextlib.closing(run):
        batches = parts(knobs, data, team, first, deck) if first < knobs.steps else iter(())
        for step in range(first, knobs.steps):
            rate = learning_rate(step, knobs)
            for group in optimiser.param_groups:
                group["lr"] = rate * group["factor"]
            started = time.monotonic()
            batch = [next(batches) for _ in range(knobs.accumulate)]
            waited = time.monotonic() - started
            # The loss is a mean over boxes: parts are weighed by theirs, so that how a batch is cut changes nothing.
            counts = [sum(len(one["boxes"]) for one in labels) for _, labels in batch]
            boxes = max(1.0, team.total(sum(counts)))
            torch.manual_seed(knobs.seed + 1_000_003 * step + team.rank)  # the denoising queries' noise
            loss = 0.0
            for (pixels, labels), count in zip(batch, counts, strict=True):
                placed = [{name: tensor.to(team.device) for name, tensor in one.items()} for one in labels]
                part_loss = loss_of(network, pixels.to(team.device), placed, execution) * (max(1, count) / boxes)
                scaler.scale(part_loss).backward()  # type: ignore[no-untyped-call]  # in torch
                loss += float(part_loss.detach())
            loss = team.total(loss)
            team.sum_gradients(network.parameters())
            scaler.unscale_(optimiser)
            norm = float(nn.utils.clip_grad_norm_(network.parameters(), knobs.clip_norm))
            if not math.isfinite(loss) or (not math.isfinite(norm) and not scaler.is_enabled()):
                raise ModelError(
                    f"{out}: loss {loss} and gradient {norm} at step {step + 1}; the checkpoint before it is kept. "
                    "Lower learning_rate, set precision to fp32, or look at the data."
                )
            scaler.step(optimiser)
            scaler.update()
            optimiser.zero_grad()
            average.update(network.state_dict().items())
            done = step + 1
            run.step(done, {"loss": loss, "learning_rate": rate, "gradient": norm}, waited)
            is_last = done == knobs.steps
            if team.is_first and validation is not None and (done % knobs.evaluate_every == 0 or is_last):
                averaged.load_state_dict(average.values)
                ap = evaluate(knobs, averaged, sizes, validation, classes, execution, out, run, done, best_ap)
                best_ap = max(best_ap, ap)
            if team.is_first and (done % knobs.save_every == 0 or is_last):
                states = {name: part.state_dict() for name, part in resumable.items()}
                folder.save_file({"step": done, "best_ap": best_ap, **states})
            team.wait()
    averaged.load_state_dict(average.values)
    if team.is_first and best_ap < 0:  # nothing to validate on, or no box there: the last is as good as any
        detectorcard.write(out / runfolder.BEST, averaged, sizes, knobs, classes, detectorcard.FALLBACK_THRESHOLD, {})
    return averaged


def evaluate(knobs: Knobs, network: RTDetrV2ForObjectDetection, sizes: NetworkConfig, validation: Source,
             classes: Sequence[str], execution: Execution, out: Path, run: TrainLog, done: int, best_ap: float,
             ) -> float:  # fmt: skip
    """AP of the averaged network on the validation pictures; kept as the run's best model folder if it is."""
    found = find_all(network, validation, knobs.input_size, sizes.eval_layer, max(1, knobs.batch), execution)
    scores = coco_scores(found, classes)
    run.event(done, "validation", scores)
    ap = -1.0 if scores["AP"] is None else scores["AP"]
    if ap > best_ap:
        detectorcard.keep_best(out, network, sizes, knobs, classes, found, {"step": done, **scores})
    run.say(f"validation at step {done}: " + "  ".join(f"{name} {detectorcard.shown(v)}" for name, v in scores.items()))
    return ap


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of this run")
    parser.add_argument("--cache", type=Path, default=Path("work/cache"), help="folder for decoded pictures")
    parser.add_argument("--export", type=Path, help="model folder to write at the end, from the best weights")
    parser.add_argument("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads for torch (default: as torch likes)")
    parser.add_argument("--check", action="store_true", help="read the data, report, and stop")
    parser.add_argument("--config", type=Path, help="TOML file of settings")
    add_flags(parser, Knobs)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    return exitcodes.guarded(lambda: _main(arguments), TOO_LARGE)


def _main(arguments: argparse.Namespace) -> int:
    knobs = read(Knobs, arguments.config, arguments)
    if not knobs.data:
        raise SettingsError("data: name at least one folder of boxes (--data FOLDER).")
    told = coco.read([Path(path) for path in knobs.data], knobs.classes)
    if knobs.validation:
        rest = coco.read([Path(path) for path in knobs.validation], told.classes)
        learn = replace(told, images=tuple(image for image in told.images if image.split in ("", "train")))
    else:
        learn, rest = coco.by_split(told, knobs.validation_share, knobs.seed)
    print(f"all: {told.report}\nto learn from: {len(learn.images)} pictures, to validate on: {len(rest.images)}")
    if knobs.validation:
        print(f"for validation: {rest.report}")
    if both := sorted({image.group for image in learn.images} & {image.group for image in rest.images}):
        print(f"warning: learned from and validated on are the same {len(both)} groups ({', '.join(both[:3])}"
              f"{', ...' if len(both) > 3 else ''}), so AP will look better than it is on other animals.")  # fmt: skip
    if not learn.images:
        raise RecordError("no picture to learn from: the files say of every one that it is for validation or test.")
    if len(learn.images) < knobs.batch:
        print(f"only {len(learn.images)} pictures for batches of {knobs.batch}: they come up more than once in each, "
              "changed in another way every time. Label more, or lower batch.")  # fmt: skip
    if not rest.images:
        is_one = len({image.group for image in told.images}) == 1
        why = "There is one group (subject, session or video) only" if is_one else "All pictures are to learn from"
        print(f"{why}, so there is nothing to validate on: no AP, and the score threshold is "
              f"{detectorcard.FALLBACK_THRESHOLD} unseen.")  # fmt: skip
    if arguments.check:
        return exitcodes.OK
    learn, rest = (replace(one, problems={}) for one in (learn, rest))  # told above; new ones come with reading
    team = join(arguments.device)
    with runlock.hold(arguments.out, team.rank, team.size):
        _read_and_train(arguments, knobs, learn, rest, told.classes, team)
    leave(team)
    return exitcodes.OK


def _read_and_train(arguments: argparse.Namespace, knobs: Knobs, learn: coco.CocoData, rest: coco.CocoData,
                    classes: Sequence[str], team: Team) -> None:  # fmt: skip
    """With the run's folder for itself: decode the pictures, train, export."""
    if not team.is_first:
        team.wait()  # the first process decodes the pictures, the others find them in the cache
    data, learn = coco_pictures.load(learn, arguments.cache, knobs.picture_limit)
    validation = None
    if rest.images:
        validation, rest = coco_pictures.load(rest, arguments.cache, knobs.picture_limit)
    if team.is_first:
        team.wait()
        print(f"read: {learn.report}" + (f"\nread for validation: {rest.report}" if rest.images else ""))
    train(knobs, data, arguments.out, validation, classes, team, [image.folder for image in learn.images])
    if arguments.export and team.is_first:
        runfolder.export_best(arguments.out, arguments.export)
        print(f"{arguments.export}: the best weights as a model folder (DETECTOR_DIR)")


if __name__ == "__main__":
    exitcodes.end(main())

"""View of the preference pairs of a stage: pairs, their margins, and the answers that the training has changed.

Shapes: Q pairs.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import islice

import numpy as np
from lhotse.cut import Cut
from scipy.stats import binomtest

from audio_lm.common.errors import UserError
from audio_lm.common.markdown_table import markdown_table
from audio_lm.common.markup import TAG
from audio_lm.config.schema import Recipe
from audio_lm.data.collate import Collator
from audio_lm.data.datamodule import packs_of
from audio_lm.data.examples import with_example
from audio_lm.evaluation.predict import Prediction
from audio_lm.model.audio_lm import AudioLM
from audio_lm.model.weights.parts import load_weights
from audio_lm.pipeline.plan_stage import compile_stage, stage_maker
from audio_lm.prompts.chatml import ASSISTANT, TURN_START
from audio_lm.prompts.conversation import Piece, Text
from audio_lm.prompts.vocabulary import Vocabulary
from audio_lm.run.api import load_model
from audio_lm.run.folder import RunFolder
from audio_lm.run.start_weights import find_start_weights
from audio_lm.tracking.report.audio_report import FloatArray
from audio_lm.tracking.report.curve_figures import Margins, histogram_figure, margins_figure
from audio_lm.tracking.report.display import Markdown, Picture
from audio_lm.training.dpo import document_log_probabilities

MAX_PAIRS = 128
NOISE = 0.05  # probability below which a count is not chance
LAST_TURN = f"{TURN_START}user\n"
ANSWER = f"{TURN_START}{ASSISTANT}\n"


class PairView:
    """Preference pairs of a stage: those of the validation, or else of the training.

    Args:
        stage: its name.

    Raises:
        UserError: it does not learn from pairs, or its data is missing.
    """

    def __init__(self, recipe: Recipe, folder: RunFolder, stage: str, vocabulary: Vocabulary) -> None:
        self.recipe = recipe
        self.folder = folder
        self.stage = stage
        self.config = recipe.stages[stage]
        if not self.config.answer_rule.is_paired:
            raise UserError(
                f"stage {stage!r} has the objective {self.config.objective} and no pairs -- expected a stage with "
                f"`objective: dpo` -- choose another of {', '.join(recipe.stages)}"
            )
        sources = compile_stage(recipe, self.config)
        held_out = [(task, cut) for task, cuts in sources.validation.items() for cut in cuts]
        trained = (
            (leaf.task, leaf.rows.cut(row)) for leaf in sources.training for row in range(len(leaf.rows))
        )
        self.is_held_out = bool(held_out)
        self.pairs: list[tuple[str, Cut]] = held_out or list(islice(trained, MAX_PAIRS))
        self.maker = stage_maker(recipe, self.config, vocabulary, is_evaluation=True)

    def table(self, num: int = 8) -> Markdown:
        """First pairs: question, chosen and rejected answer."""
        rows = [["pair", "question", "chosen", "rejected"]]
        for task, cut in self.pairs[:num]:
            chosen, rejected = self.maker.pair(cut, task, 0)
            other = " (of other clips)" if _answer(chosen) == _answer(rejected) else ""
            rows.append([cut.id, _question(chosen), _answer(chosen), _answer(rejected) + other])
        return Markdown(markdown_table(rows))

    @cached_property
    def margins(self) -> Margins:
        """Log-probabilities of all pairs before and after the stage."""
        model = load_model(self.folder.path, self.stage)
        after = self._log_probabilities(model)
        self._load_before(model)
        return Margins(self._log_probabilities(model), after)

    def _load_before(self, model: AudioLM) -> None:
        """Load the weights that the stage starts from."""
        names = list(self.recipe.stages)
        if (weights := find_start_weights(self.stage, self.config)) is not None:
            weights.load(model)
        elif (place := names.index(self.stage)) > 0:
            load_weights(model, self.folder.model(names[place - 1]))
        else:
            raise UserError(
                f"stage {self.stage!r} is the first one, so there is no model before it to compare with; choose a later stage"
            )

    def _log_probabilities(self, model: AudioLM) -> FloatArray:
        """(Q, 2) log-probability of the chosen and the rejected answer."""
        cuts = [with_example(cut, self.maker.example(cut, task)) for task, cut in self.pairs]
        collate = Collator(num_mels=self.recipe.model.encoder.sizes.num_mels)
        packs = packs_of(cuts, max_tokens=self.config.pack_tokens)
        values = [document_log_probabilities(model, collate(pack)).reshape(-1, 2).numpy() for pack in packs]
        return np.concatenate(values)

    def picture(self) -> Picture:
        """Margins of all pairs before and after, and the changes of both answers."""
        return Picture.of(margins_figure(self.margins))

    def distribution(self) -> Picture:
        """Histogram of the margins before and after."""
        margins = self.margins
        values = {"before": margins.difference_before.tolist(), "after": margins.difference_after.tolist()}
        title = f"{len(self.pairs)} {'held-out' if self.is_held_out else 'training'} pairs; dashed: median"
        return Picture.of(histogram_figure(values, unit="log p(chosen) - log p(rejected), nats", title=title))

    def summary(self) -> Markdown:
        """Fraction of pairs in the right order, before and after, and the mean change of both answers."""
        margins, change = self.margins, (self.margins.after - self.margins.before).mean(axis=0)
        before, after = (
            100 * float((each > 0).mean()) for each in (margins.difference_before, margins.difference_after)
        )
        gained = 100 * float((margins.difference_after > margins.difference_before).mean())
        return Markdown(
            f"The chosen answer is the more probable one in {before:.0f} % of the pairs before and in {after:.0f} % after. "
            f"{gained:.0f} % of the pairs have gained margin. Mean change: {change[0]:+.2f} nats for the chosen answer, "
            f"{change[1]:+.2f} nats for the rejected one."
        )


def changed_answers(before: Sequence[Prediction], after: Sequence[Prediction], *, num: int = 8) -> Markdown:
    """Answers that differ between two models, and whether the balance of right and wrong ones can be chance.

    The exact sign test counts the answers that are right in one of both only.

    Args:
        num: of answers in the table.
    """
    found = {prediction.id: prediction for prediction in before}
    pairs = [(found[each.id], each) for each in after if each.id in found]
    verdicts = [(_is_right(one), _is_right(other)) for one, other in pairs]
    repaired, broken = verdicts.count((False, True)), verdicts.count((True, False))
    changed = [(one, other) for one, other in pairs if one.answer != other.answer]
    text = f"{len(changed)} of {len(pairs)} answers have changed: "
    text += f"{repaired} from wrong to right, {broken} from right to wrong. "
    if repaired + broken:
        chance = binomtest(repaired, repaired + broken).pvalue
        text += f"A balance like this or more uneven has probability {chance:.2g} by chance: "
        text += "more than noise." if chance < NOISE else "within noise."
    rows = [
        [
            one.id,
            _shown(one.reference),
            f"{_shown(one.answer)} ({_verdict(one)})",
            f"{_shown(other.answer)} ({_verdict(other)})",
        ]
        for one, other in changed[:num]
    ]
    return Markdown(f"{text}\n\n{markdown_table([['clip', 'reference', 'before', 'after'], *rows])}")


def _is_right(prediction: Prediction) -> bool:
    return prediction.answer.strip() in map(str.strip, prediction.references)


def _verdict(prediction: Prediction) -> str:
    return "right" if _is_right(prediction) else "wrong"


def _question(pieces: Sequence[Piece]) -> str:
    """Last question before the first learned piece, without markup; a clip is its number in brackets."""
    shown = ""
    for piece in pieces:
        if isinstance(piece, Text) and piece.is_learned:
            break
        shown += piece.text if isinstance(piece, Text) else f"[clip {piece.number}]"
    question = shown.split(LAST_TURN)[-1].removesuffix(ANSWER).strip()
    return _shown(TAG.sub(" ", question), limit=200)


def _answer(pieces: Sequence[Piece]) -> str:
    return _shown(
        "".join(
            piece.text
            for piece in pieces
            if isinstance(piece, Text) and piece.is_learned and not piece.is_markup
        )
    )


def _shown(text: str, *, limit: int = 60) -> str:
    """Text in one line, shortened; markup is shown as it is written."""
    line = " ".join(text.split()).replace("<", "&lt;")
    return line if len(line) <= limit else f"{line[:limit]} ..."

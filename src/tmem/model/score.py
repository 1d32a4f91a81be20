"""Log-probabilities of given texts under given memories (teacher forcing), as RL needs them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tmem.errors import UsageError
from tmem.fastweights import Delta, FastWeights
from tmem.fastweights.delta import active
from tmem.fastweights.target_modules import decoder
from tmem.model.head import Head
from tmem.model.load import Model
from tmem.model.request import Voices
from tmem.model.sampling import mix


def logprobs(
    model: Model,
    prompts: Sequence[Sequence[int]],
    outputs: Sequence[Sequence[int]],
    delta: Delta | None = None,
    fast: FastWeights | None = None,
    memories: Sequence[int | None] | None = None,
    max_tokens_per_batch: int = 16_384,
) -> list[Tensor]:
    """log pi(token) of every output token given all before it: a (len(output),) float32 tensor per text.

    ``memories[i]`` is the row of ``delta`` under which text i is scored, None for the base model; without
    ``memories`` text i uses row i. Gradients flow if they are enabled. Where activations are recomputed,
    ``backward()`` has to run under the same hooks: enter ``fast.active`` around both and pass no ``delta``
    here. Raises :class:`UsageError` if the arguments do not fit together.
    """
    if len(prompts) != len(outputs) or not all(prompts) or not all(outputs):
        raise UsageError("scoring needs one output per prompt, none of them empty")
    if (delta is None) != (fast is None):
        raise UsageError("scoring under a delta needs the fast weights it belongs to, and the other way round")
    texts = [[*prompt, *output] for prompt, output in zip(prompts, outputs, strict=True)]
    sessions = list(range(len(texts))) if memories is None else [-1 if row is None else row for row in memories]
    if len(sessions) != len(texts):
        raise UsageError(f"{len(texts)} texts but {len(sessions)} memories")
    scores: list[Tensor | None] = [None] * len(texts)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True)
    while order:
        count = max(1, max_tokens_per_batch // len(texts[order[0]]))
        batch, order = sorted(order[:count], key=lambda i: sessions[i]), order[count:]
        with active(fast, delta, [sessions[i] for i in batch]):
            found, _ = score_batch(model, [texts[i] for i in batch], [len(prompts[i]) for i in batch])
        for i, score in zip(batch, found.split([len(outputs[i]) for i in batch]), strict=True):
            scores[i] = score
    return [score for score in scores if score is not None]


def score_batch(
    model: Model, texts: Sequence[Sequence[int]], starts: Sequence[int], chunk: int = 1024
) -> tuple[Tensor, Tensor]:
    """Scores of each text's tokens from ``starts`` on, of all texts one after the other.

    log pi(token), (K,), with gradients if they are enabled, and the entropy of the distribution it is from, (K,), in
    nats and without. Only the K positions go through the head (:func:`head_scores`).
    """
    width = max(len(text) for text in texts)
    ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=model.device)  # (N, T)
    lengths = torch.tensor([len(text) for text in texts], device=model.device)[:, None]
    start = torch.tensor(starts, device=model.device)[:, None]
    position = torch.arange(width, device=model.device)
    mask = position < lengths  # (N, T)
    keep = (position >= start - 1) & (position < lengths - 1)  # where the next token is an output token
    targets = ids[:, 1:][keep[:, :-1]]  # (K,)
    hidden = decoder(model.hf)(input_ids=ids, attention_mask=mask.long(), use_cache=False).last_hidden_state[keep]
    return head_scores(model.head, hidden, targets, chunk)


def head_scores(head: Head, hidden: Tensor, targets: Tensor, chunk: int = 1024) -> tuple[Tensor, Tensor]:
    """log pi of ``targets`` (K,) after ``hidden`` (K, H), and the entropies of the distributions, (K,) each.

    Where gradients are wanted, at most ``chunk`` rows of logits are held at once: they are made again going back.
    """
    if len(hidden) <= chunk:
        return _head_scores(head, hidden, targets)
    parts = [
        checkpoint(_head_scores, head, *part, use_reentrant=False)
        for part in zip(hidden.split(chunk), targets.split(chunk), strict=True)
    ]
    return torch.cat([scores for scores, _ in parts]), torch.cat([entropies for _, entropies in parts])


def _head_scores(head: Head, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and entropies (K,) of ``targets`` (K,) after ``hidden`` (K, H)."""
    logits = head(hidden).float()  # (K, V)
    scores = logits.log_softmax(-1)
    with torch.no_grad():
        entropies = -(scores.exp() * scores).sum(-1)
    return scores.gather(1, targets[:, None])[:, 0], entropies


@torch.no_grad()
def answer_logits(model: Model, prompts: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]]) -> list[Tensor]:
    """theta_0's logits at every token of each output given all before it, (len(output), V) float32 each."""
    texts = [[*prompt, *output] for prompt, output in zip(prompts, outputs, strict=True)]
    hidden = _hidden(model, texts)
    return [
        model.head(own[len(prompt) - 1 : len(text) - 1]).float()
        for own, prompt, text in zip(hidden, prompts, texts, strict=True)
    ]


def voiced_logprobs(
    model: Model,
    prompts: Sequence[Sequence[int]],
    outputs: Sequence[Sequence[int]],
    voices: Sequence[Voices],
    delta: Delta,
    fast: FastWeights,
    memories: Sequence[int],
) -> list[Tensor]:
    """log of the mixed distribution of every output token, (len(output),) each: what generating with voices gives.

    ``memories[i]`` is the row of ``delta`` that is heard beside text i. Gradients flow through all voices if they are
    enabled; whether a memory is doubted is a constant.
    """
    with active(fast, delta, sessions_of_voices(memories)):
        scores, _ = voiced_batch(model, prompts, outputs, voices)
    return list(scores.split([len(output) for output in outputs]))


def sessions_of_voices(memories: Sequence[int]) -> list[int]:
    """The rows of Delta that :func:`voiced_batch` has to run under: -1 (none) for the texts and the bare questions."""
    nobody = [-1] * len(memories)
    return [*nobody, *memories, *nobody]


def voiced_batch(
    model: Model, prompts: Sequence[Sequence[int]], outputs: Sequence[Sequence[int]], voices: Sequence[Voices]
) -> tuple[Tensor, Tensor]:
    """As :func:`score_batch`, of the mixed distributions: scores and entropies of all output tokens, (K,) each."""
    texts = [[*prompt, *output] for prompt, output in zip(prompts, outputs, strict=True)]
    bare = [[*one.prompt_ids, *output] for one, output in zip(voices, outputs, strict=True)]
    count, rows = len(texts), [*texts, *bare, *bare]
    hidden = _hidden(model, rows)
    said = [
        model.head(own[len(row) - len(output) - 1 : len(row) - 1]).float()
        for own, row, output in zip(hidden, rows, [*outputs] * 3, strict=True)
    ]
    scores, entropies = [], []
    for place, output in enumerate(outputs):
        text, heard, known = (said[place + part * count] for part in range(3))
        doubted = voices[place].refusal is not None and int(heard[0].argmax()) == voices[place].refusal
        weights = torch.tensor([voices[place].weights(doubted)], device=text.device).expand(len(output), -1)
        mixed = mix(text, heard, known, weights)
        scores.append(mixed.gather(1, torch.tensor(output, device=text.device)[:, None])[:, 0])
        entropies.append(-(mixed.detach().exp() * mixed.detach()).sum(-1))
    return torch.cat(scores), torch.cat(entropies)


def _hidden(model: Model, texts: Sequence[Sequence[int]]) -> Tensor:
    """What goes into the head at every token of these texts, padded on the right: (N, T, H)."""
    width = max(map(len, texts))
    ids = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts], device=model.device)  # (N, T)
    lengths = torch.tensor([len(text) for text in texts], device=model.device)[:, None]
    mask = torch.arange(width, device=model.device) < lengths
    hidden: Tensor = decoder(model.hf)(input_ids=ids, attention_mask=mask.long(), use_cache=False).last_hidden_state
    return hidden

"""Decode intentions from a trie made by hand, and nothing else.

Shows what the trie guarantees: whatever the model thinks, every result is one of the listed intentions, and their
probabilities sum to 1. The model here is the pretrained sentence encoder as it comes. It has never been trained to
decode, so its choices mean little; training (see `build_and_ask.py`) is what makes them follow the query.

    python examples/constrained_decoding.py
"""

import math

from intently.intentions.decode import ConstrainedDecoder, DecodeSettings, ScoreMode
from intently.intentions.live import LiveTrie
from intently.intentions.trie import Trie
from intently.models.pretrained import load_pretrained
from intently.models.student import Student

INTENTIONS = [
    "running shoes",
    "running socks",
    "running",  # an intention may be the beginning of another
    "robot vacuum",
    "robot lawn mower",
    "garden hose",
]
QUERY = "shoes for a marathon"


def show(student: Student, decoder: ConstrainedDecoder, settings: DecodeSettings, names: list[str]) -> None:
    prompt = student.read([QUERY], max_tokens=32).prompt
    (decoded,) = decoder.decode(prompt, settings)
    for intention_id, log_prob in zip(decoded.intention_ids, decoded.log_probs, strict=True):
        print(f"  {math.exp(log_prob):9.3g}  {names[intention_id]}")
    print(f"  {sum(math.exp(log_prob) for log_prob in decoded.log_probs):9.3f}  in all\n")


def main() -> None:
    backbone, tokenizer = load_pretrained()
    student = Student(backbone, tokenizer)
    trie = Trie.build(tokenizer.encode_bare(INTENTIONS))
    print(f"{trie.num_intentions} intentions make a trie of {trie.num_nodes} nodes.")
    print(f"From the root, {trie.num_children[trie.root]} of {tokenizer.vocab_size:,} tokens are allowed.\n")

    decoder = student.decoder(trie)
    for num_beams in (2, len(INTENTIONS)):
        print(f"{QUERY!r} with {num_beams} beams:")
        show(student, decoder, DecodeSettings(num_beams=num_beams), INTENTIONS)
    print(
        "With as many beams as intentions nothing is cut off: the probabilities are those of all of them, and sum to 1."
    )

    print("\nThe same, over all tokens instead of those that the trie allows; most goes to what is no intention:")
    show(student, decoder, DecodeSettings(mode=ScoreMode.FULL), INTENTIONS)

    live = LiveTrie(trie)
    (new_id,) = live.change(tokenizer.encode_bare(["marathon shoes"]), tokenizer.encode_bare(["garden hose"]))
    names = [*INTENTIONS, "marathon shoes"]
    print(f"One intention added as number {new_id}, one removed. A decoder of the new version:")
    show(student, student.decoder(live.trie, like=decoder), DecodeSettings(), names)
    print("The decoder of the version before goes on as if nothing had happened:")
    show(student, decoder, DecodeSettings(), names)


if __name__ == "__main__":
    main()

"""Decode intentions from a trie made by hand, and nothing else.

Shows what the trie guarantees: whatever the model thinks, every result is one of the listed intentions, and their
probabilities sum to 1. The model here is the pretrained sentence encoder as it comes. It has never been trained to
decode, so its choices mean little; training (see `build_and_ask.py`) is what makes them follow the query.

    python examples/constrained_decoding.py
"""

import math

from intently.intentions.trie import ROOT, Trie
from intently.models.pretrained import load_pretrained
from intently.models.student import Student

INTENTIONS = (
    "running shoes",
    "running socks",
    "running",  # an intention may be the beginning of another
    "robot vacuum",
    "robot lawn mower",
    "garden hose",
)
QUERY = "shoes for a marathon"


def main() -> None:
    backbone, tokenizer = load_pretrained()
    student = Student(backbone, tokenizer)
    token_ids = tokenizer.encode_bare(INTENTIONS)
    trie = Trie.build(token_ids)
    print(f"{trie.num_intentions} intentions make a trie of {trie.num_nodes} nodes.")
    print(f"From the root, {len(trie.children(ROOT))} of {tokenizer.vocab_size:,} tokens are allowed.\n")

    decoder = student.decoder(trie)
    for num_beams in (2, len(INTENTIONS)):
        # A reading is led on while decoding, so read again for every decode.
        (decoded,) = decoder.decode(student.read([QUERY], max_tokens=32), num_beams)
        print(f"{QUERY!r} with {num_beams} beams:")
        for intention_id, log_prob in zip(decoded.intention_ids, decoded.log_probs, strict=True):
            print(f"  {math.exp(log_prob):.3f}  {INTENTIONS[intention_id]}")
        print(f"  {sum(math.exp(log_prob) for log_prob in decoded.log_probs):.3f}  in all\n")
    print(
        "With as many beams as intentions nothing is cut off: the probabilities are those of all of them, and sum to 1."
    )


if __name__ == "__main__":
    main()

"""Nobody changes how text is read without raising the version."""

import hashlib
import json

from intently.text.analyze import Analyzer
from intently.text.markup import plain_text
from intently.text.query_text import QueryReader
from intently.text.rules import TEXT_RULES_VERSION
from intently.text.spelling import Speller, WordTable

SAMPLE = """
Dyson™ V15® vacuum
head\u00adphones \u2068wi\u2060fi\u2069
İstanbul IŞIK
5½ in. x 3.5 in., 10²
ＬＥＤ　燈 貓糧
café L’Oréal Pokémon
Gürtel Gurtel Guertel Straße
mother's day
2 Gürtel
3克拉钻戒
2022安踏跑鞋
“双11”大促
"iphone 15"
size 10 in white
4 in pipe
2 in 1
.5 mm
5‑gallon 5–gallon
1,7 l 1,000 w 1.000 W
5 metres 5米
012345678905
wi-fi e-bike x-ray t-shirt self-adhesive
wi fi
AT&T H&M black&decker AT & T
IT support iPhone X the who 3M vitamin a
the the
!!! 🔥
كِتَاب हिन्दी
ketle vacum birdbath coffe kichen
5加仑油漆 6寸蛋糕 5000毫安时 1.7升不锈钢电热水壶
红色水壶盖
AT&amp;T <b>un</b>do a<br>b
don't o'neill rock'n'roll
6' x 4" 5'6"
"""
COUNTS = {"kettle": 9, "vacuum": 9, "bird": 3, "bath": 3, "coffee": 99, "coffe": 1, "水壶": 3, "wifi": 5,
          "kitchen": 400, "kichen": 8}  # fmt: skip
DIGESTS = {4: "49bec139e1b85ed9bf2dc43a5f6cd08a2a716d98dec1b2cc1f727a5c3b2d13ef"}


def test_the_version_is_raised_when_a_rule_changes():
    output: list[object] = []
    for stemmer in ("english", "german"):
        analyzer = Analyzer(stemmer)
        reader = QueryReader(analyzer, Speller([WordTable(COUNTS, analyzer.stem)], stem=analyzer.stem))
        for text in SAMPLE.strip().split("\n"):
            read = reader.read(text)
            tokens = [(token.word, token.term, token.kind.value) for token in analyzer.indexed(text)]
            corrections = [(each.word, each.read_as) for each in read.corrections]
            output += [plain_text(text), read.normalized, analyzer.phrase(text), tokens, read.terms, corrections]
            output += [read.weights, read.readings, read.for_models]
    digest = hashlib.sha256(json.dumps(output, ensure_ascii=False).encode()).hexdigest()
    assert digest == DIGESTS[TEXT_RULES_VERSION], (
        "a rule of intently.text changed: raise TEXT_RULES_VERSION and note the new digest under its number"
    )

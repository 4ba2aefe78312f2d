"""How text goes wrong: the mistakes people type into queries, and those OCR reads off landing pages."""

import random

from intently.types import Span

_KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_ADJACENT = {key: row[max(0, at - 1) : at] + row[at + 1 : at + 2] for row in _KEYBOARD for at, key in enumerate(row)}

# Each group sounds alike; an input method offers the wrong one.
_HOMOPHONES = (
    "机鸡基 器气汽 的得地 在再 做作坐 修休羞 包胞 租足 清轻青 洗喜 电店殿 家加佳 公工功 司思丝 保宝饱 "
    "免面 费废肺 维为围 理里李 房防方 水睡 空控 调条 手首 表标 鞋写 衣医一 服福扶 美每 容荣 学雪 习系 "
    "语雨 课客刻 程成城 身深 体提 检捡减 牙芽 眼演 务物误 平苹瓶 板版 脑恼 票漂 旅绿律 师施 险显 代带贷 "
    "办半 婚昏 摄射 影映 训迅 送颂 快块 搬班 运韵 除厨 虫重 用永 儿而 童同 玩完 具句 床窗 灯登 桌卓 椅以 "
    "机积 智只 能嫩 无五 线现 动冻 吸西 尘陈 扫嫂 拖托 净静 高糕 低滴 小晓 大达 便变 宜移 好号 什神 么吗 "
    "怎咋 买卖 哪那 款宽 油游 粮良 猫毛 狗够 心新 护户 补不 配陪 近进 上尚 门们"
)
_SOUNDS_LIKE: dict[str, str] = {}
for _group in _HOMOPHONES.split():
    for _char in _group:
        _SOUNDS_LIKE[_char] = _SOUNDS_LIKE.get(_char, "") + _group.replace(_char, "")

# What OCR takes one thing for. Both directions of each pair.
_LOOKALIKES = (
    "0O 1l 5S 8B 2Z 6b 9g 日曰 未末 己已 人入 土士 大太 天夫 白自 目日 干千 贝见 王玉 工土 力刀 扫归 免兔 "
    "质盾 保呆 间问 车东 买卖 几儿 体休 今令 牛午 石右 由田 治冶 拆折 清情 洗冼 机杌 家冢 住往 用甩 木本 "
    "元无 门们 客容 准淮 话活 电申 快块 服报 全金 品晶 住佳 师帅 务备 折拆 优忧 送迭 专传 理埋 租祖 空室 "
    "设没 侍待 低底 科料 期朝 静净 滤虑 维难"
)
_MISREAD: dict[str, str] = {}
for _pair in _LOOKALIKES.split():
    _MISREAD.setdefault(_pair[0], _pair[1])
    _MISREAD.setdefault(_pair[1], _pair[0])
_MISREAD_PAIRS = {"rn": "m", "cl": "d", "vv": "w"}
_MISREAD |= {"m": "rn", "d": "cl", "w": "vv", "i": "1", "e": "c", "o": "0", "s": "5", "h": "b", "，": ",", "。": "."}
_JUNK = "|~_·•=:;^°{}[]\\/#*<>il1I.,'`"


def is_chinese(char: str) -> bool:
    """Return whether `char` is a Chinese character (the CJK unified ideographs)."""
    return "\u4e00" <= char <= "\u9fff"


def mistype(text: str, rng: random.Random) -> str:
    """Return `text` with one typing mistake, or unchanged if it has no word long enough to mistype.

    A Latin word of 4 letters or more gets an adjacent key, or a letter dropped, doubled or transposed (never its first
    one, which people rarely miss). Chinese gets a homophone or, if none is known, a character dropped or transposed.
    """
    chinese = [at for at, char in enumerate(text) if is_chinese(char)]
    if len(chinese) >= 3:
        sounded = [at for at in chinese if text[at] in _SOUNDS_LIKE]
        if sounded and rng.random() < 0.7:
            at = rng.choice(sounded)
            return text[:at] + rng.choice(_SOUNDS_LIKE[text[at]]) + text[at + 1 :]
        at = rng.choice(chinese[1:])
        return text[:at] + text[at + 1 :] if rng.random() < 0.6 else _transpose(text, at - 1)
    inner = [
        at
        for at in range(1, len(text))
        if text[at].isascii() and text[at].isalpha() and text[at - 1].isalpha() and _word_length(text, at) >= 4
    ]
    if not inner:
        return text
    at = rng.choice(inner)
    kind = rng.randrange(4)
    if kind == 0:
        return text[:at] + rng.choice(_ADJACENT[text[at].lower()]) + text[at + 1 :]
    if kind == 1:
        return text[:at] + text[at + 1 :]
    if kind == 2:
        return text[: at + 1] + text[at:]
    return _transpose(text, at) if text[at + 1 : at + 2].isalpha() else text[: at + 1] + text[at:]


def misread(text: str, rng: random.Random) -> tuple[Span, ...]:
    """Return `text` as OCR would: pieces of a line each, damaged, with confidences that fall as the damage grows.

    Every piece has its own reading difficulty. A few pieces are junk that no text stands behind (icons, rules, edges).
    """
    spans = []
    at = 0
    while at < len(text):
        end = _line_end(text, at + rng.randrange(24, 64))
        difficulty = rng.betavariate(1.3, 4.0)
        read = _damage(text[at:end].strip(), 0.35 * difficulty, rng)
        if read:
            spans.append(Span(read, _confidence(1.0 - difficulty, rng)))
        if rng.random() < 0.15:
            junk = "".join(rng.choice(_JUNK) for _ in range(rng.randrange(2, 8)))
            spans.append(Span(junk, _confidence(0.25, rng)))
        at = end
    return tuple(spans)


def _damage(text: str, rate: float, rng: random.Random) -> str:
    read = []
    at = 0
    while at < len(text):
        char = text[at]
        if rng.random() >= rate:
            read.append(char)
        elif text[at : at + 2] in _MISREAD_PAIRS:
            read.append(_MISREAD_PAIRS[text[at : at + 2]])
            at += 1
        elif char != " ":  # a space hit by damage is lost
            read.append(_MISREAD.get(char, char if rng.random() < 0.7 else rng.choice(_JUNK)))
        at += 1
    return "".join(read)


def _confidence(mean: float, rng: random.Random) -> float:
    return round(min(0.99, max(0.01, rng.gauss(mean, 0.06))), 2)


def _line_end(text: str, at: int) -> int:
    """Return where a line of about `at` characters ends: after the word, as lines break between words."""
    while at < len(text) and text[at].isascii() and text[at].isalnum():
        at += 1
    return min(at, len(text))


def _word_length(text: str, at: int) -> int:
    first = last = at
    while first > 0 and text[first - 1].isalpha():
        first -= 1
    while last < len(text) and text[last].isalpha():
        last += 1
    return last - first


def _transpose(text: str, at: int) -> str:
    return text[:at] + text[at + 1 : at + 2] + text[at] + text[at + 2 :]

"""Numbers and units: many ways to write a measure, made one.

"5 gal.", "5-gallon" and "5加仑"; "2x4x8" and "2 in. x 4 in. x 8 ft."; ".5 mm", "1,7 l" and "1,000 w". Everything here
takes normalized text and is linear in it: numbers are matched where they begin, and possessively.
"""

import re

from intently.text.normalize import HAN

# Units and their spellings, the first of each being the one that all become.
_SPELLINGS = """
inch in inches zoll 英寸 寸; ft foot feet 英尺; yd yard yards; mm millimeter millimeters millimetre millimetres 毫米;
cm centimeter centimeters centimetre centimetres 厘米; m meter meters metre metres 米;
km kilometer kilometers kilometre kilometres 公里; sqft; cuft; gal gallon gallons 加仑; qt quart quarts;
oz ounce ounces 盎司; ml 毫升; l liter liters litre litres 升; lb lbs pound pounds 磅; kg kilogram kilograms 公斤 千克;
g gram grams 克; w watt watts 瓦; v volt volts 伏; amp a amps ampere amperes 安; hp horsepower 匹; btu btus; k kelvin;
lumen lumens lm 流明; psi; gauge ga; degree degrees deg; pack packs pk; piece pieces pc pcs 件; gb; tb; mah 毫安 毫安时;
hour hours hr hrs h 小时
"""
_UNITS = {spellings.split()[0]: spellings.split() for spellings in _SPELLINGS.split(";")}
UNITS = frozenset(_UNITS)
_UNIT_OF = {spelling: unit for unit, spellings in _UNITS.items() for spelling in spellings}
HAN_UNITS = {spelling: unit for spelling, unit in _UNIT_OF.items() if not spelling.isascii()}

# "in" and "a" after a number are mostly a preposition and an article. They are units where they touch the number or
# have a point, and "in" also in front of what a measure stands in front of.
_NOT_INCHES = """
a an the my your our this that these those stock store stores one two all total white black red blue green grey gray
silver gold brown beige pink purple orange yellow navy men mens women womens kids color colors colour and or
der die das den dem einem einer eins
"""
_FOLLOWS = "|".join(_NOT_INCHES.split())
_PLAIN = "|".join(
    sorted(
        (re.escape(spelling) for spelling in _UNIT_OF if spelling.isascii() and spelling not in ("in", "a")),
        key=len,
        reverse=True,
    )
)
_NUMBER = r"(?<![\d./])(\d++(?:[./]\d++)?)"
_NO_LETTER = rf"(?!(?![{HAN}])[^\W\d_])"  # a Latin unit ends before a letter of any script, but Han is another word
_MEASURE = re.compile(
    rf"{_NUMBER}(?:[ -]{{0,3}}({_PLAIN}){_NO_LETTER}\.?"
    rf"|-?(in){_NO_LETTER}(?! ?-?\d)\.?|[ -]{{1,3}}(in)(?:\.|(?= ?[x×*])|{_NO_LETTER}(?!-| ?\d| (?:{_FOLLOWS})\b))"
    rf"|-?(a){_NO_LETTER}(?!-)|[ -]{{1,3}}(a)(?=\W*$))"
)
_MARKED = (
    (re.compile(r"\bsq\.? ?(?:ft|feet|foot)\b\.?|平方英尺"), " sqft "),
    (re.compile(r"\bcu\.? ?(?:ft|feet|foot)\b\.?"), " cuft "),
)
_BETWEEN_NUMBERS = re.compile(r"(?<=\d) ?(?:x|×|\*|\bby\b) ?(?=\d)")
_BETWEEN_MEASURES = re.compile(rf"(?<=\d) ({'|'.join(UNITS)}) {{0,4}}(?:x|×|\*|by) {{0,4}}(?=\d)")
_THOUSANDS = re.compile(r"(?<=\d)[,'](?=\d{3}(?!\d))")
_GERMAN_THOUSANDS = re.compile(r"(?<=\d)\.(?=\d{3}(?!\d))")
_DECIMAL_COMMA = re.compile(r"(?<![\d.,/])(\d++),(\d{1,2})(?![\d,/])")
_BARE_DECIMAL = re.compile(r"(?<![\w.,/])\.(?=\d)")
_QUOTE = re.compile(r"""''|["']""")


def unify_measures(text: str, *, decimal_comma: bool = False) -> str:
    """Return normalized `text` with every measure as a number, a space and the one name of its unit.

    Chinese units are left to whoever cuts Chinese into words. With `decimal_comma`, "1.000" is a thousand.
    """
    if not any(map(str.isdigit, text)):
        return text
    text = _read_quotes(text)
    text = _BARE_DECIMAL.sub("0.", _THOUSANDS.sub("", text))
    if decimal_comma:
        text = _GERMAN_THOUSANDS.sub("", text)
    text = _DECIMAL_COMMA.sub(r"\1.\2", text)
    for pattern, replacement in _MARKED:
        text = pattern.sub(replacement, text)
    return _BETWEEN_MEASURES.sub(r" \1 ", _MEASURE.sub(_as_unit, _BETWEEN_NUMBERS.sub(" ", text)))


def _as_unit(found: re.Match[str]) -> str:
    return f" {found[1]} {_UNIT_OF[found[found.lastindex or 2]]} "


def _read_quotes(text: str) -> str:
    """Return `text` with marks after numbers read as inches and feet, unless they close a quotation."""
    if '"' not in text and "'" not in text:
        return text
    parts: list[str] = []
    at, is_open = 0, {'"': False, "'": False}
    for found in _QUOTE.finditer(text):
        mark, start, end = found[0], found.start(), found.end()
        before, after = text[start - 1 : start], text[end : end + 1]
        spaced = before == " " and text[start - 2 : start - 1].isdigit()
        if mark == "'" and before.isalnum() and after.isalpha():
            continue  # an apostrophe
        if is_open.get(mark):
            is_open[mark] = False
            continue
        if before.isdigit() or (spaced and not after.isalnum()):
            parts += [text[at:start], " ft " if mark == "'" else " in. "]
            at = end
        elif mark in is_open and after.strip() and not (mark == "'" and before.isalnum()):
            is_open[mark] = text.find(mark, end) >= 0
    return "".join((*parts, text[at:]))

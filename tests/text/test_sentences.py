import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.text.sentences import join_texts, sentence_length, split_sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\n . | ~ \n", []),
        ("One sentence", ["One sentence"]),
        ("Free delivery. Ready in an hour! Any questions?  Ask us.",
         ["Free delivery.", "Ready in an hour!", "Any questions?", "Ask us."]),
        ("滤网可拆洗。灰尘进不来！一目了然？参数表", ["滤网可拆洗。", "灰尘进不来！", "一目了然？", "参数表"]),
        ("他说：“很安静。”买吧", ["他说：“很安静。”", "买吧"]),
        ('He said "buy it." We did.', ['He said "buy it."', "We did."]),
        ("Cools 3.5 rooms, approx. 40 sq. ft. Each. By J. Smith Inc. Made well.",
         ["Cools 3.5 rooms, approx. 40 sq. ft. Each.", "By J. Smith Inc. Made well."]),
        ("A 2 in. x 4 in. board for 5 gal. Tanks. Strong.", ["A 2 in. x 4 in. board for 5 gal. Tanks.", "Strong."]),
        ("visit shop.example.com today. now", ["visit shop.example.com today. now"]),
        ("送礼体面.首次请开锅. 手柄防烫!握感舒适", ["送礼体面.", "首次请开锅.", "手柄防烫!", "握感舒适"]),
        ("全网最低价3.5折，含Cookie.js说明。", ["全网最低价3.5折，含Cookie.js说明。"]),
        ("Washable filter.Timer and sleep mode", ["Washable filter.", "Timer and sleep mode"]),
        ("Wait... there is more... Really", ["Wait... there is more...", "Really"]),
        ("新岚空调。Quiet cooling. 六年包修", ["新岚空调。", "Quiet cooling.", "六年包修"]),
    ],
)  # fmt: skip
def test_sentences_of_one_line(text, expected):
    assert split_sentences(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Our engineers install\nand test every unit.", ["Our engineers install and test every unit."]),
        ("Installed by the\nBrezza Nova team", ["Installed by the Brezza Nova team"]),
        ("Six years,\nParts and labour", ["Six years, Parts and labour"]),
        ("Free from dust and con-\ntaminants", ["Free from dust and contaminants"]),
        ("A pre-\nX100 model", ["A pre- X100 model"]),  # only a word goes on in lower case
        ("Home\nAll departments\nYour basket", ["Home", "All departments", "Your basket"]),
        ("Quiet cooling.\nin every room", ["Quiet cooling. in every room"]),
        ("Quiet cooling\n\nin every room", ["Quiet cooling", "in every room"]),
        ("Quiet cooling\r\n \t\r\nin every room", ["Quiet cooling", "in every room"]),
        ("What you get:\nRemote control", ["What you get:", "Remote control"]),
        ("You get\n• a remote control\n• a wall mount", ["You get", "• a remote control", "• a wall mount"]),
        ("首页\n全部分类\n购物车", ["首页", "全部分类", "购物车"]),  # short lines were ended on purpose
        ("购买前按房间面积选择合适的匹\n数或功率，免费咨询。", ["购买前按房间面积选择合适的匹数或功率，免费咨询。"]),
        ("燃气灶\n、电磁炉通用。", ["燃气灶、电磁炉通用。"]),
        ("燃气灶、\n电磁炉通用。", ["燃气灶、电磁炉通用。"]),
        ("屏显温湿度，一目了然，滤网可以拆洗。\n能效与噪音", ["屏显温湿度，一目了然，滤网可以拆洗。", "能效与噪音"]),
        ("一\u3000二\t三", ["一 二 三"]),
    ],
)
def test_sentences_of_broken_lines(text, expected):
    assert split_sentences(text) == expected


pieces = st.sampled_from(
    ["Filter", "filter", "the", "滤网", "可拆洗", "3.5", "in", "No", "J", ".", "!", "…", "。", "；", '"', "”", ",",
     "，", "-", "•", " ", "\n", "\n\n", "\t", "|", "approx", "\u3000", "\r\n", "12", ")", "("]
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(pieces, max_size=30).map("".join))
def test_no_letter_is_lost_and_sentences_stay_as_they_are(text):
    sentences = split_sentences(text)
    assert [char for char in "".join(sentences) if char.isalnum()] == [char for char in text if char.isalnum()]
    for sentence in sentences:
        assert sentence == " ".join(sentence.split())
        assert any(map(str.isalnum, sentence))


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([], ""),
        (["", "One.", "", "Two."], "One. Two."),
        (["滤网可拆洗。", "灰尘进不来。"], "滤网可拆洗。灰尘进不来。"),
        (["滤网可拆洗。", "Quiet.", "静音"], "滤网可拆洗。 Quiet. 静音"),
    ],
)
def test_join(parts, expected):
    assert join_texts(parts) == expected


@pytest.mark.parametrize(
    ("text", "length"), [("", 0), ("...", 0), ("Quiet cooling, 3 modes", 4), ("静音空调 LED 灯", 6), ("A2-B3", 2)]
)
def test_length(text, length):
    assert sentence_length(text) == length

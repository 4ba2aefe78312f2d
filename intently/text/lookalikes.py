"""What OCR takes for one another: Latin letters, digits and marks by their shape, Chinese characters by theirs.

Lookalikes are folded into one form, so that two texts which OCR could confuse are equal once folded: "r0bot" and
"robot", "扫他机器入" and "扫地机器人". Folding is coarse on purpose: it only finds what a text may have been.
`misreading_cost` says how likely that is, on the texts as they are.
"""

import math

# Groups of lookalikes. A character may be in several.
_LATIN = """
o0q
i1l|!
s5$
b8h6
z2
ce
g9
u v y
"""
_HAN = """
未末木本术 己已巳 日曰目自白 土士工 入人八 大太犬天夫 千干于 微徽 买卖 王玉主 田由甲申电 牛午 石右 刀力刃 几儿九 贝见
今令 免兔 治冶 拆折 清情请晴睛 洗冼 住往佳 元无 准淮 话活 设没 侍待持 低底抵 科料 期朝 滤虑 间问闻 们门闪 保呆 休体
用甩 客容 服报 全金 品晶 师帅 务备 优忧 送迭 专传转 理埋 祖租组 空室 静净 维难 车东 扫归 质盾 家冢 机杌 快块决 小少
下卞 上止 外处 风凤 代伐 戊戌戍成 陈阵 拔拨 场扬汤 蓝篮 辨辩 即既 困因囚 国固 圆园 间闲 冰水永 爪瓜 鸟乌 晚挽 换挠
换唤 提捉 很根 银很 侯候 倍培陪 剂济 厂广 厅厉 名各 向问 味昧 和种 地他池 坏环 坚竖 型刑 复夏 孔扎 字宇 官宫 实买
封卦 带常 幕慕 库厍 式武 录绿 形彤 影彰 径经 怀杯 性姓 抱饱 拉垃 招诏 按桉 挂桂 捐损 捷婕 推堆椎 插擂 播翻 撤撒 放敌
效郊 数教 料枓 施旋 时吋 明朋 星里 景最 暖缓 智暂 更史 材村 杆杵 板扳 林材 架驾 枪抢 柜拒 标示 树村 校较 样祥 核该
格络 桶捅 椅倚 楼搂 模摸 橱厨 次决 款欸 气汽 汗汁 沙砂 油由 治泊 注住 泡炮 泵录 浴俗 海悔 涂徐 消俏 淋琳 深探 温湿
游遊 湿显 满瞒 漆膝 灯打 炉护 点黑 烘哄 热执 焊悍 照熙 燃然 版板 特持 独烛 率卒 环坏 现观 班斑 瓶并 瓷资 生主 男另
画面 畅肠 皮反 盆盘 盒盖 省看 眼根 着看 码玛 硬便 碗婉 磁滋 礼札 私和 秒抄 科抖 程呈 稳隐 穿突 窗窖 立位 童重 端瑞
笔毛 简筒 管菅 箱籍 粉纷 精情 系糸 纯钝 纸低 线钱 细钿 终络 给绘 统绕 维唯 续读 缘绿 网冈 美关 老考 耳茸 肤肢 胎抬
脚却 膜摸 自白 船般 节市 花化 茶荼 荐存 药约 莫草 菜莱 蒸煮 蓄著 虫中 血皿 行何 衣农 表衷 被彼 装袋 裤库 西酉 规视
计汁 订仃 认队 试式 诊珍 询珣 语悟 调凋 贷货 贵责 贴帖 费贯 起赶 超趋 足兄 跑泡 路洛 踏蹈 身射 软钦 轮抡 轻经 辆俩
输愉 边迈 达迭 运远 近迈 进迸 连迟 速谏 遥逼 遮适 邮由 部陪 配酝 酒洒 酸酚 采来 里星 重童 量童 钟种 钢刚 钥钼 铁铣
铝铅 锁销 锅祸 键健 镜境 长氏 防访 阳阴 院完 除徐 险捡 隔融 随隋 雨两 需雷 霜箱 青责 非韭 音昔 页贞 顶项 须顺 预项
领颌 频颁 颜颇 食良 饮软 首百 香杳 骑椅 高亮 鱼渔 鲜鲤 麦夌 黄寅 黑墨 龙尤
"""
# Two that look like one, in an order in which none makes another that came before.
_MERGED = (("ri", "n"), ("rn", "m"), ("nn", "m"), ("in", "m"), ("cl", "d"), ("vv", "w"), ("ii", "u"))
SPECKS = frozenset("~^`´¨_•·˙*")  # marks that OCR sees where there are none; they say nothing of an ad
HAN_SPECKS = SPECKS | frozenset("|'.°\"")  # and those that stand in no Chinese word
MAX_COMPARED = 256  # characters of texts of which one may be a misreading of the other
NUMERALS = frozenset("零〇一二两三四五六七八九十百千万亿半双")


def _groups() -> list[str]:
    return [line.replace(" ", "") for line in _LATIN.split("\n") if line] + _HAN.split()


def _lookalikes() -> dict[str, set[str]]:
    """Return for each character those that share a group with it, itself included."""
    alike: dict[str, set[str]] = {}
    for group in _groups():
        for char in group:
            alike.setdefault(char, {char}).update(other for other in group if not {char, other} <= NUMERALS)
    return alike


def _forms() -> dict[str, str]:
    """Return the form that each character folds into: one for all groups that share a character."""
    form: dict[str, str] = {}
    members: dict[str, str] = {}
    for group in _groups():
        for other in group:
            a, b = form.get(group[0], group[0]), form.get(other, other)
            if a != b:
                members[a] = members.get(a, a) + members.get(b, b)
                form |= dict.fromkeys(members[a], a)
    return form


_ALIKE = _lookalikes()
_FOLDED = str.maketrans(_forms() | dict.fromkeys(SPECKS, ""))
_MERGED_FOLDED = tuple((pair.translate(_FOLDED), one.translate(_FOLDED)) for pair, one in _MERGED)


def fold_lookalikes(text: str) -> str:
    """Return normalized `text` without specks and with all that looks alike made equal, two letters like one included.

    What OCR reads as a number keeps no meaning: the result is for comparing only.
    """
    folded = fold_characters(text)
    for pair, one in _MERGED_FOLDED:
        folded = folded.replace(pair, one)
    return folded


def fold_characters(text: str) -> str:
    """Return as `fold_lookalikes` does, but two letters stay two: one lost letter leaves the rest as it is."""
    return text.translate(_FOLDED)


def are_lookalikes(char: str, other: str) -> bool:
    """Return whether OCR may take one character for the other; two Chinese numerals never are."""
    return char == other or other in _ALIKE.get(char, ())


def misreading_cost(read: str, meant: str, *, lookalike: float, other: float) -> float:
    """Return the least cost of reading `meant` (length M) as `read` (length R): edits, cheaper between lookalikes.

    A character taken for a lookalike, or two for one ("rn" for "m") and back, cost `lookalike`; a character taken for
    any other, lost, or read where there is none, costs `other`, a speck only `lookalike`. O(R·M), within `MAX_COMPARED`
    characters: longer texts were no misreading of each other, and the cost is infinite unless they are equal.
    """
    if read == meant:
        return 0.0
    if max(len(read), len(meant)) > MAX_COMPARED:
        return math.inf
    before: list[float] = []
    row = [other * column for column in range(len(meant) + 1)]
    for at, char in enumerate(read, 1):
        older, before = before, row
        too_much = lookalike if char in SPECKS else other
        row = [before[0] + too_much]
        for column, wanted in enumerate(meant, 1):
            if char == wanted:
                best = before[column - 1]
            else:
                best = before[column - 1] + (lookalike if wanted in _ALIKE.get(char, ()) else other)
            best = min(best, before[column] + too_much, row[column - 1] + other)
            if at > 1 and (read[at - 2 : at], wanted) in _PAIRS:
                best = min(best, older[column - 1] + lookalike)
            if column > 1 and (meant[column - 2 : column], char) in _PAIRS:
                best = min(best, before[column - 2] + lookalike)
            row.append(best)
    return row[-1]


def _merged_pairs() -> frozenset[tuple[str, str]]:
    """Return the (two characters, one) that look alike, each of the two also as its lookalikes: "c1", "ci" for "d"."""
    return frozenset(
        (first + second, one)
        for pair, one in _MERGED
        for first in _ALIKE.get(pair[0], {pair[0]})
        for second in _ALIKE.get(pair[1], {pair[1]})
    )


_PAIRS = _merged_pairs()

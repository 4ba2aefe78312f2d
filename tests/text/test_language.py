"""The stemmer of a catalog's language."""

import pytest

from intently.text.language import stemmer_of

EN = ["men's running shoes, size 10", "stainless steel kettle", "garden hose 50 ft", "Xbox controller", "car insurance"]
DE = ["Herren Laufschuhe Größe 42", "Edelstahl Wasserkocher", "Gartenschlauch 15 m", "Autoversicherung vergleichen"]
FR = ["Canapé d'angle convertible gris", "Chaussures de randonnée homme", "Téléphone portable débloqué"]
ES = ["Zapatillas de correr para hombre", "Hervidor de agua de acero inoxidable", "Manguera de jardín de 15 m"]
PL = ["Buty do biegania męskie rozmiar 42", "Czajnik elektryczny ze stali nierdzewnej", "Wąż ogrodowy 15 m"]
RU = ["Мужские кроссовки для бега", "Электрический чайник из нержавеющей стали", "Садовый шланг 15 м"]
ZH = ["男士跑步鞋 42码", "不锈钢电热水壶", "花园水管15米", "汽车保险在线报价"]
JA = ["メンズ ランニングシューズ", "ステンレス電気ケトル", "ガーデンホース 15m"]


@pytest.mark.parametrize(
    ("titles", "stemmer"),
    [
        (EN, "english"),
        (EN[:1], "english"),
        (DE, "german"),
        (FR, "french"),
        (ES, "spanish"),
        (PL, "polish"),
        (RU, "russian"),
        (ZH, "english"),  # Chinese words have no endings
        (ZH * 9 + DE, "german"),  # nor do they say anything of the others
        (JA, "english"),  # a language without a stemmer
        (DE * 2 + EN, "german"),
        ([], "english"),
        (["", "12 34", "™ — 5"], "english"),
    ],
)
def test_most_titles_decide(titles, stemmer):
    assert stemmer_of(titles)[0] == stemmer


def test_no_language_has_half_of_the_titles():
    titles = [title for each in (DE, FR, ES) for title in (each * 5)[:15]]  # a third each
    stemmer, share = stemmer_of(titles)
    assert stemmer == "english" and share == 0.0


def test_a_sample_of_a_large_catalog_decides():
    assert stemmer_of(DE * 20_000) == ("german", 1.0)

# ruff: noqa: E501
"""Logs of clicks as other systems and languages write them."""

import json
from pathlib import Path

import pytest

from intently.catalog import Judgements, read_judgements, read_queries
from intently.errors import InputError


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def pairs_of(judged: Judgements) -> dict[tuple[str, str], float]:
    pairs = zip(judged.query_rows, judged.ad_ids.to_pylist(), judged.values.tolist(), strict=True)
    return {(judged.queries[row], ad): value for row, ad, value in pairs}


LOGS: dict[str, tuple[str | bytes, dict[tuple[str, str], float]]] = {
    "a report in German": (
        "Bericht zu Suchbegriffen\n1. Januar 2025 - 31. Januar 2025\nSuchbegriff\tAnzeigen-ID\tKlicks\tImpr.\nkessel\tk1\t1.204\t18.330\nGesamt: Konto\t\t1.204\t18.330\n".encode("utf-16"),
        {("kessel", "k1"): 1204},
    ),
    "a report with a title": (
        'Search terms report\n"1 May 2025"\nSearch term,Ad ID,Clicks,Impr.\nkettle,k1,12,"1,204"\n"Total: Search terms", --,12,"1,204"\n',
        {("kettle", "k1"): 12},
    ),
    "queries that begin with total": (
        "Search term,Ad ID,Clicks,Impr.\ntotal war game,k1,3,9\ntotal,k2,1,4\nTotal: Account,,4,13\n",
        {("total war game", "k1"): 3, ("total", "k2"): 1},
    ),
    "Chinese names": ("查询词,商品ID,点击次数,展示次数\n电热水壶,k1,3,90\n", {("电热水壶", "k1"): 3}),
    "commas of thousands in Chinese": ('查询词,商品ID,点击次数,展示次数\n水壶,k1,"1,204","18,330"\n', {("水壶", "k1"): 1204}),
    "thousands and decimals in German": (
        "Suchbegriff;Anzeigen-ID;Klicks;Impressionen;Conversions\nkessel;k1;1.204;1.018.330;1.204,50\ntopf;k1;2;9;0,50\n",
        {("kessel", "k1"): 1204, ("topf", "k1"): 2},
    ),
    "traditional Chinese names": ("搜索詞,商品編號,點擊次數\n電熱水壺,k1,3\n", {("電熱水壺", "k1"): 3}),
    "Chinese events": ("用户ID,搜索词,广告ID,行为,位置\nu1,电热水壶,k1,曝光,1\nu1,电热水壶,k1,点击,1\n", {("电热水壶", "k1"): 1}),
    "events of Analytics, flattened": (
        "event_name,ga_session_id,search_term,item_id\nview_item_list,s1,kettle,k1\nselect_item,s1,kettle,k1\n",
        {("kettle", "k1"): 1},
    ),
    "events with names of their own": (
        "query,ad_id,event\nkettle,k1,Product Clicked\nkettle,k2,ad_clicked\nkettle,k3,product_list_viewed\nkettle,k1,Order Completed\n",
        {("kettle", "k1"): 1, ("kettle", "k2"): 1},
    ),
    "bots": ("query,ad_id,clicks,session_id,is_bot\nkettle,k1,1,s1,false\nkettle,k2,1,s2,true\nkettle,k3,1,s3,1\n", {("kettle", "k1"): 1}),
    "no query": ("query,ad_id,clicks\n(not set),k1,1\nNULL,k1,1\n(other),k1,1\nnull,k1,2\n", {("null", "k1"): 2}),
    "ids of a data frame": ("query,ad_id,clicks\nkettle,12345.0,3\nkettle,12346.0,1\n", {("kettle", "12345"): 3, ("kettle", "12346"): 1}),
    "ids of a spreadsheet": ('query,ad_id,relevance\nkettle,"=""00123""",2\n', {("kettle", "00123"): 2}),
    "ratings of judges": ("query,docid,rating\nkettle,k1,3\nkettle,k2,0\n", {("kettle", "k1"): 3, ("kettle", "k2"): 0}),
    "ratings of products": ("query,ad_id,rating,clicks\nkettle,k1,4.5,3\n", {("kettle", "k1"): 3}),
    "User Behavior Insights, flattened": (
        "action_name,user_query,client_id,event_attributes.object.object_id,event_attributes.position.ordinal\nclick,kettle,c1,k1,2\nimpression,kettle,c1,k2,1\n",
        {("kettle", "k1"): 1},
    ),
    "counted events of Analytics": (
        '# ----\n# Free form 1\n# 20250101-20250131\n# ----\nSearch term,Item ID,Event name,Event count\nkettle,k1,select_item,12\nkettle,k1,view_item_list,"1,100"\nkettle,k2,view_item_list,9\n',
        {("kettle", "k1"): 12},
    ),
    "words for yes": ("query,ad_id,clicked\nkettle,k1,ja\nkettle,k2,nein\nkettle,k3,Y\n水壶,k1,是\n", {("kettle", "k1"): 1, ("kettle", "k3"): 1, ("水壶", "k1"): 1}),
}  # fmt: skip


@pytest.mark.parametrize("name", LOGS)
def test_read_as_meant(tmp_path, name):
    text, wanted = LOGS[name]
    path = write(tmp_path / "log.csv", text)
    judged = read_judgements(path)
    assert pairs_of(judged) == wanted
    assert set(judged.queries) <= set(read_queries(path).texts)


def test_what_is_left_out_or_not_used_is_told(tmp_path):
    rows = "kettle,12.0,5,2,true,u,1\nkettle,13.0,2,1,,u,1\n(not set),13.0,1,1,,u,1\n"
    judged = read_judgements(write(tmp_path / "log.csv", "query,ad_id,clicks,impressions,is_bot,url,ctr\n" + rows))
    assert judged.notes == (
        "1 rows left out that are marked as of bots, or as invalid",
        "1 rows left out without a query: NULL, (not set), (other)",
        "1 ids without what a spreadsheet or data frame added to them (=, ', .0)",
        "1 rows with more clicks than impressions",
        "columns not used: url, ctr",
    )


@pytest.mark.parametrize(("text", "problem"), [
    ("query,ad_id,clicks\nkettle,1.23E+12,3\n", r":2 field 'ad_id': '1.23E\+12' is an id that a spreadsheet has rounded"),
    ("query,ad_id,relevance\nkettle,1.23E+12,3\n", r":2 field 'ad_id': '1.23E\+12' is an id that a spreadsheet has rounded"),
    ("query,ad_id,clicks\nkettle,NULL,3\n", r":2 field 'ad_id': 'NULL' stands for no id"),
    ("query,ad_id,clicks,impressions\nkettle,k1,3,1.204\n", r":2 field 'impressions': 1.204 impressions; give whole numbers"),
    ("query,ad_id,clicks\nkettle,k1,1.204\n", r":2 field 'clicks': 1.204 clicks; give whole numbers"),
    ("query,ad_id,views\nkettle,k1,5\n", r'neither relevance nor clicks: query, ad_id, views; say which column it is: --map-clicks "COLUMN=clicks"'),
    ("Suchbegriff;Anzeigengruppe;Klicks\nkessel;G;3\n", r"names no ad, only 'Anzeigengruppe'; add the column 'Ad ID'"),
])  # fmt: skip
def test_refused_with_the_way_out(tmp_path, text, problem):
    with pytest.raises(InputError, match=problem):
        read_judgements(write(tmp_path / "log.csv", text))


def test_names_in_other_languages_can_be_mapped(tmp_path):
    path = write(tmp_path / "log.csv", "Suchbegriff;Anzeigengruppe;Klicks;Punkte\nkessel;G;3;7\n")
    assert pairs_of(read_judgements(path, columns={"Anzeigengruppe": "ad_id"})) == {("kessel", "G"): 3}
    chosen = {"Anzeigengruppe": "ad_id", "Punkte": "relevance"}
    assert pairs_of(read_judgements(path, columns=chosen)) == {("kessel", "G"): 7}


def test_queries_that_look_like_headers_of_other_files_are_queries(tmp_path):
    path = write(tmp_path / "queries.txt", "search term report\nquery planner, ad id\nkettle; pot\n")
    assert read_queries(path).texts == ("search term report", "query planner, ad id", "kettle; pot")


def test_json_without_ids_of_ads_is_an_error_of_its_line(tmp_path):
    lines = [{"query": "kettle", "ad_id": "k1", "relevance": 1}, {"query": "kettle", "relevance": 1}]
    with pytest.raises(InputError, match=r":2 field 'ad_id': empty"):
        read_judgements(write(tmp_path / "log.jsonl", "\n".join(map(json.dumps, lines))))

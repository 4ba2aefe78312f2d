"""Names of columns in other languages than English: of Western Europe, Chinese, Japanese, Korean.

A name stands for an English one, which is a field or what payloads call it, so that `price < 50` filters any feed.
"""

from collections.abc import Iterable, Mapping
from functools import cache

from intently.catalog.fields import Field, fold_name
from intently.text.fold import fold, spell_out
from intently.text.normalize import has_han, normalize

# English name → names, written as `fold_name` writes them; blanks separate, the first that a header has counts.
_NAMES = {
    "ad_id": "artikelnummer artikel_nr artikelnr artikel_id produktnummer produkt_id anzeigen_id identifiant "
    "id_produit référence_produit id_de_l_annonce référence identificador id_producto id_de_producto id_del_anuncio "
    "referencia id_prodotto codice_prodotto id_do_produto 商品id 商品编号 商品编码 产品id 产品编号 广告id 创意id "
    "货号 编号 sku编号 宝贝id 宝贝编号 广告编号 创意编号 商品コード 商品番号 広告id 상품코드 상품번호 상품_id 광고_id",
    "title": "titel produkttitel produktname artikelname produktbezeichnung artikelbezeichnung bezeichnung titre "
    "titre_du_produit nom_du_produit désignation libellé nom título titulo título_del_producto nombre_del_producto "
    "nombre titolo nome_prodotto nome_do_produto 标题 商品标题 商品名称 产品标题 产品名称 广告标题 创意标题 "
    "宝贝标题 名称 商品名 タイトル 商品タイトル 広告タイトル 상품명 제목",
    "description": "beschreibung produktbeschreibung artikelbeschreibung description_du_produit descriptif "
    "descripción descripcion descripción_del_producto descrizione descrição 描述 商品描述 产品描述 广告描述 广告文案 "
    "商品详情 详情 简介 説明 商品説明 説明文 상품설명",
    "keywords": "schlüsselwörter schlagwörter suchbegriffe mots_clés mots_cles palabras_clave parole_chiave "
    "palavras_chave 关键词 关键字 竞价词 キーワード 키워드",
    "negative_keywords": "auszuschließende_keywords auszuschließende_schlüsselwörter mots_clés_à_exclure "
    "palabras_clave_negativas parole_chiave_escluse palavras_chave_negativas 否定词 否定关键词 排除词 除外キーワード",
    "brand": "marke marque marca 品牌 ブランド 브랜드",
    "manufacturer": "hersteller fabricant fabricante produttore 厂商 制造商 メーカー",
    "category": "kategorie produktkategorie warengruppe catégorie categorie catégorie_de_produit categoría "
    "categoria categoría_del_producto 类目 分类 类别 商品类目 商品分类 商品类别 カテゴリ カテゴリー 카테고리",
    "product_type": "produkttyp type_de_produit tipo_de_producto tipo_di_prodotto 商品类型",
    "bid": "gebot max_cpc_gebot enchère enchere enchère_max puja puja_máxima lance 出价 竞价 点击出价 入札単価 "
    "入札価格",
    "max_cpc": "maximaler_cpc cpc_max cpc_máx cpc_máximo 最高每次点击费用 上限クリック単価",
    "criterion_type": "kriteriumstyp type_de_critère tipo_de_criterio 条件类型",
    "status": "statut état estado stato 状态 商品状态 宝贝状态 上下架状态 "
    "上架状态 投放状态 推广状态 启用状态 ステータス 상태 판매상태",
    "ad_status": "anzeigenstatus état_de_l_annonce statut_de_l_annonce estado_del_anuncio stato_annuncio 广告状态 "
    "创意状态 広告の状態",
    "campaign_status": "kampagnenstatus état_de_la_campagne estado_de_la_campaña 计划状态 广告系列状态",
    "ad_group_status": "anzeigengruppenstatus état_du_groupe_d_annonces estado_del_grupo_de_anuncios 单元状态 "
    "广告组状态",
    "approval_status": "freigabestatus état_d_approbation estado_de_aprobación 审核状态",
    "availability": "verfügbarkeit lieferbarkeit lagerstatus disponibilité disponibilite disponibilidad "
    "disponibilità disponibilidade 库存状态 是否有货 在庫状況",
    "quantity": "bestand lagerbestand stückzahl quantité_en_stock existencias inventario estoque giacenza 库存 "
    "库存数量 宝贝数量 库存量 在庫 在庫数 재고 재고수량",
    "published": "veröffentlicht aktiv aktiviert sichtbar freigegeben publié publiée actif publicado publicada activo "
    "attivo ativo 是否上架 是否启用 启用_暂停 是否在售",
    "deleted": "gelöscht supprimé eliminado 是否删除",
    "paused": "pausiert gesperrt 是否暂停",
    "start_date": "startdatum gültig_ab date_de_début fecha_de_inicio data_inizio 开始日期 开始时间 投放开始日期 "
    "開始日",
    "end_date": "enddatum gültig_bis ablaufdatum date_de_fin date_d_expiration fecha_de_finalización fecha_de_fin "
    "fecha_de_caducidad data_fine 结束日期 结束时间 投放结束日期 过期时间 終了日",
    "countries": "zielländer zielland pays_ciblés pays_cible países_de_destino país_de_destino 投放国家 目标国家",
    "languages": "zielsprachen sprachen langues idiomas 投放语言 目标语言",
    "devices": "geräte zielgeräte appareils dispositivos 投放设备 目标设备",
    "country": "land pays país 国家",
    "language": "sprache langue idioma 语言 言語",
    "device": "gerät appareil dispositivo 设备 デバイス",
    "price": "preis prix precio prezzo preço 价格 售价 单价 商品价格 一口价 京东价 単価 価格 販売価格 가격 판매가",
    "sale_price": "angebotspreis sonderpreis prix_soldé prix_promotionnel precio_de_oferta prezzo_scontato 促销价 "
    "促销价格 セール価格",
    "link": "produktlink lien enlace 链接 商品链接 リンク",
    "image_link": "bildlink bild_link lien_image enlace_imagen enlace_a_imagen 图片链接 主图链接 商品画像リンク",
    "condition": "zustand état_du_produit 成色",
    "color": "farbe couleur 颜色",
    "size": "größe taille talla 尺码",
    "item_group_id": "artikelgruppen_id id_de_groupe_d_articles 商品组id",
    "campaign": "kampagne campagne campaña campagna campanha 广告系列 推广计划 キャンペーン",
    "ad_group": "anzeigengruppe groupe_d_annonces grupo_de_anuncios gruppo_di_annunci 广告组 推广单元 広告グループ",
    "final_url": "finale_url url_finale url_final 最终到达网址 最終ページ_url",
    "match_type": "übereinstimmungstyp keyword_übereinstimmungstyp keyword_option option_für_keywords "
    "type_de_correspondance tipo_de_concordancia 匹配类型 "
    "マッチタイプ",
    "search_term": "suchbegriff suchanfrage suchanfragen terme_de_recherche término_de_búsqueda termine_di_ricerca "
    "häufigste_suchanfragen requêtes_les_plus_fréquentes consultas_principales 热门查询 "
    "搜索字词 搜索词 搜索关键词 查询词 检索词 用户搜索词 検索語句 検索キーワード",
    "query": "anfrage requête consulta 查询",
    "search_volume": "suchvolumen volume_de_recherche 搜索量 月均搜索量 检索量",
    "clicks": "klicks clics clic 点击 点击次数 点击量 点击数 クリック数 クリック",
    "impressions": "impressionen impressionen_gesamt einblendungen impresiones impressioni impressões 展示 展示次数 "
    "展示量 展现 展现量 曝光 曝光量 曝光次数 表示回数",
    "conversions": "konversionen conversiones conversioni conversões 转化 转化数 转化量 转化次数 コンバージョン",
    "session": "sitzung sitzungs_id id_de_session id_de_sesión 会话 会话id セッションid",
    "position": "anzeigenposition posición posizione 位置 排名 掲載順位",
    "event": "ereignis événement evento 事件 行为 イベント",
    "ad_type": "anzeigentyp type_d_annonce tipo_de_anuncio 广告类型 広告の種類",
    **{f"headline_{at}": f"anzeigentitel_{at} titre_{at} título_{at} 标题_{at} 広告見出し_{at}" for at in range(1, 16)},
    **{f"description_{at}": f"textzeile_{at} beschreibung_{at} descripción_{at} 描述_{at} 説明文_{at}"
       for at in range(1, 6)},
}  # fmt: skip
_ENGLISH = {word: name for name, words in _NAMES.items() for word in words.split()}


def in_english(name: str) -> str:
    """Return the English name of a column, folded; its own if it is English or not known."""
    folded = fold_name(name)
    return _english(folded) or folded


def _english(folded: str) -> str:
    """Return the English name that a folded one stands for, "" if none.

    Traditional Chinese characters may stand for simplified ones, and letters for those with accents and umlauts.
    """
    found = _ENGLISH.get(folded) or _without_accents().get(folded)
    return found or (_ENGLISH.get(normalize(folded), "") if has_han(folded) else "")


@cache
def _without_accents() -> dict[str, str]:
    """Return the names as exports write them that know no accents: `verfuegbarkeit`, `descripcion`."""
    return {plain(word): name for plain in (fold, spell_out) for word, name in _ENGLISH.items()}


def english_names(header: Iterable[str], fields: Iterable[Field]) -> Mapping[str, str]:
    """Return folded name → English name of the columns that are in another language.

    A column whose English name, or another name of the same field, is in the header is left as it is.
    """
    folded = list(dict.fromkeys(fold_name(name) for name in header))
    order = {word: at for at, word in enumerate(_ENGLISH)}
    alike = {name: field.columns for field in fields for name in field.columns}
    taken = {each for name in folded for each in alike.get(name, (name,))}
    found: dict[str, str] = {}
    known = {name: english for name in folded if (english := _english(name)) and name != english}
    for name, english in sorted(known.items(), key=lambda each: order.get(each[0], len(order))):
        same = alike.get(english, (english,))
        if taken.isdisjoint(same):
            found[name] = english
            taken.update(same)
    return found

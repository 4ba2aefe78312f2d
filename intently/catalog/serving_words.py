"""The words in which feeds say whether an ad may be served, and the statuses that they mean."""

from collections.abc import Mapping

STATUSES = ("active", "paused", "ended")
ACTIVE, PAUSED, ENDED, UNKNOWN = 0, 1, 2, -1


def _each(words_of: Mapping[int, str]) -> dict[str, int]:
    """Return what each word means; commas separate words."""
    return {word: meaning for meaning, words in words_of.items() for word in words.split(", ")}


STATUS_WORDS = _each(
    {
        ACTIVE: "active, enabled, enable, eligible, running, serving, eligible (limited), eligible (learning), "
        "limited, on, true, 1, yes, online, published, publish, delivering, approved, live, started, learning, "
        "learning limited, eligible (limited by budget), bid strategy learning, open, visible, 启用, 已启用, "
        "有效, 投放中, 上架, 已上架, 在售, 正常, 推广中, 有効, 配信中, aktiv, aktiviert, activé, activée, actif, "
        "activo, activa, habilitado, habilitada, attivo, attiva, ativo, ativado, freigeschaltet, läuft, "
        "eingeschaltet, ein, veröffentlicht, 正在投放, 正常投放, 出售中, 启动, 已启动, 开启, 已开启, 开, 生效, 生效中, "
        "已生效, 上线, 已上线, 销售中, 审核通过, ad is serving, ok, normal, activated, on sale, for sale, "
        "available, 판매중, 활성, 사용, publié, publiée, publicado, publicada, diffusion en cours, en línea, "
        "en ligne",
        PAUSED: "paused, pause, ineligible, inactive, disabled, draft, pending, off, false, 0, no, suspended, hidden, "
        "not eligible, incomplete, campaign paused, ad group paused, campaign_paused, adset_paused, staging, private, "
        "unpublished, not delivering, not running, stopped, stop, scheduled, in review, under review, "
        "pending review, in draft, disapproved, rejected, not approved, with issues, on hold, blocked, unlisted, "
        "invisible, waiting, campaign suspended, not published, out of budget, account paused, ad set paused, "
        "user paused, 暂停, 已暂停, 停用, 已停用, 下架, 已下架, 草稿, 未启用, 待审核, 审核中, 未通过, 無効, "
        "一時停止, 停止中, pausiert, inaktiv, deaktiviert, entwurf, en pause, suspendu, suspendue, inactif, "
        "désactivé, désactivée, brouillon, en pausa, pausado, pausada, inactivo, inactiva, inhabilitado, "
        "deshabilitado, borrador, in pausa, inattivo, inativo, -1, angehalten, ausgeschaltet, aus, in prüfung, "
        "wird geprüft, ausgesetzt, gesperrt, abgelehnt, offline, unveröffentlicht, nicht aktiv, versteckt, "
        "未投放, 审核不通过, 审核拒绝, 已拒绝, 未审核, 待投放, 下线, 已下线, 关闭, 已关闭, 关, 禁用, 已禁用, "
        "停用中, 暂停推广, 暂停投放, 计划暂停, 单元暂停, 不宜推广, 未上架, 待上架, 仓库中, "
        "account suspended, payment failed, budget exhausted, 预算不足, "
        "余额不足, needs review, unapproved, not active, limited by policy, inactive (not published), "
        "pausado por el usuario, en revisión, 판매중지, 비활성, 일시중지, 품절, not serving, not live, "
        "deactivated, switched off, no longer running, unavailable, out of stock, sold out, 缺货, 售罄",
        ENDED: "ended, removed, deleted, archived, expired, completed, campaign removed, ad group removed, trash, "
        "discontinued, terminated, finished, canceled, cancelled, closed, inactive (ended), sold, 已删除, "
        "已结束, 已归档, 已过期, 过期, 終了, 削除済み, beendet, entfernt, gelöscht, archiviert, abgelaufen, "
        "supprimé, supprimée, terminé, terminée, archivé, archivée, complete, retired, obsolete, out of date, "
        "no longer available, end of life, 已移除, 已失效, 失效, 删除, 移除, 结束, 过期了, 作废, 已作废, 停产, "
        "已停产, 판매종료, 종료, 삭제됨, auslaufartikel, eingestellt, storniert, expiré, expirée, eliminado, "
        "eliminada, quitado, quitada, finalizado, finalizada, terminado, terminada, archivado, archivada, "
        "caducado, caducada, rimosso, rimossa, removido",
    }
)  # fmt: skip
REVIEW_WORDS = _each(
    {
        ACTIVE: "approved, approved (limited), approved_limited, approved limited, active, activelimited, "
        "active limited, eligible, area of interest only, eligible (limited), 通过, 已通过, 审核通过, "
        "approved with conditions, limited, ok, 通过审核, genehmigt, freigegeben, genehmigt (eingeschränkt), "
        "approuvé, approuvée, approuvé (limité), approuvée (limitée), aprobado, aprobada, aprobado (limitado), "
        "aprobada (limitada)",
        PAUSED: "disapproved, ineligible, rejected, not approved, under review, pending, in review, pending review, "
        "pending_review, inactive, suspended, approved (not serving), not serving, limited by policy, not eligible, "
        "needs review, unapproved, paused, draft, 审核不通过, 审核拒绝, 未审核, 驳回, 已驳回, in prüfung, "
        "ausstehend, blocked, flagged, error, failed, site suspended, unknown, 拒绝, 未通过, 审核中, 待审核, "
        "已拒绝, abgelehnt, nicht genehmigt, wird geprüft, refusé, refusée, en cours d'examen, rechazado, "
        "rechazada, en revisión",
    }
)  # fmt: skip
STOCK_WORDS = _each(
    {
        ACTIVE: "in stock, instock, available, preorder, pre order, backorder, on backorder, onbackorder, "
        "available for order, limited availability, limitedavailability, online only, true, yes, 1, 有货, 现货, "
        "auf lager, presale, back order, 预订, 预购, 接受预订, 可预订, 延期交货, 库存充足, 少量库存, 库存紧张, "
        "库存有限, 库存少, 有库存, 有, 少量, vorbestellbar, ab lager, sofort verfügbar, ab lager lieferbar, "
        "auf bestellung, nachbestellung, nachbestellt, nachbestellbar, bestellbar, begrenzt verfügbar, "
        "limited stock, low in stock, few left, in stock online, in store, special order, build to order, "
        "on order, on demand, disponible sur commande, available on request, available to order, "
        "available for pre order, available for preorder, sur commande uniquement, 在庫わずか, お取り寄せ, "
        "예약판매, 재고있음, 판매중, available now, low stock, limited, made to order, madetoorder, "
        "in store only, instoreonly, y, t, 是, 充足, 预售, 可售, 在庫あり, 予約受付中, vorrätig, lieferbar, "
        "verfügbar, sofort lieferbar, vorbestellt, vorbestellung, ja, en stock, disponible, précommande, "
        "sur commande, oui, en existencias, en existencia, hay existencias, reserva, sí, disponibile, "
        "disponibilità immediata, em estoque, disponível",
        PAUSED: "out of stock, outofstock, sold out, soldout, unavailable, not available, false, no, 0, 缺货, 无货, "
        "售罄, nicht auf lager, ausverkauft, oos, no stock, not in stock, none in stock, out, coming soon, "
        "reserved, no longer in stock, 已售完, 售完, 补货中, 断货, 无, 到货通知, vergriffen, fehlt, "
        "kein bestand, nicht bestellbar, zurzeit vergriffen, en rupture temporaire, 品切, 売り切れ, 完売, 품절, "
        "재고없음, 일시품절, n, f, 否, 无库存, 已售罄, 在庫なし, 品切れ, nicht vorrätig, nicht lieferbar, "
        "nicht verfügbar, nein, rupture, rupture de stock, en rupture de stock, en rupture, épuisé, épuisée, "
        "indisponible, non, agotado, agotada, sin stock, sin existencias, no disponible, fuera de stock, "
        "non disponibile, esaurito, fora de estoque, esgotado, indisponível",
        ENDED: "auslaufartikel, end of life, eol, no longer available, 下架, 已下架, 停售, 已停售, 已停产, 販売終了, "
        "生産終了, 단종, discontinued, eingestellt, 停产",
    }
)  # fmt: skip
FLAGS = _each(
    {
        True: "true, 1, 1.0, yes, y, t, on, x, ✓, 是, wahr, ja, vrai, oui, verdadero, sí, si, ads, all, enabled, 开, "
        "有, 예, はい, sim, checked",
        False: "false, 0, 0.0, no, n, f, off, -1, disabled, 关, 无, 아니오, いいえ, não, 否, falsch, nein, faux, non, "
        "falso",
    }
)  # fmt: skip

# Cells that say nothing, folded.
NOTHING = frozenset(
    (
        "", "#n/a", "(null)", "-", "--", "00.00.0000", "00/00/0000", "0000-00-00", "0000-00-00 00:00:00", "[]",
        "\\n", "ilimitado", "jamais", "kein enddatum", "n/a", "nan", "nat", "never", "nie", "no end date",
        "none", "none set", "not set", "null", "nunca", "ohne enddatum", "ongoing", "open end", "sans fin",
        "unbefristet", "unbegrenzt", "unlimited", "illimité", "不限", "无限期", "永久", "永久有效", "無期限",
        "长期", "长期有效",
    )
)  # fmt: skip

"""Training the BRIDGE encoder on a toy catalog: what plain is, what is learnt, and that a stop leaves no trace."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from intently.build.training.bridge import BridgeTrainingSettings, _Run, train_bridge
from intently.build.training.distillation import DistillationSettings
from intently.build.training.negatives import Asked, NegativeSettings
from intently.build.training.sampling import PairSampler, SamplingSettings
from intently.build.training.schedule import Order, ScheduleSettings
from intently.build.training.sources import BridgeData, Source
from intently.errors import InputError, SettingsError
from intently.models.device import autocast
from intently.models.encoder.backbone import CompactBackbone
from intently.models.encoder.embedder import Embedder
from intently.models.encoder.features import FeatureStore, augmentation_features
from intently.models.encoder.model import BridgeEncoder, Encoded
from intently.models.encoder.settings import EncoderSettings

KINDS = ("robot", "vacuum", "drill", "pan", "lamp", "kettle", "shoe", "扫地", "水壶", "电灯")
COLORS = ("red", "blue", "electric", "led", "红", "热")
ADS = tuple(f"{color} {kind}" for kind in KINDS for color in COLORS)
OFF = EncoderSettings().without_parts()
LATE = replace(OFF, token_dimension=8)
ALL = EncoderSettings(num_heads=2, token_dimension=8).with_all_parts()
# What a step tells, with a teacher, of an encoder of all parts.
TOLD = {"contrastive", "late contrastive", "distillation", "late distillation", "regularisation", "accuracy"}
TINY = BridgeTrainingSettings(
    num_steps=12,
    batch_size=8,
    learning_rate=5e-3,
    typo_rate=0.3,
    schedule=ScheduleSettings(admission_share=0.3),
    negatives=NegativeSettings(
        num_per_query=2, hard_first=1, hard_last=5, mid_first=6, mid_last=20, refresh_steps=4, num_queued=10, margin=0.2
    ),
    parts_rate=2.0,
    distillation=DistillationSettings(weight=0.5, temperature=0.5, num_proposed=1, proposed_depth=8),
    num_held_out=6,
    eval_steps=6,
    checkpoint_steps=3,
)


def embed(texts):
    drawn = [np.random.default_rng(list(text.encode())).normal(size=16) for text in texts]
    return np.array(drawn, dtype=np.float32)


def make_data(*names: str) -> BridgeData:
    clicks = [(f"{kind} for {color}", row) for row, (kind, color) in enumerate((k, c) for k in KINDS for c in COLORS)]
    generated = [[f"{color} {color} {kind}", f"{kind} {color}"] for kind in KINDS for color in COLORS]
    keywords = [[kind, color] for kind in KINDS for color in COLORS]
    every = {
        "clicks": Source("clicks", tuple(q for q, _ in clicks), np.array([ad for _, ad in clicks])),
        "generated": Source.of_ads("generated", generated),
        "keywords": Source.of_ads("keywords", keywords),
    }
    features = FeatureStore(augmentation_features(embed, generated, 4), augmentation_features(embed, keywords, 4))
    irrelevant = Source(
        "irrelevant", tuple(q for q, _ in clicks[::3]), (np.array([ad for _, ad in clicks[::3]]) + 7) % 60
    )
    return BridgeData(ADS, tuple(every[name] for name in names or every), features, irrelevant)


def make_encoder(make_student, parts: EncoderSettings, seed: int = 0) -> BridgeEncoder:
    return BridgeEncoder(CompactBackbone(make_student(seed).backbone), replace(parts, seed=seed))


def overlap(texts):
    """A teacher that counts the words which query and ad share."""
    return np.array([[len(set(text.split()) & set(ad.split())) for ad in ADS] for text in texts], dtype=np.float64)


def forbidden(texts):
    """A teacher that nobody may ask."""
    raise AssertionError("the teacher was asked")


def assert_same(one: BridgeEncoder, other: BridgeEncoder) -> None:
    for (name, left), right in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6, msg=name)


class Interruption(Exception):
    pass


@pytest.mark.parametrize(
    ("order", "stop_after", "average_share"),
    [
        (Order.INTERLEAVED, 5, 0.0),
        (Order.INTERLEAVED, 11, 0.5),  # averaged before the stop already
        (Order.SEQUENTIAL, 8, 0.3),
        (Order.CONCATENATED, 8, 0.0),
    ],
)
def test_resumed_is_the_run_that_was_not_interrupted(make_student, tmp_path, order, stop_after, average_share):
    chosen = replace(TINY, schedule=replace(TINY.schedule, order=order), average_share=average_share)
    data, tokenizer = make_data(), make_student(0).tokenizer

    def run(path, seed, progress=None):
        encoder = make_encoder(make_student, ALL, seed)
        checkpoint = tmp_path / path
        return train_bridge(encoder, tokenizer, data, chosen, checkpoint=checkpoint, teacher=overlap, progress=progress)

    def interrupt(stage, done, total, note):
        if stage == "Training the encoder" and done == stop_after:
            raise Interruption

    whole = run("whole.pt", 0)
    with pytest.raises(Interruption):
        run("c.pt", 0, interrupt)
    steps = []

    def count(stage, done, total, note):
        if "accuracy" in note:  # not what is told in between
            steps.append(done)

    # Other random weights: everything must come from the checkpoint.
    resumed = run("c.pt", 1, count)
    assert steps == list(range((stop_after - 1) // 3 * 3 + 1, 13))
    left = {path.name for path in tmp_path.iterdir()}
    # The last checkpoint is of step 9, and its ads' embeddings are those of step 8.
    assert left == {"whole.pt", "whole.ads-8.npy", "c.pt", "c.ads-8.npy"}
    assert_same(whole.encoder, resumed.encoder)
    assert resumed.losses == pytest.approx(whole.losses, rel=1e-4)
    assert set(whole.losses) == TOLD
    embedders = [Embedder(one.encoder, tokenizer) for one in (whole, resumed)]
    tokens, others = (one.read_ads(ADS, data.features).tokens for one in embedders)
    assert np.abs(tokens.values.astype(int) - others.values).max() <= 1  # a level, by rounding
    begun = Embedder(make_encoder(make_student, ALL, 0), tokenizer).read_ads(ADS, data.features).tokens
    assert np.abs(tokens.values.astype(int) - begun.values).max() > 5
    assert resumed.num_drawn == whole.num_drawn
    assert sum(whole.num_drawn.values()) == 12 * 8
    assert [look.step for look in resumed.history] == [look.step for look in whole.history] == [0, 6, 12]
    for one, other in zip(whole.history, resumed.history, strict=True):
        assert one.reciprocal_ranks == pytest.approx(other.reciprocal_ranks)
        assert one.head_entropies == pytest.approx(other.head_entropies, rel=1e-3)


def test_the_seed_decides(make_student, tmp_path):
    data, tokenizer = make_data(), make_student(0).tokenizer
    trained = [
        train_bridge(
            make_encoder(make_student, ALL), tokenizer, data, replace(TINY, seed=seed), checkpoint=tmp_path / f"{n}.pt"
        )
        for n, seed in enumerate([0, 0, 1])
    ]
    assert trained[0].losses == trained[1].losses != trained[2].losses
    assert trained[0].history == trained[1].history
    assert not trained[0].encoder.training


def test_plain_is_plain_fine_tuning(make_student, tmp_path):
    """The slow twin: one source, the batch's own negatives, one loss, AdamW, and nothing else."""
    data, student = make_data("clicks"), make_student(0)
    chosen = replace(TINY, num_steps=6, typo_rate=0.0, num_held_out=0).plain()
    trained = train_bridge(
        make_encoder(make_student, OFF),
        student.tokenizer,
        data,
        chosen,
        checkpoint=tmp_path / "c.pt",
        teacher=forbidden,
    )
    backbone = make_student(0).backbone
    backbone.word_embeddings.sparse = False
    words = backbone.word_embeddings.weight
    matrices = [p for p in backbone.parameters() if p.ndim > 1 and p is not words]
    vectors = [p for p in backbone.parameters() if p.ndim == 1]
    dense = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}])
    lazy = torch.optim.SparseAdam([words])
    sampler = PairSampler(np.ones(60), 8, (0, 2, 0))
    for step in range(6):
        rate = 5e-3 * min((step + 1) / 1, (6 - step) / 5)
        pairs = sampler.batch(step)
        sides = []
        for texts in ([data.queries[pair] for pair in pairs], [ADS[ad] for ad in data.pairs.ad_rows[pairs]]):
            ids, lengths = (torch.from_numpy(array) for array in student.tokenizer.encode(texts, 64))
            with autocast(ids.device):
                sides.append(backbone.pool(backbone.encode(ids, lengths)[0], lengths))
        similarity = sides[0] @ sides[1].T / 0.05
        own = torch.arange(8)
        loss = F.cross_entropy(similarity, own) + F.cross_entropy(similarity.T, own)
        backbone.zero_grad()
        loss.backward()
        touched = words.grad.abs().sum(dim=1).nonzero()[:, 0]
        words.grad = torch.sparse_coo_tensor(touched[None], words.grad[touched], words.shape, check_invariants=True)
        torch.nn.utils.clip_grad_norm_(matrices + vectors, 1.0)
        for optimizer in (dense, lazy):
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
    # Not the weights: attention ignores the keys' bias, whose gradient is rounding errors that Adam makes steps of.
    ids, lengths = (torch.from_numpy(array) for array in student.tokenizer.encode(ADS, 64))
    with torch.no_grad():
        expected, found, before = (
            one.pool(one.encode(ids, lengths)[0], lengths)
            for one in (backbone, trained.encoder.backbone.network, make_student(0).backbone)
        )
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)
    assert (found - before).abs().max() > 0.2
    assert set(trained.losses) == {"contrastive", "accuracy"}
    assert trained.history == ()
    assert trained.forgetting() == {}


def test_late_interaction_is_learnt_beside_the_cosine(make_student, tmp_path):
    """Of queries that nobody asked in this form, the tokens alone come to know the answers."""
    data, tokenizer, told = make_data(), make_student(0).tokenizer, []
    chosen = replace(TINY, num_steps=40, batch_size=24, num_held_out=0, checkpoint_steps=1000)
    run = _Run(make_encoder(make_student, LATE), tokenizer, data, chosen, overlap, lambda *_: None)
    while run.step < chosen.num_steps:
        run.take_step()
        told.append(dict(run.losses))
    for name in ("late contrastive", "late distillation", "contrastive"):
        first = next(losses[name] for losses in told if name in losses)
        assert told[-1][name] < 0.8 * first, name
    queries = [f"{color} {kind} for {color}" for kind in KINDS for color in COLORS]
    recalls = []
    for encoder in (make_encoder(make_student, LATE), run._encoder.eval()):
        embedder = Embedder(encoder, tokenizer)
        tokens = embedder.read_ads(ADS).tokens
        scores = [tokens.scores_of(own, np.arange(len(ADS))) for own in embedder.read_queries(queries).tokens]
        recalls.append(float(np.mean([row in np.argsort(-own)[:3] for row, own in enumerate(scores)])))
    assert recalls[1] > max(0.9, recalls[0] + 0.05), recalls


@pytest.mark.parametrize("parts", [OFF, ALL], ids=["plain", "all"])
def test_a_toy_catalogue_is_learnt(make_student, tmp_path, parts):
    data, tokenizer = make_data(), make_student(0).tokenizer
    chosen = replace(TINY, num_steps=60, batch_size=24, num_held_out=12, eval_steps=30, checkpoint_steps=1000)
    trained = train_bridge(
        make_encoder(make_student, parts), tokenizer, data, chosen, checkpoint=tmp_path / "c.pt", teacher=overlap
    )
    assert not (tmp_path / "c.pt").exists()
    # None of these was learnt in this form, and a third of what clicks taught was held out.
    queries = [f"{color} {kind} for {color}" for kind in KINDS for color in COLORS]
    recalls = []
    for encoder in (make_encoder(make_student, parts), trained.encoder):
        embedder = Embedder(encoder, tokenizer)
        scores = embedder.embed_queries(queries) @ embedder.embed_ads(ADS, data.features).T
        recalls.append(float(np.mean([row in np.argsort(-own)[:3] for row, own in enumerate(scores)])))
    assert recalls[1] > max(0.9, recalls[0] + 0.2)
    first, last = trained.history[0].reciprocal_ranks, trained.history[-1].reciprocal_ranks
    assert set(first) == {"clicks", "generated", "keywords"}
    assert min(last.values()) > 0.9
    assert sum(last.values()) > sum(first.values())
    assert all(number > 0 for number in trained.num_drawn.values())


def test_embeddings_are_written_once_a_refresh(make_student, tmp_path, caplog):
    data, student = make_data(), make_student(0)
    run = _Run(make_encoder(make_student, OFF), student.tokenizer, data, TINY, None, lambda *_: None)
    checkpoint, stamps = tmp_path / "c.pt", []
    for step in range(1, 9):
        run.take_step()
        run.store(checkpoint)
        files = [path for path in tmp_path.iterdir() if path != checkpoint]
        # None is needed where the next step makes new ones.
        assert [path.name for path in files] == ([] if step % 4 == 0 else [f"c.ads-{step // 4 * 4}.npy"])
        stamps.append(tuple(path.stat().st_mtime_ns for path in files))
    assert len(set(stamps)) == 3
    assert checkpoint.stat().st_size < 300_000
    run.take_step()
    run.store(checkpoint)
    other = _Run(make_encoder(make_student, OFF), student.tokenizer, data, TINY, None, lambda *_: None)
    other.restore(checkpoint)
    assert torch.equal(other._negatives.embeddings, run._negatives.embeddings)
    before = (tmp_path / "c.ads-8.npy").stat().st_mtime_ns
    other.store(checkpoint)
    assert (tmp_path / "c.ads-8.npy").stat().st_mtime_ns == before
    (tmp_path / "c.ads-8.npy").write_bytes(b"")
    afresh = _Run(make_encoder(make_student, OFF), student.tokenizer, data, TINY, None, lambda *_: None)
    afresh.restore(checkpoint)  # which says so, keeps the checkpoint aside, and begins again
    assert afresh.step == 0
    assert "c.pt lacks the ads' embeddings" in caplog.text
    assert not checkpoint.exists()
    assert checkpoint.with_name("c.pt.aside-1").exists()


def test_the_union_has_each_source_by_its_even_share(make_student, tmp_path):
    data = make_data()  # of 60 clicks, 120 generated queries, 120 keywords
    chosen = replace(TINY, num_steps=40, num_held_out=0, negatives=NegativeSettings(num_per_query=0))
    chosen = replace(chosen, schedule=ScheduleSettings(order=Order.CONCATENATED, first_share=0.4))
    trained = train_bridge(
        make_encoder(make_student, OFF), make_student(0).tokenizer, data, chosen, checkpoint=tmp_path / "c.pt"
    )
    shares = np.array(list(trained.num_drawn.values())) / (40 * 8)
    assert shares == pytest.approx([0.4, 0.3, 0.3], abs=0.05)


def test_new_parts_move_faster_than_the_backbone(make_student, tmp_path):
    moved = {}
    for rate in (1.0, 20.0):
        encoder = make_encoder(make_student, ALL)
        before = {name: value.clone() for name, value in encoder.state_dict().items()}
        chosen = replace(TINY, num_steps=1, learning_rate=1e-4, parts_rate=rate, weight_decay=0.0)  # no way back
        train_bridge(encoder, make_student(0).tokenizer, make_data(), chosen, checkpoint=tmp_path / "c.pt")
        moved[rate] = {name: float((value - before[name]).abs().max()) for name, value in encoder.state_dict().items()}
    for name in ("merge_scale", "transfer.to_text.log_temperature", "merge.linear.weight", "to_tokens.weight"):
        assert moved[20.0][name] > 10 * moved[1.0][name] > 0
    assert max(value for name, value in moved[20.0].items() if name.startswith("backbone.")) < 5e-4


def conflicting() -> BridgeData:
    """Two sources that use the same few words for different things."""
    words = (
        "a",
        "b",
        "c",
        "d",
        "e",
        "f",
        "g",
        "h",
        "i",
        "j",
        "扫",
        "地",
        "机",
        "器",
        "人",
        "红",
        "色",
        "水",
        "壶",
        "电",
    )
    ads = tuple(f"red {word}" for word in words) + tuple(f"blue {word}" for word in words)
    queries = tuple(f"{word} {other}" for word in words for other in "xyzwv")
    place = np.repeat(np.arange(len(words)), 5)
    return BridgeData(
        ads,
        (
            Source("clicks", tuple(f"{query} pan" for query in queries), place),
            Source("keywords", tuple(f"{query} lamp" for query in queries), (place + 7) % len(words) + len(words)),
        ),
    )


def test_taking_turns_forgets_less_than_one_after_the_other(make_student, tmp_path):
    forgotten = {}
    for order in (Order.INTERLEAVED, Order.SEQUENTIAL):
        chosen = BridgeTrainingSettings(
            num_steps=100,
            batch_size=16,
            learning_rate=5e-3,
            typo_rate=0.0,
            schedule=ScheduleSettings(order=order),
            negatives=NegativeSettings(num_per_query=0, judged=False),
            num_held_out=20,
            eval_steps=25,
            checkpoint_steps=1000,
        )
        trained = train_bridge(
            make_encoder(make_student, OFF),
            make_student(0).tokenizer,
            conflicting(),
            chosen,
            checkpoint=tmp_path / f"{order}.pt",
        )
        # In sequence the clicks are learnt last, over which the keywords are forgotten.
        assert max(look.reciprocal_ranks["keywords"] for look in trained.history) > 0.6
        forgotten[order] = trained.forgetting()["keywords"]
    assert forgotten[Order.INTERLEAVED] < forgotten[Order.SEQUENTIAL] - 0.1


def test_clicks_count_in_what_is_drawn(make_student, tmp_path):
    """Half of the clicks are on one ad; with α = 1 these weigh as much as the few on another."""
    names = tuple(f"query {number}" for number in range(80))
    ad_rows = np.concatenate((np.zeros(40, dtype=np.int64), np.arange(1, 41)))
    data = BridgeData(ADS, (Source("clicks", names, ad_rows),))
    shares = []
    for alpha in (0.0, 1.0):
        seen = []
        chosen = replace(
            TINY,
            num_steps=10,
            num_held_out=0,
            sampling=SamplingSettings(alpha=alpha),
            negatives=NegativeSettings(num_per_query=0),
        )

        def teacher(texts, seen=seen):
            seen.extend(ad_rows[[int(text.split()[1]) for text in texts]].tolist())
            return overlap(texts)

        train_bridge(
            make_encoder(make_student, OFF),
            make_student(0).tokenizer,
            data,
            chosen,
            checkpoint=tmp_path / f"{alpha}.pt",
            teacher=teacher,
        )
        shares.append(seen.count(0) / len(seen))
    assert shares[0] == 0.5
    assert shares[1] == pytest.approx((40 / 41) / (40 / 41 + 40 / 2), abs=0.03)


def asked_run(make_student, **changed) -> tuple[_Run, Asked]:
    """A training that has not begun, and the first eight clicks with random embeddings."""
    data, student = make_data(), make_student(0)
    chosen = replace(TINY, negatives=replace(TINY.negatives, **changed))
    run = _Run(make_encoder(make_student, OFF), student.tokenizer, data, chosen, None, lambda *_: None)
    embeddings = F.normalize(torch.randn(8, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    return run, Asked(data.pairs.query_rows[:8], data.pairs.ad_rows[:8], embeddings)


def test_ads_of_the_batches_before_are_negatives_too(make_student):
    run, asked = asked_run(make_student, num_queued=5, margin=-0.1)
    own = torch.linspace(-0.2, 1.2, 8)
    assert run._queued_similarity(asked, asked.embeddings, own).shape == (8, 0)
    ads = F.normalize(torch.randn(7, 16, generator=torch.Generator().manual_seed(1)), dim=1)
    run._enqueue(np.array([50, 51, 52]), ads[:3])
    run._enqueue(np.array([3, 0, 53, 54]), ads[3:])
    found = run._queued_similarity(asked, asked.embeddings, own)
    cosines = asked.embeddings @ ads[2:].T  # the newest five
    expected = cosines / 0.05
    expected[3, 1] = expected[0, 2] = -torch.inf  # what answers the query
    for row, limit in enumerate((own - 0.1).tolist()):
        for ad in range(5):
            if cosines[row, ad] > limit:  # what may well answer it
                expected[row, ad] = -torch.inf
    torch.testing.assert_close(found, expected)
    assert 2 < torch.isinf(found).sum() < 38


def test_judged_irrelevant_ads_are_negatives_however_similar(make_student):
    run, asked = asked_run(make_student, margin=-2.0)  # every ad is a suspect
    run._refresh()
    extra = np.array([7, 10, 13, 40])  # judged irrelevant to the queries 0, 3 and 6, and drawn for 1
    own = np.full((8, 2), -1, dtype=np.int64)
    own[[0, 3, 6], 1], own[1, 0] = [7, 10, 13], 40
    masked = run._masked(asked, extra, own)
    assert not masked[:, :8].any()
    expected = np.ones((8, 4), dtype=bool)
    expected[[0, 3, 6], [0, 1, 2]] = False
    assert np.array_equal(masked[:, 8:], expected)


def test_what_only_the_teacher_proposed_is_no_negative(make_student):
    run, asked = asked_run(make_student, margin=2.0)  # no ad is a suspect
    run._refresh()
    extra = np.array([20, 30, 40, 50])
    own = np.full((8, 3), -1, dtype=np.int64)
    own[2, 0], own[5, 2] = 30, 50  # drawn for one query, they are negatives of all
    masked = run._masked(asked, extra, own)
    assert not masked[:, :8].any()
    assert np.array_equal(masked[:, 8:], np.tile([True, False, True, False], (8, 1)))


def cross_entropy(scores, target: int) -> float:
    scores = np.array(scores) - max(scores)
    return float(np.log(np.exp(scores).sum()) - scores[target])


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())


def late_score(queries: Encoded, query: int, ads: Encoded, ad: int) -> float:
    """Return the mean over a query's tokens of the largest cosine with one of an ad's."""
    asked, told = queries.tokens[query][queries.real[query]], ads.tokens[ad][ads.real[ad]]
    return float(np.mean([max(float(token @ other) for other in told) for token in asked]))


@pytest.mark.parametrize(
    ("weight", "alone"), [(0.7, True), (0.7, False), (0.0, True), (None, True)], ids=["alone", "both", "off", "none"]
)
@pytest.mark.parametrize("parts", [OFF, LATE], ids=["plain", "late"])
def test_a_steps_loss_is_what_it_is_said_to_be(make_student, weight, alone, parts):
    """The slow twin: clicks meet in two softmaxes, all sources learn the teacher's ranking, proposals with them.

    Cosines of texts and, where tokens interact, their scores are each given this task.
    """
    data, tokenizer = make_data(), make_student(0).tokenizer
    taught = DistillationSettings(
        weight=weight or 0.0, temperature=1.5, label_bonus=3.0, num_proposed=2, proposed_depth=9, alone=alone
    )
    chosen = replace(
        TINY,
        batch_size=16,
        typo_rate=0.0,
        schedule=ScheduleSettings(order=Order.CONCATENATED),
        negatives=NegativeSettings(num_per_query=0, num_queued=1000),
        distillation=taught,
        num_held_out=0,
    )
    teacher = overlap if weight else forbidden if weight == 0 else None
    run = _Run(make_encoder(make_student, parts), tokenizer, data, chosen, teacher, lambda *_: None)
    pairs = run._pools[0][run._samplers[0].batch(0)]
    query_rows, ad_rows = data.pairs.query_rows[pairs], data.pairs.ad_rows[pairs]
    read_ads, read = run._reader.ads, []
    run._reader.ads = lambda asking, rows, bare: read.append(rows) or read_ads(asking, rows, bare)
    run.take_step()
    (all_rows,) = read  # positives, negatives, proposals
    assert all_rows[:16].tolist() == ad_rows.tolist()

    queries = [data.queries[row] for row in query_rows]
    fresh = _Run(make_encoder(make_student, parts), tokenizer, data, chosen, None, lambda *_: None)
    with torch.no_grad():
        one, other = fresh._reader.queries(queries), fresh._reader.ads(np.full(len(all_rows), -1), all_rows)
    scored = {"": (one.embeddings @ other.embeddings.T).double().numpy()}
    if parts is LATE:
        scored["late "] = np.array(
            [[late_score(one, row, other, ad) for ad in range(len(all_rows))] for row in range(16)]
        )
    known = {(text, ad) for source in data.sources for text, ad in zip(source.queries, source.ad_rows, strict=True)}
    wrong = set(zip(data.irrelevant.queries, data.irrelevant.ad_rows.tolist(), strict=True))
    clicked = [bool(data.pairs.sources[pair] == 0) for pair in pairs]
    assert 3 < sum(clicked) < 13
    by_contrast = [own or not weight or not alone for own in clicked]
    # One ad that was judged irrelevant to it a query that has one; everything else was proposed, or is a positive.
    judged = {
        ad for text, own in zip(queries, by_contrast, strict=True) for asked, ad in wrong if own and asked == text
    }
    negatives = [at for at in range(16, len(all_rows)) if all_rows[at] in judged]
    assert negatives
    proposed = len(all_rows) - 16 - len(negatives)
    assert (proposed > 5) == bool(weight)
    assert run._queued_rows.tolist() == [*ad_rows.tolist(), *all_rows[negatives].tolist()]  # no proposals

    expected = {}
    for name, each in scored.items():
        forth, back, learnt = [], [], []
        for row, text in enumerate(queries):
            meets = [at for at in (*range(16), *negatives) if at == row or (text, all_rows[at]) not in known]
            asking = [at for at in range(16) if at == row or (queries[at], all_rows[row]) not in known]
            if by_contrast[row]:
                forth.append(cross_entropy(each[row, meets] / 0.05, meets.index(row)))
                back.append(cross_entropy(each[asking, row] / 0.05, asking.index(row)))
            scores = overlap([text])[0, all_rows]
            if by_contrast[row]:
                for at, ad in enumerate(all_rows.tolist()):
                    scores[at] += 3.0 * ((text, ad) in known) - 3.0 * ((text, ad) in wrong)
            told, said = (log_softmax(logits) for logits in (scores / 1.5, each[row] / 0.05))
            learnt.append(float((np.exp(told) * (told - said)).sum()))
        # A likely answer is no negative, but as ads were never embedded here, nothing is known to be likely.
        expected[f"{name}contrastive"] = np.mean(forth) + np.mean(back)
        if weight:
            expected[f"{name}distillation"] = np.mean(learnt)
    assert {name: run.losses[name] for name in expected} == pytest.approx(expected, rel=2e-2)
    assert set(run.losses) == {*expected, "regularisation", "accuracy"}


@pytest.mark.parametrize("alone", [True, False])
def test_batches_of_other_sources_are_learnt_from_the_teacher_alone(make_student, alone):
    # In sequence the clicks come last.
    chosen = replace(TINY, schedule=ScheduleSettings(order=Order.SEQUENTIAL), num_held_out=0)
    chosen = replace(chosen, distillation=replace(TINY.distillation, alone=alone))
    run = _Run(
        make_encoder(make_student, ALL), make_student(0).tokenizer, make_data(), chosen, overlap, lambda *_: None
    )
    while run.num_drawn[0] == 0:
        for late in ("", "late "):
            assert (f"{late}contrastive" in run.losses) == (run.step > 0 and not alone)
            assert (f"{late}distillation" in run.losses) == (run.step > 0)
        run.take_step()
    assert 0 < run.step < 13
    assert set(run.losses) == TOLD


def in_order(texts):
    """A teacher that knows what no word says: of every kind, the later colours are the better ones."""
    rows = [[6.0 * (kind in text) + place for kind in KINDS for place in range(len(COLORS))] for text in texts]
    return np.array(rows)


def test_a_teacher_that_knows_the_truth_is_learnt_from(make_student, tmp_path):
    """Clicks and keywords are spread evenly over the colours: by them alone one is as good as another."""
    clicks = [(f"{kind} {word}", row * 6 + at) for row, kind in enumerate(KINDS) for at, word in enumerate("abcdef")]
    clicked = Source("clicks", tuple(text for text, _ in clicks), np.array([ad for _, ad in clicks]))
    # Of every kind one word is kept to ask with; the ads it was paired with say nothing of an order.
    words = [(kind, row, "uvw"[(row + skip) % 3], skip) for row, kind in enumerate(KINDS) for skip in (1, 2)]
    written = tuple(f"{kind} {word}" for kind, _, word, _ in words)
    asked = Source("keywords", written, np.array([6 * row + (row + 3 * skip) % 6 for _, row, _, skip in words]))
    data, tokenizer = BridgeData(ADS, (clicked, asked)), make_student(0).tokenizer
    agreed = {}
    for name, teacher in (("labels", None), ("teacher", in_order)):
        chosen = replace(
            TINY,
            num_steps=100,
            batch_size=16,
            num_held_out=0,
            negatives=NegativeSettings(num_per_query=0),
            distillation=DistillationSettings(temperature=1.0, label_bonus=0.0, num_proposed=2, proposed_depth=8),
            checkpoint_steps=1000,
        )
        trained = train_bridge(
            make_encoder(make_student, OFF), tokenizer, data, chosen, checkpoint=tmp_path / "c.pt", teacher=teacher
        )
        embedder = Embedder(trained.encoder, tokenizer)
        new = embedder.embed_queries([f"{kind} {'uvw'[row % 3]}" for row, kind in enumerate(KINDS)])
        cosines = new @ embedder.embed_ads(ADS).T
        of_kinds = [cosines[row, 6 * row : 6 * row + 6] for row in range(len(KINDS))]
        agreed[name] = np.mean([own[low] < own[high] for own in of_kinds for high in range(6) for low in range(high)])
    assert agreed["teacher"] > 0.85 > agreed["labels"] + 0.15


def test_what_does_not_fit_is_named(make_student, tmp_path):
    tokenizer, data = make_student(0).tokenizer, make_data()
    with pytest.raises(InputError, match="has no features"):
        train_bridge(
            make_encoder(make_student, ALL), tokenizer, replace(data, features=None), TINY, checkpoint=tmp_path / "a.pt"
        )
    wide = BridgeEncoder(CompactBackbone(make_student(0).backbone), ALL, feature_size=32)
    with pytest.raises(InputError, match="features of 16 dimensions for an encoder that takes 32"):
        train_bridge(wide, tokenizer, data, TINY, checkpoint=tmp_path / "a.pt")
    train_bridge(make_encoder(make_student, OFF), tokenizer, data, TINY, checkpoint=tmp_path / "b.pt")
    with pytest.raises(InputError, match=r"b\.pt: is of a training from clicks, generated, keywords, not from clicks"):
        train_bridge(
            make_encoder(make_student, OFF), tokenizer, make_data("clicks"), TINY, checkpoint=tmp_path / "b.pt"
        )


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_steps": 0},
        {"temperature": 0},
        {"typo_rate": 2},
        {"batch_size": 1.5},
        {"eval_steps": 0},
        {"feature_dropout": 1.5},
        {"average_share": -1},
        {"parts_rate": 0},
    ],
    ids=str,
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        BridgeTrainingSettings(**wrong)

"""Kill a process that changes ads at random points, and look at what its log holds.

    python benchmarks/crash.py ENGINE [--kills 200] [--log postgresql://…] [--seed 0] [--threads 4]

Works on a copy of the engine. Each round starts a process, whose threads put, patch and delete ads of their own while
its main thread compacts the log and backs it up, and kills it (SIGKILL) after a random number of batches and a random
time. Then the log must hold every batch that was acknowledged, and of each thread's last batch all or nothing; and the
next process must show exactly the ads of the log without letting a model read. Prints one JSON object; exits with 1 if
anything was lost.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from intently.live.log import LOG_FILE, Kind, open_log
from intently.types import Ad, Change, Delete, Patch, Put

WORDS = ("red", "blue", "gizmo", "lamp", "扫地机器人", "水壶", "drill", "pan")
ADS_OF_A_THREAD = 12
MOST_TOLD, LONGEST_S = 80, 0.1  # before a kill: lines, of which a batch writes two, and then seconds
Ads = dict[str, Ad]


@dataclass
class Counts:
    """What was found over all rounds."""

    kills: int = 0
    acknowledged: int = 0
    in_flight_kept: int = 0
    in_flight_gone: int = 0
    lost: int = 0
    come_back: int = 0
    half_applied: int = 0
    shown_otherwise: int = 0
    read_by_models: int = 0
    repairs: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether anything happened that must not."""
        bad = self.lost + self.come_back + self.half_applied + self.shown_otherwise + self.read_by_models + self.repairs
        return bad > 0 or bool(self.problems)


def main() -> int:
    """Run the rounds and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--log", default=None, help="where the log lies; by default in the copy of the engine")
    parser.add_argument("--seed", type=int, default=None, help="by default another one each time; it is printed")
    parser.add_argument("--threads", type=int, default=4)
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "engine"
        shutil.copytree(given.engine, root, ignore=shutil.ignore_patterns(f"{LOG_FILE}*"))
        counts = kill_often(root, given.log or str(root / LOG_FILE), given.kills, seed, given.threads)
        facts = open_log(given.log or root).facts()
    told = {**vars(counts), "seed": seed, "log": facts.kind, "changes": facts.position.last, "bytes": facts.bytes}
    print(json.dumps(told | {"seconds": round(time.perf_counter() - started, 1)}, indent=1))
    return int(counts.failed)


def kill_often(root: Path, place: str, num_kills: int, seed: int, num_threads: int = 4) -> Counts:
    """Kill so many processes that change the engine in `root` with its log at `place`; return what was found.

    No engine may have been loaded in this process, because the processes are forked from it.
    """
    import intently.engine.current  # noqa: F401  imported once, not by every process

    rng, counts = random.Random(seed), Counts()
    ads: list[Ads] = [{} for _ in range(num_threads)]  # as acknowledged, or found in the log
    for number in range(num_kills):
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            status = 1
            with suppress(BaseException):
                _change(root, place, seed + number, ads, writer)
                status = 0
            os._exit(status)
        os.close(writer)
        with os.fdopen(reader, "rb") as lines:
            first = lines.readline()  # once the log is replayed
            told = [lines.readline() for _ in range(rng.randrange(MOST_TOLD))]  # however slow the machine is
            time.sleep(rng.random() ** 2 * LONGEST_S)
            os.kill(child, signal.SIGKILL)
            rest = b"".join((*told, lines.read())).splitlines()
        _, status = os.waitpid(child, 0)
        counts.kills += 1
        if not first or not os.WIFSIGNALED(status):
            counts.problems.append(f"round {number}: the process ended by itself ({first!r}, {status})")
            continue
        _count_start(json.loads(first), ads, counts)
        _count_round([json.loads(line) for line in rest if line.endswith(b"}")], _logged_ads(place), ads, counts)
    return counts


def _change(root: Path, place: str, seed: int, before: Sequence[Ads], pipe: int) -> None:
    """Change ads until somebody kills this process, and tell about every batch, before and after."""
    from intently.engine.current import CurrentEngine
    from intently.live.ad_reader import AdReader

    num_read, read = [0], AdReader.parts

    def counted(self: AdReader, catalog):  # type: ignore[no-untyped-def]
        num_read[0] += catalog.num_ads
        return read(self, catalog)

    AdReader.parts = counted  # type: ignore[method-assign]
    current = CurrentEngine(root, log=place, follow_s=None, num_threads=1)
    current.own()
    shown = {}
    for ads_of in range(len(before)):
        for number in range(ADS_OF_A_THREAD):
            if ad := current.ad(_ad_id(ads_of, number)):
                shown[ad.ad_id] = [ad.title, ad.bid, ad.status]
    lock = threading.Lock()

    def tell(told: object) -> None:
        with lock:
            os.write(pipe, json.dumps(told).encode() + b"\n")

    tell({"shown": shown, "read": num_read[0], "recovered": current.log.recovered is not None})

    def write(thread: int) -> None:
        rng, ads = random.Random(seed * 100 + thread), dict(before[thread])
        for number in range(10**9):
            batch = _batch(rng, thread, ads)
            tell({"thread": thread, "batch": number, "ads": {key: _plain(ads[key]) for key in ads}})
            seq = current.apply(batch)
            tell({"thread": thread, "batch": number, "seq": seq})

    for thread in range(len(before)):
        threading.Thread(target=write, args=(thread,), daemon=True).start()
    while True:
        time.sleep(0.03)
        current.compact()
        with tempfile.TemporaryDirectory() as directory:
            current.log.backup(Path(directory) / "backup.db")


def _batch(rng: random.Random, thread: int, ads: Ads) -> list[Change]:
    """Return changes of some of a thread's ads, and make them in `ads`."""
    batch: list[Change] = []
    for number in rng.sample(range(ADS_OF_A_THREAD), rng.choice([1, 1, 2, 5])):
        ad_id, kind = _ad_id(thread, number), rng.random()
        if kind < 0.15 or (ad_id not in ads and kind < 0.6):
            ads[ad_id] = Ad(ad_id, " ".join(rng.choices(WORDS, k=3)), bid=rng.choice([None, 0.5]))
            batch.append(Put(ads[ad_id]))
        elif ad_id in ads and kind < 0.85:
            values = {"bid": float(rng.randrange(100)), "status": rng.choice(["active", "paused"])}
            ads[ad_id] = replace(ads[ad_id], **values)  # type: ignore[arg-type]
            batch.append(Patch(ad_id, values))
        else:
            ads.pop(ad_id, None)
            batch.append(Delete(ad_id))
    return batch


def _count_start(told: dict[str, object], ads: Sequence[Ads], counts: Counts) -> None:
    expected = {ad.ad_id: [ad.title, ad.bid, ad.status] for each in ads for ad in each.values()}
    counts.shown_otherwise += told["shown"] != expected
    counts.read_by_models += int(told["read"])  # type: ignore[call-overload]
    counts.repairs += bool(told["recovered"])


def _count_round(told: Sequence[dict], logged: Ads, ads: list[Ads], counts: Counts) -> None:  # type: ignore[type-arg]
    """Compare what a process told with what the log holds, and note what the log holds."""
    for thread in range(len(ads)):
        own = [each for each in told if each["thread"] == thread]
        begun = {each["batch"]: each["ads"] for each in own if "ads" in each}
        done = [each["batch"] for each in own if "seq" in each]
        counts.acknowledged += len(done)
        acknowledged = begun[done[-1]] if done else {key: _plain(ad) for key, ad in ads[thread].items()}
        last = max(begun, default=-1)
        pending = begun[last] if last >= 0 and last not in done else acknowledged
        prefix = _ad_id(thread, 0)[:-2]
        found = {key: _plain(ad) for key, ad in logged.items() if key.startswith(prefix)}
        if found == acknowledged:
            counts.in_flight_gone += pending != acknowledged
        elif found == pending:
            counts.in_flight_kept += 1
        else:
            counts.come_back += bool(set(found) - set(acknowledged) - set(pending))
            counts.lost += bool(set(acknowledged) & set(pending) - set(found))
            counts.half_applied += 1
            counts.problems.append(f"thread {thread}: {found} instead of {acknowledged} or {pending}"[:2_000])
        ads[thread] = {key: logged[key] for key in found}


def _logged_ads(place: str) -> Ads:
    """Return the ads of a log, one entry after the other."""
    ads: Ads = {}
    log = open_log(place)
    for page in log.entries(0, ""):
        for entry, _ in page:
            if entry.kind is Kind.PUT:
                ads[entry.ad_id] = entry.ad
            elif entry.kind is Kind.DELETE:
                ads.pop(entry.ad_id, None)
            elif entry.ad_id in ads:
                ads[entry.ad_id] = replace(ads[entry.ad_id], **entry.fields)
    log.close()
    return ads


def _plain(ad: Ad) -> list[object]:
    return [ad.title, ad.bid, ad.status]


def _ad_id(thread: int, number: int) -> str:
    return f"crash-{thread}-{number:02}"


if __name__ == "__main__":
    sys.exit(main())

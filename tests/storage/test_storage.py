"""Files in a bucket: sent when they are whole, fetched as they are, deleted on both sides, by one writer at a time."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest

from automl_kd import storage
from automl_kd.errors import StorageError
from automl_kd.results.store.folder import in_use, lock
from automl_kd.storage import lease, mirror
from tests.storage.conftest import mirrored


def objects(folder) -> set[str]:
    """Names below the folder, as they are in the bucket."""
    one = mirrored(folder)
    return {key.removeprefix(f"{one.key(folder)}/") for key in one.store.find(one.key(folder))}


def put(folder, **texts: str) -> None:
    for name, text in texts.items():
        storage.write(folder / f"{name}.json", text)


def test_a_local_path_is_itself_and_nothing_is_done_for_it(tmp_path):
    assert storage.local_path(tmp_path) == storage.local_path(str(tmp_path)) == tmp_path
    assert storage.local_path("results").name == "results"
    assert storage.address(tmp_path) == str(tmp_path)
    storage.push(tmp_path / "nothing")
    storage.pull(tmp_path)
    storage.remove_objects([tmp_path / "nothing"])
    with storage.leased(tmp_path):
        assert storage.holder(tmp_path) == ""


def test_an_address_leads_to_the_same_file_on_every_machine(on_machine, bucket, server):
    here = storage.local_path(f"{bucket}/one")
    assert here.is_absolute()
    said = storage.address(here / "a.json")
    assert said.startswith(f"{bucket}/one/a.json?endpoint_override=")
    assert storage.name_addresses(f"in {here} twice {here}/b") == f"in {bucket}/one twice {bucket}/one/b"
    put(here, a="1")
    on_machine("second")
    os.environ.pop("AWS_ENDPOINT_URL")  # the address says all but the credentials
    there = storage.local_path(said)
    assert there != here / "a.json"
    storage.pull_file(there)
    assert there.read_text() == "1"


def test_what_is_written_is_there_and_what_changes_follows(on_machine, bucket):
    first = storage.local_path(bucket)
    put(first, a="1", b="2")
    (first / "weights.pt").write_bytes(b"w")
    storage.push(first / "weights.pt")
    second = on_machine("second")
    storage.pull(second)
    assert {path.name: path.read_text() for path in second.glob("*")} == {"a.json": "1", "b.json": "2"}
    storage.pull(second, weights=True)
    assert (second / "weights.pt").read_bytes() == b"w"
    put(second, a="longer")
    (second / "b.json").unlink()
    storage.remove_objects([second / "b.json", second / "never.json"])
    on_machine("first")
    storage.pull(first)
    assert {path.name for path in first.glob("*")} == {"a.json", "weights.pt"}
    assert (first / "a.json").read_text() == "longer"


def test_files_are_deleted_by_name_here_and_there_also_those_that_were_never_fetched(on_machine, bucket, tmp_path):
    first = storage.local_path(bucket)
    put(first, a="1")
    (first / "trial" / "search").mkdir(parents=True)
    for name in ("trial/checkpoint.pt", "trial/search/checkpoint.pt", "trial/learned_loss.pt", "checkpoint.pt"):
        (first / name).write_bytes(b"w")
        storage.push(first / name)
    put(first / "trial", card="1")
    second = on_machine("second")
    storage.remove_named(second / "trial", {"checkpoint.pt"})
    assert objects(second) == {"a.json", "checkpoint.pt", "trial/learned_loss.pt", "trial/card.json"}
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "checkpoint.pt").write_bytes(b"w")
    storage.remove_named(tmp_path / "trial", ["checkpoint.pt"])
    assert not [*(tmp_path / "trial").iterdir()]


def test_nothing_is_fetched_twice(on_machine, bucket, monkeypatch):
    put(storage.local_path(bucket), a="1")
    folder = on_machine("second")
    storage.pull(folder)
    monkeypatch.setattr(mirrored(folder).store, "chunks", None)  # which would raise a TypeError
    storage.pull(folder)


def test_a_pull_leaves_alone_what_was_changed_here(on_machine, bucket):
    folder = storage.local_path(bucket)
    put(folder, a="1")
    (folder / "a.json").write_text("changed here")
    (folder / "new.json").write_text("2")
    storage.pull(folder)
    assert (folder / "a.json").read_text() == "changed here"
    assert (folder / "new.json").read_text() == "2"


def test_what_could_not_be_sent_is_sent_by_the_next_sitting(on_machine, bucket):
    folder = storage.local_path(bucket)
    with lock(folder):
        put(folder, a="1")
        (folder / "a.json").write_text("more")
        (folder / "rows").mkdir()
        (folder / "rows" / "late.parquet").write_text("row")
        (folder / "_scratch").write_text("torn")
    assert objects(folder) == {"a.json", "lease.json"}
    with lock(folder):
        assert objects(folder) == {"a.json", "lease.json", "rows/late.parquet"}
    other = on_machine("second")
    storage.pull(other)
    assert (other / "a.json").read_text() == "more"


def test_what_could_not_be_sent_is_given_up_if_another_machine_went_on(on_machine, bucket):
    first = storage.local_path(bucket)
    with lock(first):
        put(first, a="1")
    (first / "a.json").write_text("not sent")
    (first / "late.json").write_text("neither")
    second = on_machine("second")
    with lock(second):
        assert (second / "a.json").read_text() == "1"
    on_machine("first")
    with lock(first):
        assert (first / "a.json").read_text() == "1"
        assert not (first / "late.json").exists()


def test_a_second_machine_is_refused_until_the_first_is_done(on_machine, bucket):
    first = storage.local_path(bucket)
    with lock(first):
        second = on_machine("second")
        assert in_use(second)
        with (
            pytest.raises(StorageError, match=r"^process \d+ on \S+ is writing to s3://bucket/runs; wait for it,"),
            lock(second),
        ):
            pass
        on_machine("first")
    on_machine("second")
    assert not in_use(second)
    with lock(second):
        pass


def test_one_who_waits_gets_it_when_the_other_is_done(on_machine, bucket, monkeypatch):
    monkeypatch.setattr(lease, "WAIT_SECONDS", 0.05)
    first, second = storage.local_path(bucket), None
    order = []
    with lock(first):
        second = on_machine("second")

        def queue() -> None:
            with lock(second, wait=True):
                order.append("second")

        waiting = threading.Thread(target=queue)
        waiting.start()
        time.sleep(0.2)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def left_behind(folder) -> None:
    """As a run that was killed leaves its lease."""
    one = mirrored(folder)
    lease.write_lease(one, folder, lease.Lease("token", lease.machine(one), "process 1 on gone"))


def test_a_killed_run_of_this_machine_is_followed_at_once_and_one_of_another_when_it_is_stale(
    on_machine, bucket, monkeypatch
):
    first = storage.local_path(bucket)
    left_behind(first)
    with lock(first):
        pass
    left_behind(first)
    second = on_machine("second")
    assert storage.holder(second) == "process 1 on gone"
    monkeypatch.setattr(lease, "STALE_SECONDS", -1.0)
    assert storage.holder(second) == ""
    with lock(second):
        pass


def test_who_has_lost_the_lease_writes_nothing_more(on_machine, bucket, monkeypatch):
    first = storage.local_path(bucket)
    with lock(first):
        put(first, a="1")
        one = mirrored(first)
        lease.write_lease(one, first, lease.Lease("other", "other", "process 2 on elsewhere"))
        monkeypatch.setattr(lease, "STALE_SECONDS", 0.0)  # it looks again before it writes
        with pytest.raises(
            StorageError, match=r"^process 2 on elsewhere has taken over s3://bucket/runs from this run"
        ):
            put(first, a="2")
        assert b"".join(one.store.chunks("bucket/runs/a.json")) == b"1"
    record = json.loads(b"".join(one.store.chunks("bucket/runs/lease.json")))
    assert record["token"] == "other"  # and does not give back what is not its own


def test_a_store_that_is_gone_for_a_moment_is_waited_for(on_machine, bucket, monkeypatch):
    folder = storage.local_path(bucket)
    store = mirrored(folder).store
    real, failures = store.put, iter([OSError("gone"), OSError("gone")])

    def put_later(key, content):
        for error in failures:
            raise error
        return real(key, content)

    monkeypatch.setattr(store, "put", put_later)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    put(folder, a="1")
    assert objects(folder) == {"a.json"}


def test_a_store_that_stays_away_ends_the_run_in_one_sentence(on_machine, bucket, server, monkeypatch):
    monkeypatch.setattr(mirror, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    folder = on_machine("cut off")
    with pytest.raises(StorageError, match=r"^s3://bucket/runs/a\.json could not be written \(.*\); when the storage"):
        put(folder, a="1")
    assert (folder / "a.json").read_text() == "1"  # kept for the next sitting
    with pytest.raises(StorageError, match=r"^s3://bucket/runs cannot be read \(.*\); check the name, the network,"):
        storage.pull(folder)


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("ftp://bucket/runs", r"^ftp://bucket is no place for files; give a folder, s3://BUCKET/PREFIX or"),
        ("s3:///runs", r"is no place for files"),
        ("s3://bucket/runs?colour=red", r"^'colour' behind the question mark of an address is not known;"),
        ("s3://bucket/runs?scheme=red", r"^s3://bucket cannot be reached \(.*\); check the name"),
    ],
)
def test_a_place_that_is_none_is_refused(on_machine, place, sentence):
    with pytest.raises(StorageError, match=sentence):
        storage.local_path(place)


def test_a_bucket_that_is_not_there_is_named(on_machine):
    with pytest.raises(StorageError, match=r"^s3://nobody/runs cannot be read \(there is no bucket 'nobody'\); check"):
        storage.pull(storage.local_path("s3://nobody/runs"))
    with pytest.raises(StorageError, match=r"^s3://nobody/runs"), lock(storage.local_path("s3://nobody/runs")):
        pass


def test_a_name_in_googles_storage_is_understood(on_machine, monkeypatch):
    assert storage.address(storage.local_path("gs://bucket/runs")) == "gs://bucket/runs"


def test_credentials_that_the_store_does_not_accept_are_named(on_machine, bucket, monkeypatch):
    monkeypatch.setattr(mirror, "PATIENCE_SECONDS", 0.0)
    folder = storage.local_path(bucket)
    monkeypatch.setattr("moto.core.authorization.ActionAuthenticatorMixin.request_count", 0)
    monkeypatch.setattr("moto.settings.INITIAL_NO_AUTH_ACTION_COUNT", 0.0)  # from now on only users that it knows
    with pytest.raises(StorageError, match=r"^s3://bucket/runs cannot be read \(.*\); check the name, .* credentials"):
        storage.pull(folder)
    with pytest.raises(StorageError, match=r"^s3://bucket/runs/a\.json could not be written \(.*\); when the storage"):
        put(folder, a="1")

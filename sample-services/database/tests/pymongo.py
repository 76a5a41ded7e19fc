"""What tests/pymongo.rs runs: PyMongo's everyday calls against a fresh database at argv[1]."""

import sys
import threading

import pymongo
from bson import ObjectId
from pymongo import errors

client = pymongo.MongoClient(f"mongodb://{sys.argv[1]}", serverSelectionTimeoutMS=3000)
assert client.admin.command("ping")["ok"] == 1
assert client.server_info()["versionArray"][0] == 7
assert client.is_primary
films = client.dev.movies

one = films.insert_one({"title": "The Sound of Music", "year": 1965})
assert isinstance(one.inserted_id, ObjectId)
assert films.find_one({"_id": one.inserted_id})["year"] == 1965
assert films.find_one({"title": "Napoleon Dynamite"}) is None

many = [{"_id": n, "odd": n % 2 == 1} for n in range(1000)]
assert len(films.insert_many(many).inserted_ids) == 1000
assert list(films.find({"odd": True}, batch_size=100)) == many[1::2]
assert list(films.find({"odd": False}).skip(5).limit(5)) == many[10:20:2]
assert films.count_documents({"odd": True}) == 500
assert films.count_documents({"odd": "x"}) == 0
assert films.count_documents({}, skip=1, limit=7) == 7
assert films.estimated_document_count() == 1001

large = [{"text": "x" * 1_000_000} for _ in range(20)]
client.dev.large.insert_many(large)
assert sum(len(document["text"]) for document in client.dev.large.find(batch_size=20)) == 20_000_000

# Closing a cursor before its end sends killCursors.
with films.find(batch_size=2) as cursor:
    next(cursor)

try:
    films.insert_one({"_id": 1})
    raise SystemExit("a duplicate was accepted")
except errors.DuplicateKeyError as error:
    assert error.code == 11000, error

try:
    films.insert_many([{"_id": "a"}, {"_id": 1}, {"_id": "b"}], ordered=False)
    raise SystemExit("a duplicate was accepted")
except errors.BulkWriteError as error:
    assert error.details["nInserted"] == 2, error.details
    assert [failure["index"] for failure in error.details["writeErrors"]] == [1], error.details

for call, code in [
    (lambda: films.delete_one({}), 59),
    (lambda: films.update_one({}, {"$set": {"a": 1}}), 59),
    (lambda: client.dev.command("fancyCommand"), 59),
    (lambda: list(films.find({"year": {"$gt": 1}})), 238),
    (lambda: list(films.find().sort("year")), 238),
    (lambda: list(films.aggregate([{"$project": {"a": 1}}])), 238),
]:
    try:
        call()
        raise SystemExit("no error")
    except errors.OperationFailure as error:
        assert error.code == code, error

# An unacknowledged write has no reply; the connection stays in step.
client.dev.get_collection("unsure", write_concern=pymongo.WriteConcern(w=0)).insert_one({"_id": 1})

failures = []


def insert(worker):
    try:
        for n in range(50):
            client.dev.parallel.insert_one({"worker": worker, "n": n})
    except Exception as error:
        failures.append(error)


threads = [threading.Thread(target=insert, args=(worker,)) for worker in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failures, failures
assert client.dev.parallel.count_documents({}) == 400

with client.start_session() as session:
    assert films.count_documents({"_id": 5}, session=session) == 1
client.close()
print("all passed")

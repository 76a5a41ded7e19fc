"""A Python program with every kind of metric, and with label values that have to be escaped."""
import sys
from prometheus_client import Counter, Enum, Gauge, Histogram, Info, Summary, start_http_server
import threading

requests = Counter("http_requests", "Requests.\nBy path \\ template", ["method", "path"])
requests.labels("GET", "/users/{id}").inc(3)
requests.labels("GET", 'say "hi", a=b').inc(exemplar={"trace_id": "abc} 1 # {"})
requests.labels("GET", "C:\\new\nline").inc(2)
latency = Histogram("latency_seconds", "Latency", ["path"], buckets=(0.001, 0.01, 0.1, 1))
for value in (0.0005, 0.02, 0.5, 7):
    latency.labels("/käse/🧀").observe(value, exemplar={"trace_id": f"t{value}"})
size = Summary("size_bytes", "Size")
size.observe(1e300)
Gauge("temperature_celsius", "Not a number").set(float("nan"))
Gauge("most", "Infinite").set(float("inf"))
Gauge("least", "Minus infinity").set(float("-inf"))
Gauge("tiny", "Denormal").set(5e-324)
Info("build", "Build").info({"version": "1.2.3", "commit": ""})
Enum("state", "State", states=["starting", "running", "it's \"stopped\""]).state("running")
Gauge("with:colons:rate5m", "As of a rule").set(-0.0)
dotted = Counter("shop.orders", "A name that has to be in quotes", ["cheese.kind"])
dotted.labels("a,b}").inc()
start_http_server(int(sys.argv[1]), addr="127.0.0.1")
threading.Event().wait()

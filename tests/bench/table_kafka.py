"""The tables of docs/benchmarks.md for what runs on Kafka; `tests/bench/table.py` prints them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_SERVERS: Final = {
    "nginx": "nginx, static 200",
    "asgi": "bare ASGI app, answers at once",
    "nothing": "our gateway, keeps nothing",
    "connect": "Redpanda Connect, acks=all before 200",
    "kafka": "**`sendtrace gateway`, acks=all before 200**",
}
_PEERS: Final = {
    "to_plain": "plain aiokafka loop",
    "to_faust": "ordinary Faust agent",
    "to_quix": "quixstreams dataframe",
}
_MIB: Final = 2**20


def gateway(printed: dict[str, Any]) -> Iterator[str]:
    """Each server held to nginx, or where that is missing to the bare application."""
    servers = printed["result"]["servers"]
    peer = "to_nginx" if "nginx" in servers else "to_asgi"
    yield f"| server ({peer.replace('_', ' ')}) | requests per s | requests per CPU s | p50 | p99 |"
    yield "| --- | --- | --- | --- | --- |"
    for name, title in _SERVERS.items():
        if name in servers:
            held = servers[name][peer]
            times = f"{held['p50_ms']:.2f} | {held['p99_ms']:.2f}"
            yield f"| {title} | {held['per_s']:.2f} | {held['per_cpu_s']:.2f} | {times} |"
    ours = servers["kafka"]
    bare, broker = ours["to_asgi"], ours["broker_cpu_ms_per_1000"] / ours["cpu_ms_per_1000"]
    yield ""
    yield (
        f"To the bare app {bare['per_s']:.2f}, per CPU s {bare['per_cpu_s']:.2f}; the broker's CPU time is {broker:.2f}"
        " of the gateway's."
    )
    if held := ours.get("to_connect"):
        yield ""
        yield f"To Redpanda Connect {held['per_s']:.2f}, per CPU s {held['per_cpu_s']:.2f}."


def processing(printed: dict[str, Any]) -> Iterator[str]:
    """The worker held to its peers."""
    result = printed["result"]
    yield "| `sendtrace worker` ÷ | events per s | events per CPU s | the same, broker's CPU included |"
    yield "| --- | --- | --- | --- |"
    for name, title in _PEERS.items():
        if name not in result:
            continue
        held = result[name]
        yield (
            f"| {title} | {held['events_per_s']:.2f} | {held['events_per_cpu_s']:.2f} | "
            f"{held['events_per_cpu_s_with_broker']:.2f} |"
        )


def latency(printed: dict[str, Any]) -> Iterator[str]:
    """The aims, and the plain loop beside them."""
    result = printed["result"]
    yield f"| at {result['per_s']:,}/s | p50 | p99 |"
    yield "| --- | --- | --- |"
    for name, title in (
        ("worker", "raw record acknowledged to transition visible"),
        ("post", "POST due to transition visible"),
        ("plain", "the first for the plain loop, which commits nothing"),
    ):
        one = result[name]
        yield f"| {title} | {one['visible_p50_ms']:.1f} ms | {one['visible_p99_ms']:.1f} ms |"


def recovery(printed: dict[str, Any]) -> Iterator[str]:
    """Three stages."""
    yield "| messages | resident, to the first | recovery, to only reading | ready from disk, to ready from the topic |"
    yield "| --- | --- | --- | --- |"
    stages = printed["result"]["stages"]
    for stage in stages:
        grown = stage["from_topic"]["resident_bytes"] / stages[0]["from_topic"]["resident_bytes"]
        kept = stage.get("ready_s_from_disk_to_from_topic")
        told = "" if kept is None else f"{kept:.2f}"
        yield f"| {stage['messages']:,} | {grown:.2f} | {stage['recovery_s_to_read']:.2f} | {told} |"
    last = stages[-1]
    yield ""
    yield (
        f"{last['messages']:,} messages: {last['from_topic']['recovery_s']:.1f} s from the topic, "
        f"{last['from_topic']['resident_bytes'] / _MIB:,.0f} MiB resident after it, "
        f"{last['from_disk']['resident_bytes'] / _MIB:,.0f} MiB when started from disk."
    )

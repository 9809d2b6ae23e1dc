"""A writer of partition 0 that writes when told to: `python -m tests.faults.outbox_process ADDRESS PREFIX`.

Prints `open`, waits for a line, writes one record of each topic, and prints `committed` or the error's name. In a
process of its own, as a worker is: aiokafka leaves errors behind that nobody asks for when a writer is fenced.
"""

from __future__ import annotations

import asyncio
import os
import sys

from aiokafka.errors import IllegalOperation, KafkaError

from processors.faust_shell.outbox import Brokers, Outbox
from schemas.kafka_outputs import Output, Outputs


async def write(address: str, prefix: str) -> None:
    outbox = Outbox(Brokers(addresses=(address,), topic_prefix=prefix, group=f"{prefix}processor"), 0)
    await outbox.open()
    print("open", flush=True)  # noqa: T201  read by the test
    await asyncio.to_thread(sys.stdin.readline)
    one = Output(b"m", b"{}", [])
    outbox.put(Outputs([one], [one], [], [one]))
    try:
        await outbox.commit(1)
    except (KafkaError, IllegalOperation) as error:
        print(type(error).__name__, flush=True)  # noqa: T201  as above
    else:
        print("committed", flush=True)  # noqa: T201  as above
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(write(*sys.argv[1:]))

#!/usr/bin/env python3
"""Load on a running `rnnlm serve`, from this machine: nothing may be lost or mixed up, and memory must not grow.

    rnnlm serve runs/names --port 8080 --quiet &
    python3 tests/serving/load.py http://127.0.0.1:8080 --pid $!

Needs the package aiohttp. Every request has its own seed, and its text must be the one that the request has alone.
"""
import argparse
import asyncio
import json
import statistics
import time

import aiohttp

HEADERS = {"Content-Type": "application/json"}
# Speed is the median of this many rounds.
ROUNDS = 5


def body(seed, stream=False, tokens=60):
    return {"prompt": "A", "max_tokens": tokens, "seed": seed, "stream": stream, "ignore_eos": True}


async def whole(session, url, seed, tokens=60):
    while True:
        async with session.post(f"{url}/v1/completions", json=body(seed, tokens=tokens)) as response:
            if response.status == 429:
                await asyncio.sleep(float(response.headers["Retry-After"]) / 20)
                continue
            assert response.status == 200, await response.text()
            return (await response.json())["choices"][0]["text"]


async def stream(session, url, seed, delay=0.0, leave_after=None):
    """The text of a stream, read slowly or left early."""
    while True:
        async with session.post(f"{url}/v1/completions", json=body(seed, stream=True)) as response:
            if response.status == 429:
                await asyncio.sleep(0.05)
                continue
            text, events = "", 0
            async for line in response.content:
                if not line.startswith(b"data: "):
                    continue
                if line.strip() == b"data: [DONE]":
                    return text
                text += json.loads(line[6:])["choices"][0]["text"]
                events += 1
                if leave_after and events >= leave_after:
                    return None
                await asyncio.sleep(delay)
            raise AssertionError("a stream ended without [DONE]")


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--pid", type=int, help="the server's process, whose memory is measured")
    parser.add_argument("--requests", type=int, default=10_000)
    options = parser.parse_args()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=HEADERS, connector=connector) as session:
        seeds = range(200)
        alone = [await whole(session, options.url, seed) for seed in seeds]
        assert len(set(alone)) > 150, "seeds give different texts"

        together = await asyncio.gather(*(stream(session, options.url, seed) for seed in seeds))
        assert together == alone, "a stream differs from the same request alone"
        print("200 concurrent streams: each has the text that it has alone")

        slow = [stream(session, options.url, seed, delay=0.02) for seed in range(0, 40)]
        leaving = [stream(session, options.url, seed, leave_after=3) for seed in range(40, 80)]
        quick = [whole(session, options.url, seed) for seed in range(80, 120)]
        results = await asyncio.gather(*slow, *leaving, *quick)
        assert results[:40] == alone[:40] and results[80:] == alone[80:120]
        print("40 slow readers and 40 clients that leave: the others have their texts")

        done, memory = 0, {}
        start = time.perf_counter()

        async def worker(first):
            nonlocal done
            for seed in range(first, options.requests, 64):
                assert await whole(session, options.url, seed % 200) == alone[seed % 200]
                done += 1
                if options.pid and done in (1000, options.requests):
                    memory[done] = resident(options.pid)

        await asyncio.gather(*(worker(first) for first in range(64)))
        seconds = time.perf_counter() - start
        print(f"{done} requests, {done / seconds:.0f} a second; memory in MB after that many: {memory}")

        rates = {1: [], 64: []}
        for _ in range(ROUNDS):
            for count, measured in rates.items():
                start = time.perf_counter()
                await asyncio.gather(*(whole(session, options.url, seed, tokens=200) for seed in range(count)))
                measured.append(200 * count / (time.perf_counter() - start))
        one, many = (statistics.median(measured) for measured in rates.values())
        print(f"tokens/s of 1 and of 64 requests of 200 tokens, medians of {ROUNDS}: {one:.0f} and {many:.0f}, {many / one:.2f} x")

        times = []
        for seed in range(100):
            start = time.perf_counter()
            async with session.post(f"{options.url}/v1/completions", json=body(seed, stream=True, tokens=1)) as response:
                async for line in response.content:
                    if line.startswith(b"data: "):
                        times.append(time.perf_counter() - start)
                        break
        print(f"first token of an idle server: median {1000 * statistics.median(times):.2f} ms of 100")


if __name__ == "__main__":
    asyncio.run(main())

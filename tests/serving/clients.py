#!/usr/bin/env python3
"""The clients of others on `rnnlm serve`: the package openai, lm-evaluation-harness and schemathesis.

    cargo build --release -p rnnlm-cli
    python3 -m pip install openai 'lm-eval[api]' schemathesis
    python3 tests/serving/clients.py target/release/rnnlm

Trains a small model on words of the bundled text, each a document, serves it and runs every client that is installed. A client
that is not installed is reported as skipped. The harness's bits per byte must be those of `rnnlm eval`.
"""
import argparse
import importlib.util
import json
import math
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.request

TEXT = pathlib.Path(__file__).parents[2] / "data" / "sample.txt"
# The harness and `rnnlm eval` add the same single-precision log-probabilities in different orders.
TOLERANCE = 1e-6
# Requests that schemathesis generates, at least.
MIN_CASES = 2000

TASK = """\
task: words
dataset_path: json
dataset_kwargs:
  data_files:
    test: {documents}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{text}}}}"
metric_list:
  - metric: bits_per_byte
"""


def train(rnnlm, folder):
    """Writes documents of validation, trains on the other words, and returns the bits per byte of `rnnlm eval`."""
    words = sorted(set(re.findall(r"[a-z]+", TEXT.read_text(encoding="utf-8").lower())))
    validation = words[::7]
    (folder / "train.txt").write_text("".join(f"{word}\n" for word in words if word not in set(validation)))
    (folder / "validation.txt").write_text("".join(f"{word}\n" for word in validation))
    with open(folder / "validation.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": word + "\n"}) + "\n" for word in validation)
    settings = "--documents lines --cell gru --hidden-size 64 --epochs 3 --optimizer adamw --lr 0.003 --quiet".split()
    subprocess.run([rnnlm, "train", "--corpus", "train.txt", "--out", "words", *settings], cwd=folder, check=True)
    command = [rnnlm, "eval", "words", "--corpus", "validation.txt", "--format", "json"]
    return json.loads(subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout)["bits_per_byte"]


def check_openai(url, folder):
    import openai

    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
    assert [model.id for model in client.models.list()] == ["words"]
    request = {"model": "words", "prompt": "tra", "max_tokens": 20, "seed": 1}
    choice = client.completions.create(**request).choices[0]
    events = client.completions.create(**request, stream=True, stream_options={"include_usage": True})
    parts = list(events)
    assert "".join(part.choices[0].text for part in parts if part.choices) == choice.text
    assert parts[-1].usage.prompt_tokens == 3
    scored = client.completions.create(model="words", prompt="tra", max_tokens=0, echo=True, logprobs=2).choices[0]
    assert scored.text == "tra" and len(scored.logprobs.token_logprobs) == 3
    several = client.completions.create(**request, n=3).choices
    assert len({choice.text for choice in several}) > 1
    for error, call in [
        (openai.BadRequestError, lambda: client.completions.create(**{**request, "temperature": -1})),
        (openai.NotFoundError, lambda: client.completions.create(**{**request, "model": "absent"})),
        (openai.NotFoundError, lambda: client.chat.completions.create(model="words", messages=[])),
    ]:
        try:
            call()
        except error as raised:
            assert raised.body["message"], raised
        else:
            raise AssertionError(f"expected {error.__name__}")
    return "completions, streams, echo, n and errors are as the client expects"


def check_harness(url, folder, expected):
    (folder / "tasks").mkdir()
    task = TASK.format(documents=folder / "validation.jsonl")
    (folder / "tasks" / "words.yaml").write_text(task, encoding="utf-8")
    arguments = f"model=words,base_url={url}/v1/completions,tokenizer_backend=remote,max_length=512,num_concurrent=4"
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "local-completions", "--tasks", "words"]
    command += ["--include_path", "tasks", "--model_args", arguments, "--output_path", "results"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    report = next((folder / "results").rglob("results_*.json"))
    found = json.loads(report.read_text(encoding="utf-8"))["results"]["words"]["bits_per_byte,none"]
    assert math.isclose(found, expected, rel_tol=TOLERANCE), f"{found} bits per byte, rnnlm eval has {expected}"
    return f"{found:.9f} bits per byte, rnnlm eval {expected:.9f}"


def check_schemathesis(url, folder):
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--checks", checks]
    command += ["--max-examples", "150", "--seed", "1", "--continue-on-failure", "--request-timeout", "30"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    cases = sum(int(count) for count in re.findall(r"(\d+) generated", done.stdout))
    assert cases >= MIN_CASES, f"{cases} cases, at least {MIN_CASES} are wanted\n{done.stdout[-2000:]}"
    return f"{cases} cases: no 5xx, no violation of the schema"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rnnlm", type=pathlib.Path, help="the program")
    options = parser.parse_args()
    rnnlm = options.rnnlm.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        expected = train(rnnlm, folder)
        command = [rnnlm, "serve", "words", "--port", "0", "--quiet"]
        server = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
        try:
            url = server.stdout.readline().strip()
            urllib.request.urlopen(f"{url}/health").close()
            for package, check in [
                ("openai", check_openai),
                ("lm_eval", lambda url, folder: check_harness(url, folder, expected)),
                ("schemathesis", check_schemathesis),
            ]:
                if importlib.util.find_spec(package):
                    print(f"{package}: {check(url, folder)}", flush=True)
                else:
                    print(f"{package}: skipped, it is not installed", flush=True)
        finally:
            server.terminate()
        assert server.wait(timeout=20) == 0, "the server did not end with exit code 0"


if __name__ == "__main__":
    main()

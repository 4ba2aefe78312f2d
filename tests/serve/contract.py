"""Let schemathesis look for answers that the OpenAPI description does not tell.

    python tests/serve/contract.py [--max-examples 30] [--seed N]

Serves the small engine with a key, in a process of its own, and exits with schemathesis's code. Left out is the check
that every body which fits the description is accepted: a description cannot tell which texts are countries.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


def main() -> int:
    """Serve, test, and return the exit code."""
    import torch
    from conftest import wordpiece

    from intently.models.backbone import Backbone
    from intently.models.student import Student
    from intently.models.tokenizer import StudentTokenizer
    from intently.models.weights import BackboneConfig
    from intently.serve.keys import digest_of, new_secret
    from tests.engine.small_engine import make_engine, save

    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(3)
        tokenizer = StudentTokenizer(wordpiece())
        backbone = Backbone(BackboneConfig(tokenizer.vocab_size, 16, 2, 2, 32, 64))
        save(make_engine(Student(backbone, tokenizer)), Path(folder, "engine"))
        secret = new_secret()
        keys, settings, hooks = Path(folder, "keys.toml"), Path(folder, "serve.toml"), Path(folder, "hooks.py")
        keys.write_text(f'[[key]]\nname = "contract"\nsha256 = "{digest_of(secret)}"\nrole = "admin"\n')
        settings.write_text("deadline_ms = 5000.0\nmax_deadline_ms = 5000.0\ndrain_delay_s = 0.0\n")
        hooks.write_text(_HOOKS)
        environment = os.environ | {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": str(hooks)}
        command = [sys.executable, "-m", "intently", "serve", f"{folder}/engine", "--port", "0"]
        server = subprocess.Popen(
            [*command, "--keys", str(keys), "--settings", str(settings)],
            stderr=subprocess.PIPE, text=True, env=environment, cwd=folder,
        )  # fmt: skip
        try:
            assert server.stderr
            address = next(
                found[1] for line in server.stderr if (found := re.search(r"running on (http://[^ ]+)", line))
            )
            log = Path(folder, "log")
            with log.open("w") as file:
                copy = subprocess.Popen(["cat"], stdin=server.stderr, stdout=file)
            ran = subprocess.run(
                [
                    str(Path(sys.executable).parent / "schemathesis"), "run", f"{address}/openapi.json", "--no-color",
                    "--header", f"Authorization: Bearer {secret}",
                    "--exclude-checks", "positive_data_acceptance", *sys.argv[1:],
                ],
                env=environment, cwd=folder, check=False,
            )  # fmt: skip
        finally:
            server.terminate()
            code = server.wait(60)
            copy.wait(10)
        failures = [line for line in log.read_text().splitlines() if '"level": "error"' in line]
        print(f"the service ended with code {code} and logged {len(failures)} failures")
        for line in failures[:5]:
            print(line[:2_000])
        return ran.returncode or code or bool(failures)


_HOOKS = """
import json
import schemathesis

@schemathesis.serializer("application/x-ndjson")
def ndjson(context, value):
    return value.encode() if isinstance(value, str) else json.dumps(value).encode() + b"\\n"
"""

if __name__ == "__main__":
    sys.exit(main())

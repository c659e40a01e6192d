"""A program in the place of a trial's process: FOLDER NAME DRIVER BEHAVIOUR. It starts at once, without TensorFlow."""

import json
import os
import signal
import sys
import time
from pathlib import Path

folder, name, driver, behaviour = Path(sys.argv[1]), *sys.argv[2:]
state_file, run_folder = folder / "state" / f"{name}.json", folder / "trials" / name
before = json.loads(state_file.read_text()) if state_file.exists() else {}
state = {"state": "running", "driver": driver, "attempts": before.get("attempts", 0) + 1, "pid": os.getpid()}


def tell(**changes):
    state_file.write_text(json.dumps(state | changes))


def finish():
    (run_folder / "records").mkdir(parents=True)
    trials = json.loads((folder / "sweep.json").read_text())["trials"]
    spec = next(trial["spec"] for trial in trials if trial["name"] == name)
    (run_folder / "config.json").write_text(json.dumps(spec))
    (run_folder / "status.json").write_text('{"status": "completed"}')
    tell(state="completed")


def interrupted(*_):
    tell(state="interrupted")
    sys.exit(143)


tell()
sys.stdout.write(f"{name} speaks\n")
(folder / f"environment-{name}.json").write_text(json.dumps(dict(os.environ)))
if (behaviour == "dies once" and state["attempts"] == 1) or behaviour == "dies":
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)
elif behaviour == "fails":
    tell(state="failed", error="It broke.", exit_code=1)
    sys.exit(1)
elif behaviour == "exits":
    sys.exit(7)
elif behaviour == "waits":
    signal.signal(signal.SIGTERM, interrupted)
    tell(state="running", epochs=1)  # it is ready to be asked to end
    time.sleep(60)
elif behaviour == "does not listen":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tell(state="running", epochs=1)
    time.sleep(60)
else:
    finish()

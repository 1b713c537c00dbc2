"""Many simulated edges in one process (tests/sim/sim.c says what it is asked). It is a release build, whatever the daemons are."""

import json
import subprocess
import threading

from .nodes import RELEASE

USES = 1000  # of a token, at most


class Sim:
    def __init__(self, folder, build=None):
        folder.mkdir(parents=True)
        self.said = folder / "log"
        argv = ["setpriv", "--pdeathsig", "KILL", (build or RELEASE) / "entrepot-sim", folder]
        self.child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(self.said, "wb"), text=True)

    def tell(self, *words):
        """Begins what self.answer() waits for."""
        self.child.stdin.write(" ".join(str(w) for w in words) + "\n")
        self.child.stdin.flush()

    def answer(self, deadline_s=600):
        """What was told is over: its figures. The deadline only ends what hangs."""
        end = threading.Timer(deadline_s, self.child.kill)
        end.start()
        line = self.child.stdout.readline()
        end.cancel()
        assert line, f"the simulator ended, or was ended after {deadline_s} s\n{self.said.read_text(errors='replace')[-3000:]}"
        told = json.loads(line)
        assert "error" not in told, told
        return told

    def ask(self, *words, **how):
        self.tell(*words)
        return self.answer(**how)

    def join(self, central, n, site="branch"):
        """n more edges have certificates; central: a node of this lab that runs."""
        for some in [USES] * (n // USES) + [n % USES] * (n % USES > 0):
            said = central.command("edge", "invite", "--site", site, "--uses", some).stdout
            self.ask("join", said.splitlines()[0], some)

    def change(self, central, ref, *layouts):
        """Each layout (folder, digest) is loaded at central as `ref`, and seen by every edge."""
        repo, tag = ref.rsplit(":", 1)
        words = [w for layout in layouts for w in layout]
        return self.ask("change", central.data / "control.sock", repo, tag, *words)

    def stop(self):
        self.child.stdin.close()
        self.child.stdout.close()
        self.child.wait(60)

"""draft"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil
from nothing import result_of, simulated

from mitoscale.cluster.clusters import ClusterSettings, start
from mitoscale.core.result import BlockResult
from mitoscale.pipeline.stage_run import StageRun
from mitoscale.pipeline.standing import FINISHED, closing_sum, digest, ledger_of, Standing
from mitoscale.storage.events import EventLog
from mitoscale.storage.layout import RunFolder


class Watch:
    def __init__(self, every):
        self.every=every; self.n=0; self.rows=[]; self.me=psutil.Process()
    def stage_started(self, name, total, done):
        self.t0=time.perf_counter(); self.c0=time.process_time(); self.row()
    def row(self):
        self.rows.append((self.n, time.perf_counter()-self.t0, time.process_time()-self.c0, self.me.memory_info().rss/2**20))
        n,t,c,m=self.rows[-1]
        print(f"{n} wall {t:.1f} cpu {c:.1f} rss {m:.1f}", end=" ")
        if n:
            print(f"ms/block {1e3*t/n:.2f} {1e3*c/n:.2f}  KiB/block {1024*(m-self.rows[0][3])/n:.2f}  since last {1024*(m-self.rows[-2][3])/(n-self.rows[-2][0]):.2f}", end="")
        print(flush=True)
    def task_done(self, name, voxels):
        self.n+=1
        if self.n%self.every==0: self.row()
    def stage_finished(self, outcome):
        self.row()

def main():
    p=argparse.ArgumentParser(); p.add_argument("--blocks",type=int,default=100000); p.add_argument("--trace",action="store_true")
    a=p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run=simulated(folder,a.blocks)
        ledger=ledger_of(run,"convert"); token=run.plan.settings.token("convert")
        t=time.perf_counter()
        for b in run.plan.convert_grid.blocks(): ledger.append(result_of(b),token=token)
        print("ledger append ms", 1e3*(time.perf_counter()-t)/a.blocks)
        ledger.append(BlockResult(name=FINISHED, checksum="0"), token=token, inputs=digest([])); ledger.close()
        with start(ClusterSettings(workers=2,threads=1,memory="1 GiB")) as cluster:
            if a.trace:
                import tracemalloc; tracemalloc.start(12)
            w=Watch(max(1,a.blocks//10))
            out=StageRun(run,"detect",cluster.executor,w,EventLog(RunFolder(folder).events)).go()
            print(out)
            if a.trace:
                import gc; gc.collect()
                s=tracemalloc.take_snapshot()
                for st in s.statistics("lineno")[:25]: print(st)
                for st in s.statistics("traceback")[:6]: print(st); print("\n".join(st.traceback.format()))

if __name__=="__main__":
    main()

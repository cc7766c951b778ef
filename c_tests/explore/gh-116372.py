# gh-116372 in the interpreter that had it (3.12.1): two threads and the main
# one join the same thread; one of them finds its lock held by another.
import os
import sys
import threading


def failed(args):
    print(args.exc_type.__name__, args.exc_value, file=sys.stderr, flush=True)
    os._exit(1)


threading.excepthook = failed
gate = threading.Lock()
gate.acquire()
worker = threading.Thread(target=gate.acquire)
worker.start()
joiners = [threading.Thread(target=worker.join) for _ in range(2)]
for joiner in joiners:
    joiner.start()
gate.release()
worker.join()
for joiner in joiners:
    joiner.join()

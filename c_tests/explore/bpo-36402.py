# bpo-36402 in the interpreter that had it (3.6): a thread of a sub-interpreter
# ends while the interpreter does.
import _testcapi

_testcapi.run_in_subinterp("""
import threading
threading.Thread(target=lambda: None).start()
""")

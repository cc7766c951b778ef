/* bpo-36402 mended: the sub-interpreter waits for its threads itself. */
#include "host.h"

static int ran;

static void run(void *arg) {
    (void)arg;
    next_bytecode();
    ran = 1;
}

int main(void) {
    begin(0);
    PyThreadState *main_state = PyThreadState_Get();
    PyThreadState *sub = Py_NewInterpreter();
    check(sub != NULL);
    PyThreadHandle *handle = start_attached(run, NULL, 0);
    Py_EndInterpreter(sub);
    check(ran);
    PyThreadState_Swap(main_state);
    PyThreadHandle_Decref(handle);
    return Py_FinalizeEx();
}

/* Guard dropped too early, mended: it is open until the last detach. */
#include "host.h"

static PyInterpreterView *view;

static void *work(void *arg) {
    PyInterpreterGuard *guard = PyInterpreterGuard_FromView(view);
    if (guard == NULL)
        return arg;
    PyGILState_STATE token = PyGILState_Ensure();
    PyGILState_Release(token);
    PyInterpreterGuard_Close(guard);
    return arg;
}

int main(void) {
    begin(0);
    check(PyTState_SetLateAttachPolicy(PyTState_LATE_ABORT) == 0);
    view = PyInterpreterView_FromMain();
    pthread_t thread = start(work, NULL);
    check(Py_FinalizeEx() == 0);
    check(pthread_join(thread, NULL) == 0);
    PyInterpreterView_Close(view);
    return 0;
}

/* Correct: a daemon works on while the runtime ends, and hangs by design. */
#include "host.h"

static void work(void *arg) {
    (void)arg;
    for (int i = 0; i < 5; i++)
        give_way();
}

int main(void) {
    begin(0);
    PyThreadHandle *daemon = start_attached(work, NULL, PyThreadHandle_DAEMON);
    give_way();
    PyThreadHandle_Decref(daemon);
    return Py_FinalizeEx();
}

/* Check, then start: two threads find no worker running, and both start it. */
#include "host.h"

static int running, workers;

static void work(void *arg) {
    (void)arg;
    check(++workers == 1);
}

static void submit(void *arg) {
    (void)arg;
    if (running)
        return;
    next_bytecode();
    PyThreadHandle *worker = start_attached(work, NULL, 0);
    running = 1;
    join_handle(worker);
}

int main(void) {
    begin(0);
    PyThreadHandle *other = start_attached(submit, NULL, 0);
    submit(NULL);
    join_handle(other);
    return Py_FinalizeEx();
}

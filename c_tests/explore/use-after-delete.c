/* Use after delete: a watcher keeps the pointer to a worker's state, sees that
 * the worker lives, and uses the pointer when the state is gone. */
#include "host.h"

static struct {
    PyThreadState *tstate;
    int alive, deleted;
} worker;

static void on_delete(void *arg) {
    (void)arg;
    worker.deleted = 1;
}

static void work(void *arg) {
    (void)arg;
    worker.tstate = PyThreadState_Get();
    worker.tstate->on_delete = on_delete;
    worker.alive = 1;
    next_bytecode();
    worker.alive = 0;
}

static void watch(void *arg) {
    (void)arg;
    if (worker.alive) {
        next_bytecode();
        check(!worker.deleted); /* or it would be read freed */
        check(worker.tstate->id != 0);
    }
}

int main(void) {
    begin(0);
    PyThreadHandle *first = start_attached(work, NULL, 0);
    PyThreadHandle *second = start_attached(watch, NULL, 0);
    join_handle(first);
    join_handle(second);
    return Py_FinalizeEx();
}

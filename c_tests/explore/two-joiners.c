/* gh-116372 mended: two threads join a third through its handle. */
#include "host.h"

static PyThreadHandle *a;

static void run_a(void *arg) {
    (void)arg;
    next_bytecode();
}

static void join_a(void *arg) {
    (void)arg;
    check(PyThreadHandle_Join(a, -1) == 0);
}

int main(void) {
    begin(0);
    a = start_attached(run_a, NULL, 0);
    PyThreadHandle *joiner = start_attached(join_a, NULL, 0);
    join_a(NULL);
    join_handle(joiner);
    PyThreadHandle_Decref(a);
    return Py_FinalizeEx();
}

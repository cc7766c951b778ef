/* Double join: two threads see that a third is not joined yet; both join it. */
#include "host.h"

static pthread_t worker;
static int joined, joins;

static void *work(void *arg) { return arg; }

static void join_once(void *arg) {
    (void)arg;
    if (joined)
        return;
    next_bytecode();
    check(joins++ == 0); /* the second join of a thread is undefined */
    joined = 1;
    join_detached(worker);
}

int main(void) {
    begin(0);
    worker = start(work, NULL);
    PyThreadHandle *joiner = start_attached(join_once, NULL, 0);
    join_once(NULL);
    join_handle(joiner);
    return Py_FinalizeEx();
}

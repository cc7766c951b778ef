/* Event set before publish, mended: first the data, then the event. */
#include "host.h"

static PyEvent ready;
static int data;

static void *produce(void *arg) {
    data = 42;
    _PyEvent_Notify(&ready);
    return arg;
}

static void *consume(void *arg) {
    PyEvent_Wait(&ready);
    check(data == 42);
    return arg;
}

int main(void) {
    begin(0);
    pthread_t first = start(produce, NULL), second = start(consume, NULL);
    join_detached(first);
    join_detached(second);
    return Py_FinalizeEx();
}

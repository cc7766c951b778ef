/* A plug-in with a thread of its own, which waits until its interpreter is
 * finalized. The host need not ask it to stop: finalization wakes the thread
 * and waits until it has exited. */
#include "plugin.h"

static const Host *the_host;
static PyEvent stop;

/* Called by the finalizing thread, while `listen_for` waits. */
static void wake(void *unused) {
    (void)unused;
    PyTState_EventSet(&stop);
}

static void listen_for(void *unused) {
    (void)unused;
    PyTState_BeginBlocking(wake, NULL);
    PyEvent_Wait(&stop); /* or accept(), read(), a condition variable */
    PyTState_EndBlocking();
    the_host->log("listener: its thread was woken, and returns");
}

static void say_goodbye(void *unused) {
    (void)unused;
    the_host->log("listener: its interpreter is finalized");
}

int plugin_start(const Host *host) {
    PyInterpreterState *mine = PyInterpreterState_Get();
    PyThreadHandle *thread = PyThreadHandle_New();
    the_host = host;
    if (thread == NULL || PyUnstable_AtExit(mine, say_goodbye, NULL) != 0)
        return -1;
    int failed = PyThreadHandle_Start(thread, mine, listen_for, NULL, 0);
    PyThreadHandle_Decref(thread); /* finalization needs no handle */
    host->log("listener: started");
    return failed;
}

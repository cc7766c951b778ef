/* A host compiled with ThreadSanitizer, over a library that is not: plain data
 * that only the library's locks, events, attaches and pauses order.
 *
 * usage: host CASE [unordered]     unordered: a planted race */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pytstate.h>
#include <pytstate/internal.h>

enum { THREADS = 4, ROUNDS = 2000 };
static long count;
static int unordered;
static PyInterpreterState *interp;

static PyMutex mutex;
static _PyRWMutex rw;
static _PyRawMutex raw;
static _PyRecursiveMutex recursive;
static _PyOnceFlag once;
static PyEvent event;
static PyThread_type_lock lock;

static void with_mutex(void) {
    if (!unordered)
        PyMutex_Lock(&mutex);
    count++;
    if (!unordered)
        PyMutex_Unlock(&mutex);
}

static void with_rw(void) {
    if (!unordered)
        _PyRWMutex_Lock(&rw);
    count++;
    if (!unordered)
        _PyRWMutex_Unlock(&rw);
    _PyRWMutex_RLock(&rw);
    if (count < 0)
        abort();
    _PyRWMutex_RUnlock(&rw);
}

static void with_raw(void) {
    if (!unordered)
        _PyRawMutex_Lock(&raw);
    count++;
    if (!unordered)
        _PyRawMutex_Unlock(&raw);
}

static void with_recursive(void) {
    if (!unordered)
        _PyRecursiveMutex_Lock(&recursive);
    count++;
    if (!unordered)
        _PyRecursiveMutex_Unlock(&recursive);
}

static void with_lock(void) {
    if (!unordered)
        PyThread_acquire_lock(lock, WAIT_LOCK);
    count++;
    if (!unordered)
        PyThread_release_lock(lock);
}

static void with_section(void) {
    PyCriticalSection cs;
    if (!unordered)
        PyCriticalSection_BeginMutex(&cs, &mutex);
    count++;
    if (!unordered)
        PyCriticalSection_End(&cs);
    PyTState_Poll(PyThreadState_Get());
}

static void with_pause(void) {
    if (!unordered)
        _PyEval_StopTheWorld(interp);
    count++;
    if (!unordered)
        _PyEval_StartTheWorld(interp);
    PyTState_Poll(PyThreadState_Get());
}

static int fill(void *unused) {
    (void)unused;
    count = 1;
    return 0;
}

static void with_once(void) {
    if (!unordered)
        _PyOnceFlag_CallOnce(&once, fill, NULL);
    else
        fill(NULL);
    if (count != 1)
        abort();
}

static void attached(void) {
    PyThreadState *mine = PyEval_SaveThread();
    if (unordered)
        count++;
    PyEval_RestoreThread(mine);
    if (!unordered)
        count++;
}

static const struct {
    const char *name;
    void (*body)(void);
    int gil, rounds;
} cases[] = {
    {"mutex", with_mutex, PyTState_GIL_NONE, ROUNDS},
    {"rw", with_rw, PyTState_GIL_NONE, ROUNDS},
    {"raw", with_raw, PyTState_GIL_NONE, ROUNDS},
    {"recursive", with_recursive, PyTState_GIL_NONE, ROUNDS},
    {"lock", with_lock, PyTState_GIL_NONE, ROUNDS},
    {"section", with_section, PyTState_GIL_NONE, ROUNDS},
    {"pause", with_pause, PyTState_GIL_NONE, 50},
    {"once", with_once, PyTState_GIL_NONE, 1},
    {"attach", attached, PyTState_GIL_SHARED, ROUNDS},
};

struct job {
    void (*body)(void);
    int rounds;
};

/* All run at the same time, which orders nothing: a thread that follows another
 * one may get its state's memory, and is ordered after it by that. */
static void meet(void) {
    static atomic_int here;
    atomic_fetch_add_explicit(&here, 1, memory_order_relaxed);
    Py_BEGIN_ALLOW_THREADS
    while (atomic_load_explicit(&here, memory_order_relaxed) < THREADS)
        ;
    Py_END_ALLOW_THREADS
}

static void work(void *arg) {
    const struct job *job = arg;
    meet();
    for (int i = 0; i < job->rounds; i++)
        job->body();
}

/* Plain data handed over by an event, and by the end of a thread. */
static void produce(void *unused) {
    (void)unused;
    count = 1;
    _PyEvent_Notify(&event);
    count = 2; /* after the event: only the join orders it */
}

static int hand_over(void) {
    PyThreadHandle *handle = PyThreadHandle_New();
    if (PyThreadHandle_Start(handle, interp, produce, NULL, 0) != 0)
        return 1;
    PyEvent_Wait(&event);
    if (!unordered)
        PyThreadHandle_Join(handle, -1);
    int right = count == 2;
    PyThreadHandle_Join(handle, -1);
    PyThreadHandle_Decref(handle);
    return !right;
}

int main(int argc, char **argv) {
    PyThreadHandle *handles[THREADS];
    struct job job = {NULL, 0};
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.gil = PyTState_GIL_NONE;
    unordered = argc > 2;
    for (size_t i = 0; argc > 1 && i < sizeof cases / sizeof cases[0]; i++)
        if (strcmp(argv[1], cases[i].name) == 0) {
            job.body = cases[i].body;
            job.rounds = cases[i].rounds;
            config.gil = cases[i].gil;
        }
    if (PyStatus_Exception(PyTState_Initialize(&config)))
        return 1;
    interp = PyInterpreterState_Get();
    lock = PyThread_allocate_lock();
    int failed = 0;
    if (job.body == NULL) {
        failed = hand_over();
    } else {
        for (int i = 0; i < THREADS; i++) {
            handles[i] = PyThreadHandle_New();
            if (PyThreadHandle_Start(handles[i], interp, work, &job, 0) != 0)
                return 1;
        }
        for (int i = 0; i < THREADS; i++) {
            PyThreadHandle_Join(handles[i], -1);
            PyThreadHandle_Decref(handles[i]);
        }
        failed = job.body != with_once && count != (long)THREADS * job.rounds;
    }
    PyThread_free_lock(lock);
    if (Py_FinalizeEx() != 0 || failed)
        return 1;
    return 0;
}

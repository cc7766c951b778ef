/* What the plain programs of this folder share: a host that embeds the
 * runtime, with no sync point and no sleep in it. Each program is a race (or
 * the same with the race mended) as a host's author would write it, and ends
 * with status 0 unless the race happens.
 *
 *     pytstate explore -- build/explore/gh-116372
 */
#ifndef PYTSTATE_EXPLORE_HOST_H
#define PYTSTATE_EXPLORE_HOST_H

#include <pytstate.h>
#include <pytstate/internal.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define COMPAT_3_12 0x030C0000
#define COMPAT_3_13 0x030D0000

/* Ends the program with SIGABRT and a message, in every build. */
#define check(condition)                                                   \
    ((condition) ? (void)0                                                 \
                 : (void)(fprintf(stderr, "Assertion failed: %s, %s:%d\n", \
                                  #condition, __FILE__, __LINE__),         \
                          abort()))

/* Initializes the runtime with the rules of a version; 0: the default. */
static inline void begin(int compat) {
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.compat = compat;
    check(!PyStatus_Exception(PyTState_Initialize(&config)));
}

/* What stands between any two bytecodes: the thread gives up the GIL here if
 * another has waited for it for a switch interval. */
static inline void next_bytecode(void) { PyTState_Poll(PyThreadState_Get()); }

/* A call that gives up the GIL for a moment, as one that blocks does. */
static inline void give_way(void) {
    Py_BEGIN_ALLOW_THREADS;
    Py_END_ALLOW_THREADS;
}

static inline pthread_t start(void *(*function)(void *), void *arg) {
    pthread_t thread;
    check(pthread_create(&thread, NULL, function, arg) == 0);
    return thread;
}

/* Joins with the GIL given up meanwhile. */
static inline void join_detached(pthread_t thread) {
    Py_BEGIN_ALLOW_THREADS;
    check(pthread_join(thread, NULL) == 0);
    Py_END_ALLOW_THREADS;
}

/* Starts a thread of the library; it runs attached. */
static inline PyThreadHandle *start_attached(void (*function)(void *),
                                             void *arg, int flags) {
    PyThreadHandle *handle = PyThreadHandle_New();
    check(handle != NULL);
    check(PyThreadHandle_Start(handle, PyInterpreterState_Get(), function, arg,
                               flags) == 0);
    return handle;
}

static inline void join_handle(PyThreadHandle *handle) {
    check(PyThreadHandle_Join(handle, -1) == 0);
    PyThreadHandle_Decref(handle);
}

#endif

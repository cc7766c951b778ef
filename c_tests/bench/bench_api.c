/*
 * Cost of calls through the ABI. One source, compiled against this library
 * and against a real libpython; `compare` runs both in turns and prints the
 * ratio of the smallest times per row.
 *
 * Output: one line per row: NAME NANOSECONDS [NAME NUMBER ...]
 */
#define PYTSTATE_NO_INLINE_FAST_PATHS
#include <Python.h>
#ifdef PYTSTATE_UNDER_TEST
#include <pytstate/internal.h>
#endif

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Prints the smallest of several batches, per operation. */
#define ROW(name, batches, per_batch, statement)                   \
    do {                                                           \
        double best = 1e18;                                        \
        for (int batch_ = 0; batch_ < (batches); batch_++) {       \
            int64_t begin_ = now();                                \
            for (int i_ = 0; i_ < (per_batch); i_++) {             \
                statement;                                         \
            }                                                      \
            double each_ = (double)(now() - begin_) / (per_batch); \
            best = each_ < best ? each_ : best;                    \
        }                                                          \
        printf("%s %.2f\n", name, best);                           \
        fflush(stdout);                                            \
    } while (0)

static PyThreadState *volatile sink;

static void new_clear_delete(PyInterpreterState *interp) {
    PyThreadState *state = PyThreadState_New(interp);
    PyThreadState_Clear(state);
    PyThreadState_Delete(state);
}

static void *foreign_gilstate(void *unused) {
    (void)unused;
    ROW("gilstate_cold_pair", 20, 5000, {
        PyGILState_STATE token = PyGILState_Ensure();
        PyGILState_Release(token);
    });
    return NULL;
}

static int do_nothing(void *unused) {
    (void)unused;
    return 0;
}

/* ---- threads that share the GIL ---- */

struct worker {
    pthread_t thread;
    PyInterpreterState *interp;
    pthread_barrier_t *start;
    atomic_int *stop;
    long rounds;
};

static void *take_and_drop(void *argument) {
    struct worker *worker = argument;
    PyThreadState *state = PyThreadState_New(worker->interp);
    pthread_barrier_wait(worker->start);
    long rounds = 0;
    while (!atomic_load_explicit(worker->stop, memory_order_relaxed)) {
        PyEval_RestoreThread(state);
        PyEval_SaveThread();
        rounds++;
    }
    worker->rounds = rounds;
    PyEval_RestoreThread(state);
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
    return NULL;
}

static double middle(double a, double b, double c) {
    double least = a < b ? a : b, most = a < b ? b : a;
    return c < least ? least : c > most ? most : c;
}

static void contended(const char *name, int count) {
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadState *mine = PyEval_SaveThread();
    double best = 1e18, fairness[3];
    for (int batch = 0; batch < 3; batch++) {
        struct worker workers[16];
        pthread_barrier_t start;
        atomic_int stop = 0;
        pthread_barrier_init(&start, NULL, (unsigned)count + 1);
        for (int i = 0; i < count; i++) {
            workers[i] = (struct worker){
                .interp = interp, .start = &start, .stop = &stop};
            pthread_create(&workers[i].thread, NULL, take_and_drop,
                           &workers[i]);
        }
        pthread_barrier_wait(&start);
        int64_t begin = now();
        struct timespec span = {0, 400000000};
        nanosleep(&span, NULL);
        atomic_store(&stop, 1);
        int64_t end = now();
        long total = 0, least = -1, most = 0;
        for (int i = 0; i < count; i++) {
            pthread_join(workers[i].thread, NULL);
            long rounds = workers[i].rounds;
            total += rounds;
            least = least < 0 || rounds < least ? rounds : least;
            most = rounds > most ? rounds : most;
        }
        pthread_barrier_destroy(&start);
        double each = (double)(end - begin) / (double)(total ? total : 1);
        double fair = most ? (double)least / (double)most : 0;
        best = each < best ? each : best;
        fairness[batch] = fair;
    }
    PyEval_RestoreThread(mine);
    printf("%s %.2f slowest/fastest %.3f\n", name, best,
           middle(fairness[0], fairness[1], fairness[2]));
    fflush(stdout);
}

/* Two threads hand the GIL to and fro: each lets go until it is its turn. */
struct pong {
    PyInterpreterState *interp;
    pthread_barrier_t *start;
    _Atomic int *turn;
    int me, rounds;
};

static void *ping(void *argument) {
    struct pong *pong = argument;
    PyThreadState *state = PyThreadState_New(pong->interp);
    pthread_barrier_wait(pong->start);
    PyEval_RestoreThread(state);
    for (int i = 0; i < pong->rounds; i++) {
        while (atomic_load(pong->turn) != pong->me) {
            PyEval_SaveThread();
            PyEval_RestoreThread(state);
        }
        atomic_store(pong->turn, !pong->me);
    }
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
    return NULL;
}

static void ping_pong(void) {
    enum { ROUNDS = 5000 };
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadState *mine = PyEval_SaveThread();
    double best = 1e18;
    for (int batch = 0; batch < 5; batch++) {
        _Atomic int turn = 0;
        pthread_barrier_t start;
        pthread_barrier_init(&start, NULL, 3);
        struct pong pongs[2];
        pthread_t threads[2];
        for (int i = 0; i < 2; i++) {
            pongs[i] = (struct pong){interp, &start, &turn, i, ROUNDS};
            pthread_create(&threads[i], NULL, ping, &pongs[i]);
        }
        int64_t begin = now();
        pthread_barrier_wait(&start);
        pthread_join(threads[0], NULL);
        pthread_join(threads[1], NULL);
        double each = (double)(now() - begin) / (2 * ROUNDS);
        best = each < best ? each : best;
        pthread_barrier_destroy(&start);
    }
    PyEval_RestoreThread(mine);
    printf("gil_ping_pong %.2f\n", best);
    fflush(stdout);
}

/* ---- threads from start to join ---- */

static void *live_once(void *interp) {
    PyThreadState *state = PyThreadState_New(interp);
    PyEval_RestoreThread(state);
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
    return NULL;
}

static void *live_bare(void *unused) {
    (void)unused;
    return NULL;
}

static void thread_life(void) {
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadState *mine = PyEval_SaveThread();
    ROW("thread_bare_pthread", 10, 200, {
        pthread_t thread;
        pthread_create(&thread, NULL, live_bare, NULL);
        pthread_join(thread, NULL);
    });
    ROW("thread_start_to_join", 10, 200, {
        pthread_t thread;
        pthread_create(&thread, NULL, live_once, interp);
        pthread_join(thread, NULL);
    });
    PyEval_RestoreThread(mine);
}

/* ---- flat cost ---- */

static void with_alive(const char *name, int count) {
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyThreadState **states = malloc(sizeof(*states) * (size_t)count);
    for (int i = 0; i < count; i++) {
        states[i] = PyThreadState_New(interp);
    }
    ROW(name, 10, 2000, new_clear_delete(interp));
    for (int i = 0; i < count; i++) {
        PyThreadState_Clear(states[i]);
        PyThreadState_Delete(states[i]);
    }
    free(states);
}

static void memory(void) {
    enum { STATES = 2000, INTERPRETERS = 50 };
    PyInterpreterState *interp = PyInterpreterState_Get();
    static PyThreadState *states[STATES];
    for (int i = 0; i < STATES; i++) {
        states[i] = NULL;
    }
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < STATES; i++) {
        states[i] = PyThreadState_New(interp);
    }
    double each = (double)(mallinfo2().uordblks - before) / STATES;
    printf("bytes_per_thread_state %.0f\n", each);
    for (int i = 0; i < STATES; i++) {
        PyThreadState_Clear(states[i]);
        PyThreadState_Delete(states[i]);
    }
    PyThreadState *mine = PyThreadState_Get();
    PyThreadState *subs[INTERPRETERS];
    before = mallinfo2().uordblks;
    for (int i = 0; i < INTERPRETERS; i++) {
        subs[i] = Py_NewInterpreter();
    }
    each = (double)(mallinfo2().uordblks - before) / INTERPRETERS;
    printf("bytes_per_interpreter %.0f\n", each);
    for (int i = 0; i < INTERPRETERS; i++) {
        PyThreadState_Swap(subs[i]);
        Py_EndInterpreter(subs[i]);
    }
    PyThreadState_Swap(mine);
    fflush(stdout);
}

/* ---- lifecycle ---- */

static void lifecycle(int batches) {
    double init = 1e18, fini = 1e18, sub = 1e18;
    for (int batch = 0; batch < batches; batch++) {
        int64_t a = now();
        Py_InitializeEx(0);
        int64_t b = now();
        PyThreadState *mine = PyThreadState_Get();
        PyThreadState *other = Py_NewInterpreter();
        Py_EndInterpreter(other);
        int64_t c = now();
        PyThreadState_Swap(mine);
        int64_t d = now();
        Py_FinalizeEx();
        int64_t e = now();
        init = (double)(b - a) < init ? (double)(b - a) : init;
        sub = (double)(c - b) < sub ? (double)(c - b) : sub;
        fini = (double)(e - d) < fini ? (double)(e - d) : fini;
    }
    printf("initialize %.0f\nsubinterpreter_new_end %.0f\nfinalize %.0f\n",
           init, sub, fini);
    fflush(stdout);
}

#ifdef PYTSTATE_UNDER_TEST
/* ---- what only this library has ---- */

static PyThreadState *new_gil_free(void) {
    PyInterpreterConfig config = _PyInterpreterConfig_LEGACY_INIT;
    config.gil = PyTState_INTERP_NO_GIL;
    PyThreadState *state = NULL;
    PyStatus status = Py_NewInterpreterFromConfig(&state, &config);
    if (PyStatus_Exception(status)) {
        Py_ExitStatusException(status);
    }
    return state;
}

static void gil_free(PyThreadState *mine) {
    PyThreadState *state = new_gil_free();
    ROW("gil_free_save_restore", 20, 100000,
        PyEval_RestoreThread(PyEval_SaveThread()));
    Py_EndInterpreter(state);
    PyThreadState_Swap(mine);
}

/* ---- pauses: from the request until everybody stands ---- */

struct poller {
    pthread_t thread;
    PyInterpreterState *interp;
    atomic_int *stop;
    atomic_long *polls;
};

static void *poll_every_10_us(void *argument) {
    struct poller *me = argument;
    PyThreadState *state = PyThreadState_New(me->interp);
    PyEval_RestoreThread(state);
    while (!atomic_load(me->stop)) {
        int64_t end = now() + 10000;
        while (now() < end) {
        }
        atomic_fetch_add(me->polls, 1);
        PyTState_Poll(state);
    }
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
    return NULL;
}

static int by_value(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void pauses(const char *name, PyThreadState *mine, int count) {
    enum { PAUSES = 200 };
    int64_t took[PAUSES];
    struct poller pollers[8];
    atomic_int stop = 0;
    atomic_long polls = 0;
    PyThreadState *first = new_gil_free();
    PyInterpreterState *interp = PyThreadState_GetInterpreter(first);
    PyThreadState_Swap(mine);
    for (int i = 0; i < count; i++) {
        pollers[i] = (struct poller){0, interp, &stop, &polls};
        pthread_create(&pollers[i].thread, NULL, poll_every_10_us, &pollers[i]);
    }
    for (int i = 0; i < PAUSES; i++) {
        long before = atomic_load(&polls);
        while (atomic_load(&polls) < before + 20 * count) {
            sched_yield();
        }
        int64_t begin = now();
        _PyEval_StopTheWorld(interp);
        took[i] = now() - begin;
        _PyEval_StartTheWorld(interp);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < count; i++) {
        pthread_join(pollers[i].thread, NULL);
    }
    qsort(took, PAUSES, sizeof(took[0]), by_value);
    printf("%s %.2f\n", name, (double)took[PAUSES / 2]);
    fflush(stdout);
    PyThreadState_Swap(first);
    Py_EndInterpreter(first);
    PyThreadState_Swap(mine);
}

/* ---- waits ---- */

static void until_set(void *event) { PyEvent_Wait(event); }

static void wait_for(const char *name, int count) {
    PyInterpreterState *interp = PyInterpreterState_Get();
    PyEvent released = {0};
    for (int i = 0; i < count; i++) {
        PyThreadHandle *handle = PyThreadHandle_New();
        if (PyThreadHandle_Start(handle, interp, until_set, &released, 0)) {
            printf("# %s: %s\n", name, PyTState_ErrMessage());
            PyErr_Clear();
        }
        PyThreadHandle_Decref(handle);
    }
    int64_t begin = now();
    _PyEvent_Notify(&released);
    _PyInterpreterState_WaitForThreads(interp);
    printf("%s %.2f\n", name, (double)(now() - begin) / count);
    fflush(stdout);
}
#endif

int main(int argc, char **argv) {
    const char *only = argc > 1 ? argv[1] : "";
    if (strcmp(only, "hot") != 0) {
        lifecycle(10);
    }
    Py_InitializeEx(0);
    PyThreadState *mine = PyThreadState_Get();
    PyInterpreterState *interp = PyInterpreterState_Get();
    if (strcmp(only, "hot") != 0) {
        memory();
    }
    ROW("thread_state_get", 20, 200000, sink = PyThreadState_Get());
    ROW("save_restore", 20, 100000, PyEval_RestoreThread(PyEval_SaveThread()));
    ROW("swap_pair", 20, 100000, {
        PyThreadState_Swap(NULL);
        PyThreadState_Swap(mine);
    });
    ROW("gilstate_nested_pair", 20, 100000, {
        PyGILState_STATE token = PyGILState_Ensure();
        PyGILState_Release(token);
    });
    ROW("new_clear_delete", 20, 20000, new_clear_delete(interp));
    ROW("pending_add_run", 20, 20000, {
        Py_AddPendingCall(do_nothing, NULL);
        Py_MakePendingCalls();
    });
    PyEval_SaveThread();
    pthread_t foreign;
    pthread_create(&foreign, NULL, foreign_gilstate, NULL);
    pthread_join(foreign, NULL);
    PyEval_RestoreThread(mine);
    if (strcmp(only, "hot") != 0) {
        with_alive("new_clear_delete_10_alive", 10);
        with_alive("new_clear_delete_1000_alive", 1000);
        with_alive("new_clear_delete_10000_alive", 10000);
        with_alive("new_clear_delete_100000_alive", 100000);
        thread_life();
#ifdef PYTSTATE_UNDER_TEST
        gil_free(mine);
        pauses("pause_of_2_median", mine, 2);
        pauses("pause_of_8_median", mine, 8);
        wait_for("wait_for_threads_each_of_200", 200);
        wait_for("wait_for_threads_each_of_2000", 2000);
#endif
        ping_pong();
        contended("gil_contended_4", 4);
        contended("gil_contended_16", 16);
    }
    Py_FinalizeEx();
    return 0;
}

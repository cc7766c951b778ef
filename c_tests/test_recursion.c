/* Recursion checks on the real C stack. */
#include "harness.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pytstate.h>

/* CPython's margin, from which the documented sizes follow. */
#define MARGIN (2048 * sizeof(void *))
#define LEAST (3 * MARGIN)
#define KIB 1024

#ifdef __SANITIZE_THREAD__
#define NEEDS_ALL_OF_A_STACK \
    SKIP("ThreadSanitizer takes half of a stack for itself")
#else
#define NEEDS_ALL_OF_A_STACK (void)0
#endif

/* AddressSanitizer asks as well, for every thread. */
#ifdef __SANITIZE_ADDRESS__
#define ASKED_BY_RUNTIME 1
#else
#define ASKED_BY_RUNTIME 0
#endif

/* How often the library asked for a thread's stack. */
static atomic_int asked;

int pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes) {
    int (*real)(pthread_t, pthread_attr_t *);
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_getattr_np");
    atomic_fetch_add(&asked, 1);
    return real(thread, attributes);
}

/* ---- A stack of a known size, used to its soft limit ------------------ */

struct dive {
    size_t size; /* of the stack */
    void (*body)(struct dive *);
    int depth;        /* calls that were let through */
    size_t deepest;   /* bytes between the first and the last frame */
    char message[99]; /* of the error */
};

static char *first_frame;

static int descend(struct dive *dive, int heed) {
    volatile char frame[512];
    frame[0] = 1;
    if (Py_EnterRecursiveCall(" in a dive") != 0) {
        dive->deepest = (size_t)(first_frame - (char *)frame);
        if (heed)
            return -1;
        PyErr_Clear();
    } else {
        dive->depth++;
    }
    int result = descend(dive, heed);
    Py_LeaveRecursiveCall();
    return result + frame[0] - 1;
}

static void *on_its_stack(void *arg) {
    struct dive *dive = arg;
    char here;
    first_frame = &here;
    PyGILState_STATE token = PyGILState_Ensure();
    dive->body(dive);
    PyGILState_Release(token);
    return NULL;
}

/* Runs the body on a thread with that much stack. */
static void run(struct dive *dive) {
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK_INT_EQ(pthread_attr_init(&attributes), 0);
    CHECK_INT_EQ(pthread_attr_setstacksize(&attributes, dive->size), 0);
    CHECK_INT_EQ(pthread_create(&thread, &attributes, on_its_stack, dive), 0);
    CHECK_INT_EQ(pthread_attr_destroy(&attributes), 0);
    Py_BEGIN_ALLOW_THREADS
    CHECK_INT_EQ(pthread_join(thread, NULL), 0);
    Py_END_ALLOW_THREADS
}

static void to_the_limit(struct dive *dive) {
    CHECK_INT_EQ(descend(dive, 1), -1);
    CHECK(PyErr_ExceptionMatches(PyExc_RecursionError));
    CHECK(PyErr_ExceptionMatches(PyExc_RuntimeError));
    snprintf(dive->message, sizeof dive->message, "%s", PyTState_ErrMessage());
    PyErr_Clear();
    /* Up here there is room again. */
    CHECK_INT_EQ(Py_EnterRecursiveCall(""), 0);
    Py_LeaveRecursiveCall();
}

TEST("a thread that comes close to the end of its stack gets a "
     "RecursionError") {
    NEEDS_ALL_OF_A_STACK;
    struct dive dive = {.size = 512 * KIB, .body = to_the_limit};
    Py_InitializeEx(0);
    run(&dive);
    NOTE("%d calls, %zu bytes: %s", dive.depth, dive.deepest, dive.message);
    CHECK_INT_GT(dive.depth, 10);
    /* Between one and two margins, and not much more, were left. */
    CHECK_UINT_LT(dive.deepest, dive.size - MARGIN);
    CHECK_UINT_GT(dive.deepest, dive.size - 2 * MARGIN - 32 * KIB);
    int used = -1;
    CHECK_INT_EQ(sscanf(dive.message, "Stack overflow (used %d kB)", &used), 1);
    CHECK_INT_LE((int)(dive.deepest / KIB), used);
    CHECK_STR_CONTAINS(dive.message, "kB) in a dive");
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

static void past_the_limit(struct dive *dive) { descend(dive, 0); }

TEST("who does not heed the error meets a fatal one") {
    NEEDS_ALL_OF_A_STACK;
    EXPECT_ABORT("Fatal Python error: Py_EnterRecursiveCall: Unrecoverable "
                 "stack overflow (used ") {
        struct dive dive = {.size = 512 * KIB, .body = past_the_limit};
        Py_InitializeEx(0);
        run(&dive);
    }
}

static void remember_depth(struct dive *dive) {
    to_the_limit(dive);
    struct dive again = *dive;
    again.depth = 0;
    to_the_limit(&again);
    CHECK_INT_EQ(again.depth, dive->depth);
}

TEST("every thread has bounds of its own, asked for once, and not by "
     "attaching") {
    NEEDS_ALL_OF_A_STACK;
    struct dive small = {.size = 256 * KIB, .body = remember_depth};
    struct dive large = {.size = 1024 * KIB, .body = remember_depth};
    Py_InitializeEx(0);
    PyEval_RestoreThread(PyEval_SaveThread());
    PyGILState_Release(PyGILState_Ensure());
    int before = atomic_load(&asked);
    CHECK_INT_EQ(before, 0);
    run(&small);
    if (atomic_load(&asked) == before)
        NOTE("pthread_getattr_np was not interposed");
    else
        CHECK_INT_EQ(atomic_load(&asked), before + 1 + ASKED_BY_RUNTIME);
    run(&large);
    CHECK_INT_GT(large.depth, 3 * small.depth);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

TEST("a check keeps errno and sets no error when it passes") {
    Py_InitializeEx(0);
    errno = ERANGE;
    CHECK_INT_EQ(Py_EnterRecursiveCall(NULL), 0);
    CHECK_INT_EQ(errno, ERANGE);
    CHECK_NULL(PyErr_Occurred());
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

/* ---- Stack protection ------------------------------------------------- */

/* An address that many bytes below this frame (above it if negative). */
static void *below(ptrdiff_t bytes) {
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    return (void *)(frame - (uintptr_t)bytes);
}

/* A stack that ends `left` bytes below this frame. */
static int protect(size_t left, size_t size) {
    return PyUnstable_ThreadState_SetStackProtection(
        PyThreadState_Get(), below((ptrdiff_t)left), size);
}

TEST("the stack that is protected can be replaced and reset") {
    Py_InitializeEx(0);
    PyThreadState *state = PyThreadState_Get();
    CHECK_INT_EQ(Py_EnterRecursiveCall(""), 0);

    CHECK_INT_EQ(protect(MARGIN + MARGIN / 2, LEAST), 0);
    CHECK_INT_EQ(Py_EnterRecursiveCall(" there"), -1);
    CHECK(PyErr_ExceptionMatches(PyExc_RecursionError));
    CHECK_STR_CONTAINS(PyTState_ErrMessage(), "kB) there");
    PyErr_Clear();

    CHECK_INT_EQ(protect(10 * MARGIN, 20 * MARGIN), 0);
    CHECK_INT_EQ(Py_EnterRecursiveCall(""), 0);

    PyUnstable_ThreadState_ResetStackProtection(state);
    CHECK_INT_EQ(Py_EnterRecursiveCall(""), 0);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

TEST("a stack that is not the protected one is not diagnosed") {
    static char elsewhere[LEAST + 16];
    Py_InitializeEx(0);
    PyThreadState *state = PyThreadState_Get();
    CHECK_INT_EQ(
        PyUnstable_ThreadState_SetStackProtection(state, elsewhere, LEAST), 0);
    CHECK_INT_EQ(Py_EnterRecursiveCall(""), 0);
    /* Further below the soft limit than the stack is long. */
    CHECK_INT_EQ(PyUnstable_ThreadState_SetStackProtection(
                     state, below(-64 * (ptrdiff_t)MARGIN), LEAST),
                 0);
    CHECK_INT_EQ(Py_EnterRecursiveCall(""), 0);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

TEST("a stack below the minimum is refused, and nothing changes") {
    Py_InitializeEx(0);
    PyThreadState *state = PyThreadState_Get();
    CHECK_INT_EQ(protect(MARGIN + MARGIN / 2, LEAST - 1), -1);
    CHECK(PyErr_ExceptionMatches(PyExc_ValueError));
    char expected[64];
    snprintf(expected, sizeof expected, "stack_size must be at least %zu bytes",
             LEAST);
    CHECK_STR_EQ(PyTState_ErrMessage(), expected);
    PyErr_Clear();
    CHECK_INT_EQ(Py_EnterRecursiveCall(""), 0);
    CHECK_INT_EQ(PyUnstable_ThreadState_SetStackProtection(
                     state, (void *)(UINTPTR_MAX - MARGIN), LEAST),
                 -1);
    CHECK(PyErr_ExceptionMatches(PyExc_ValueError));
    PyErr_Clear();
    CHECK_INT_EQ(Py_EnterRecursiveCall(""), 0);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

TEST("protection set before the first check is undone as well") {
    Py_InitializeEx(0);
    CHECK_INT_EQ(protect(MARGIN + MARGIN / 2, LEAST), 0);
    CHECK_INT_EQ(Py_EnterRecursiveCall(""), -1);
    PyErr_Clear();
    PyUnstable_ThreadState_ResetStackProtection(PyThreadState_Get());
    CHECK_INT_EQ(Py_EnterRecursiveCall(""), 0);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

static PyThreadState *handed_on;

static void take_over(struct dive *dive) {
    PyThreadState *own = PyThreadState_Get();
    CHECK_INT_EQ(PyTState_Rebind(handed_on), 0);
    PyThreadState_Swap(handed_on);
    to_the_limit(dive);
    PyThreadState_Clear(handed_on);
    PyThreadState_DeleteCurrent();
    PyEval_RestoreThread(own);
}

TEST("a state that goes to another thread takes that one's stack") {
    NEEDS_ALL_OF_A_STACK;
    struct dive dive = {.size = 512 * KIB, .body = take_over};
    Py_InitializeEx(0);
    PyThreadState *mine = PyThreadState_Get();
    handed_on = PyThreadState_New(mine->interp);
    PyThreadState_Swap(handed_on);
    CHECK_INT_EQ(Py_EnterRecursiveCall(""), 0);
    PyThreadState_Swap(mine);
    run(&dive);
    CHECK_INT_GT(dive.depth, 10);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

/* ---- A host with exceptions of its own -------------------------------- */

static int raised;

static void raise_deeper(PyObject *type, const char *message) {
    CHECK_PTR_EQ(type, PyExc_RecursionError);
    CHECK_STR_CONTAINS(message, "Stack overflow");
    raised++;
    /* Making the exception checks, too: it has to pass. */
    CHECK_INT_EQ(Py_EnterRecursiveCall(""), 0);
}

TEST("raising the error may check: it passes meanwhile") {
    PyTState_ObjectHooks hooks = {.raise = raise_deeper};
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.objects = &hooks;
    CHECK(!PyStatus_Exception(PyTState_Initialize(&config)));
    CHECK_INT_EQ(protect(MARGIN + MARGIN / 2, LEAST), 0);
    CHECK_INT_EQ(Py_EnterRecursiveCall(""), -1);
    CHECK_INT_EQ(Py_EnterRecursiveCall(""), -1);
    CHECK_INT_EQ(raised, 2);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

/* ---- The limit -------------------------------------------------------- */

TEST("each interpreter has a recursion limit, 1000 at first") {
    Py_InitializeEx(0);
    CHECK_INT_EQ(Py_GetRecursionLimit(), 1000);
    Py_SetRecursionLimit(77);
    PyThreadState *main_state = PyThreadState_Get();
    PyThreadState *sub = Py_NewInterpreter();
    CHECK_INT_EQ(Py_GetRecursionLimit(), 1000);
    Py_SetRecursionLimit(5);
    PyThreadState_Swap(main_state);
    CHECK_INT_EQ(Py_GetRecursionLimit(), 77);
    PyThreadState_Swap(sub);
    CHECK_INT_EQ(Py_GetRecursionLimit(), 5);
    /* It does not count calls. */
    for (int i = 0; i < 100; i++)
        CHECK_INT_EQ(Py_EnterRecursiveCall(""), 0);
    Py_EndInterpreter(sub);
    PyEval_RestoreThread(main_state);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
    Py_InitializeEx(0);
    CHECK_INT_EQ(Py_GetRecursionLimit(), 1000);
    CHECK_INT_EQ(Py_FinalizeEx(), 0);
}

TEST("recursion calls without a state are fatal") {
    EXPECT_ABORT("Fatal Python error: Py_EnterRecursiveCall: ") {
        Py_EnterRecursiveCall("");
    }
    EXPECT_ABORT("Fatal Python error: Py_SetRecursionLimit: ") {
        Py_SetRecursionLimit(3);
    }
    EXPECT_ABORT("Fatal Python error: Py_GetRecursionLimit: ") {
        Py_GetRecursionLimit();
    }
    EXPECT_ABORT(
        "Fatal Python error: PyUnstable_ThreadState_SetStackProtection: ") {
        PyUnstable_ThreadState_SetStackProtection(NULL, NULL, LEAST);
    }
    EXPECT_ABORT(
        "Fatal Python error: PyUnstable_ThreadState_ResetStackProtection: ") {
        PyUnstable_ThreadState_ResetStackProtection(NULL);
    }
}

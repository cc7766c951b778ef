/* What PyTState_Config tells a host: states that come and go, attach and
 * detach, requests, interpreters, forks. */
#include "fork_host.h"

#include <stddef.h>

enum told { NEW, ATTACH, DETACH, DELETE, REQUEST, KINDS };

/* What was told, counted, with the last state. */
static struct {
    atomic_int count[KINDS];
    PyThreadState *_Atomic last[KINDS];
    atomic_int event_was_set;
} told;

static int the_arg;

#define TELLS(name, kind)                                \
    static void name(PyThreadState *tstate, void *arg) { \
        CHECK_PTR_EQ(arg, &the_arg);                     \
        atomic_store(&told.last[kind], tstate);          \
        atomic_fetch_add(&told.count[kind], 1);          \
    }
TELLS(tell_new, NEW)
TELLS(tell_attach, ATTACH)
TELLS(tell_detach, DETACH)

static void tell_delete(PyThreadState *tstate, void *arg) {
    CHECK_PTR_EQ(arg, &the_arg);
    if (_PyEvent_IsSet(tstate->exit_event))
        atomic_store(&told.event_was_set, 1);
    atomic_store(&told.last[DELETE], tstate);
    atomic_fetch_add(&told.count[DELETE], 1);
}

/* May be called anywhere: it only counts. */
static void tell_request(PyThreadState *tstate, void *arg) {
    (void)arg;
    atomic_store(&told.last[REQUEST], tstate);
    atomic_fetch_add(&told.count[REQUEST], 1);
}

static PyThreadState *begin_told(int gil) {
    PyTState_Config config;
    PyTState_Config_Init(&config);
    config.gil = gil;
    config.hook_arg = &the_arg;
    config.on_new = tell_new;
    config.on_attach = tell_attach;
    config.on_detach = tell_detach;
    config.on_delete = tell_delete;
    config.on_request = tell_request;
    return begin_with(&config);
}

static int n(enum told kind) { return atomic_load(&told.count[kind]); }

/* A case that runs with a GIL and without one. */
#define TEST_MODES(name, body)                               \
    TEST(name ", with a GIL") { body(PyTState_GIL_SHARED); } \
    TEST(name ", without a GIL") { body(PyTState_GIL_NONE); }

static void told_of_states(int gil) {
    PyThreadState *mine = begin_told(gil);
    CHECK_INT_EQ(n(NEW), 1);
    CHECK_INT_EQ(n(ATTACH), 1);
    CHECK_PTR_EQ(atomic_load(&told.last[ATTACH]), mine);
    PyThreadState *other = PyThreadState_New(mine->interp);
    CHECK_INT_EQ(n(NEW), 2);
    CHECK_PTR_EQ(atomic_load(&told.last[NEW]), other);
    CHECK_PTR_EQ(PyThreadState_Swap(other), mine);
    CHECK_INT_EQ(n(DETACH), 1);
    CHECK_PTR_EQ(atomic_load(&told.last[DETACH]), mine);
    CHECK_INT_EQ(n(ATTACH), 2);
    CHECK_PTR_EQ(atomic_load(&told.last[ATTACH]), other);
    PyThreadState_Swap(mine);
    PyThreadState_Clear(other);
    CHECK_INT_EQ(n(DELETE), 1);
    CHECK_PTR_EQ(atomic_load(&told.last[DELETE]), other);
    PyThreadState_Delete(other);
    CHECK_INT_EQ(n(DELETE), 1);
    CHECK_INT_EQ(atomic_load(&told.event_was_set), 0);
    finish();
    CHECK_INT_EQ(n(NEW), n(DELETE));
    CHECK_INT_EQ(n(ATTACH), n(DETACH));
}

TEST_MODES("a host is told of each state that is made, attached, detached and "
           "cleared",
           told_of_states)

static void come_and_go(void *interp) {
    for (int i = 0; i < 200; i++) {
        PyThreadState *tstate = PyThreadState_New(interp);
        PyEval_RestoreThread(tstate);
        CHECK_INT_EQ(PyTState_Poll(tstate), 0);
        PyThreadState_Clear(tstate);
        PyThreadState_DeleteCurrent();
    }
}

static void told_in_pairs(int gil) {
    PyThreadState *mine = begin_told(gil);
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 4, come_and_go, mine->interp);
    Py_BEGIN_ALLOW_THREADS
    peers_start(&peers);
    for (int i = 0; i < 50; i++) {
        CHECK_INT_EQ(PyTState_StopTheWorld(NULL), 0);
        PyTState_StartTheWorld(NULL);
    }
    peers_join(&peers, LIMIT_MS);
    Py_END_ALLOW_THREADS
    finish();
    CHECK_INT_EQ(n(NEW), 801);
    CHECK_INT_EQ(n(DELETE), 801);
    CHECK_INT_EQ(n(ATTACH), n(DETACH));
}

TEST_MODES("beside pauses every new has its delete, every attach its detach",
           told_in_pairs)

static int do_nothing_at_poll(void *unused) {
    (void)unused;
    return 0;
}

TEST("a host is told when something is asked of a state, once") {
    PyThreadState *mine = begin_told(PyTState_GIL_SHARED);
    const int before = n(REQUEST);
    CHECK_INT_EQ(Py_AddPendingCall(do_nothing_at_poll, NULL), 0);
    CHECK_INT_EQ(n(REQUEST), before + 1);
    CHECK_PTR_EQ(atomic_load(&told.last[REQUEST]), mine);
    CHECK_INT_EQ(Py_AddPendingCall(do_nothing_at_poll, NULL), 0);
    CHECK_INT_EQ(n(REQUEST), before + 1);
    CHECK_INT_EQ(PyTState_Poll(mine), 0);
    CHECK_INT_EQ(Py_AddPendingCall(do_nothing_at_poll, NULL), 0);
    CHECK_INT_EQ(n(REQUEST), before + 2);
    CHECK_INT_EQ(PyTState_Poll(mine), 0);
    finish();
}

TEST("the next life of the runtime tells what it is asked to tell") {
    begin_told(PyTState_GIL_SHARED);
    finish();
    const int before = n(NEW);
    begin();
    finish();
    CHECK_INT_EQ(n(NEW), before);
}

static int armed;

static void end_in_hook(PyThreadState *tstate, void *arg) {
    (void)tstate, (void)arg;
    if (armed)
        Py_FinalizeEx();
}

TEST("a state hook may not end the runtime") {
    PyTState_Config config = {.size = sizeof config, .on_new = end_in_hook};
    PyThreadState *mine = begin_with(&config);
    EXPECT_FATAL("Py_FinalizeEx", "a thread state hook") {
        armed = 1;
        PyThreadState_New(mine->interp);
    }
    finish();
}

static void initialize_in_hook(PyThreadState *tstate, void *arg) {
    (void)tstate, (void)arg;
    PyStatus status = PyTState_Initialize(NULL);
    CHECK_STR_CONTAINS(status.err_msg, "is being initialized");
}

TEST("a hook that initialization calls may not initialize once more") {
    PyTState_Config config = {.size = sizeof config,
                              .on_attach = initialize_in_hook};
    begin_with(&config);
}

/* ---- Interpreters ------------------------------------------------------- */

struct extra {
    int magic;
    max_align_t aligned;
};

static int n_init, n_fini, refuse;

static int interp_init(PyInterpreterState *interp, void *arg) {
    struct extra *extra = PyTState_InterpHostData(interp);
    CHECK_PTR_EQ(arg, &the_arg);
    CHECK_INT_EQ(extra->magic, 0);
    CHECK_UINT_EQ((uintptr_t)extra % _Alignof(max_align_t), 0);
    extra->magic = 42;
    if (refuse)
        return -1;
    n_init++;
    return 0;
}

static void interp_fini(PyInterpreterState *interp, void *arg) {
    struct extra *extra = PyTState_InterpHostData(interp);
    CHECK_PTR_EQ(arg, &the_arg);
    CHECK_INT_EQ(extra->magic, 42);
    extra->magic = 0;
    n_fini++;
}

static PyTState_Config with_interps(void) {
    PyTState_Config config = {
        .size = sizeof config,
        .hook_arg = &the_arg,
        .interp_host_size = sizeof(struct extra),
        .interp_init = interp_init,
        .interp_fini = interp_fini,
    };
    return config;
}

TEST("an interpreter has the host's bytes, made and destroyed by the host") {
    for (int life = 1; life <= 3; life++) {
        PyTState_Config config = with_interps();
        PyThreadState *mine = begin_with(&config);
        struct extra *extra = PyTState_InterpHostData(mine->interp);
        CHECK_INT_EQ(extra->magic, 42);
        PyThreadState *sub = new_interp(PyInterpreterConfig_OWN_GIL);
        CHECK_PTR_NE(PyTState_InterpHostData(sub->interp), extra);
        CHECK_INT_EQ(n_init, 2 * life);
        Py_EndInterpreter(sub);
        CHECK_INT_EQ(n_fini, 2 * life - 1);
        PyThreadState_Swap(mine);
        finish();
        CHECK_INT_EQ(n_fini, 2 * life);
    }
    PyThreadState *mine = begin();
    CHECK_NULL(PyTState_InterpHostData(mine->interp));
    finish();
    EXPECT_FATAL("PyTState_InterpHostData", "'interp' must not be NULL") {
        PyTState_InterpHostData(NULL);
    }
}

TEST("a host may refuse an interpreter, which then leaves nothing behind") {
    static const PyInterpreterConfig own = _PyInterpreterConfig_INIT;
    PyTState_Config config = with_interps();
    PyThreadState *mine = begin_with(&config);
    PyThreadState *sub = mine;
    refuse = 1;
    PyStatus status = Py_NewInterpreterFromConfig(&sub, &own);
    CHECK_INT_NE(PyStatus_Exception(status), 0);
    CHECK_STR_CONTAINS(status.err_msg, "interp_init refused");
    CHECK_NULL(sub);
    CHECK_PTR_EQ(PyThreadState_GetUnchecked(), mine);
    CHECK_PTR_EQ(PyInterpreterState_Head(), mine->interp);
    refuse = 0;
    CHECK_INT_EQ(n_fini, 0);
    finish();
    refuse = 1;
    status = PyTState_Initialize(&config);
    CHECK_INT_NE(PyStatus_Exception(status), 0);
    CHECK_STR_CONTAINS(status.err_msg, "interp_init refused");
    CHECK_INT_EQ(Py_IsInitialized(), 0);
    refuse = 0;
    begin_with(&config);
    finish();
    CHECK_INT_EQ(n_fini, n_init);
}

/* ---- Forks ----------------------------------------------------------------
 */

static char order[16];
static size_t used;

static void note_step(char step, void *arg) {
    CHECK_PTR_EQ(arg, &the_arg);
    order[used++] = step;
}
static void before_fork(void *arg) { note_step('b', arg); }
static void in_parent(void *arg) { note_step('p', arg); }
static void in_child(void *arg) {
    note_step('c', arg);
    /* The library is whole again. */
    CHECK_UINT_GT(PyTState_Census(NULL, NULL, 0), 0);
}

static const PyTState_ForkHooks fork_hooks = {before_fork, in_parent, in_child};

static void begin_forking(void) {
    PyTState_Config config = {
        .size = sizeof config, .hook_arg = &the_arg, .fork = &fork_hooks};
    begin_with(&config);
}

TEST("a host's functions run around a fork that it announces") {
    begin_forking();
    IN_CHILD { CHECK_STR_EQ(order, "bc"); }
    CHECK_STR_EQ(order, "bp");
    finish();
}

TEST("... and around one that the handlers see") {
    begin_forking();
    CHECK_INT_EQ(PyTState_InstallForkHandlers(), 0);
    pid_t pid = fork();
    if (pid == 0)
        test_child_done(strcmp(order, "bc") == 0 ? 0 : 1);
    CHECK_CHILD_EXIT(pid, 0);
    CHECK_STR_EQ(order, "bp");
    finish();
}

/* ---- The struct grows -----------------------------------------------------
 */

TEST("a host that was compiled with the first header has no hooks") {
    union {
        PyTState_Config config;
        unsigned char bytes[sizeof(PyTState_Config)];
    } old;
    memset(&old, 0xff, sizeof old);
    memset(&old, 0, offsetof(PyTState_Config, hook_arg));
    old.config.size = offsetof(PyTState_Config, hook_arg);
    begin_with(&old.config);
    finish();
    old.config.size--;
    PyStatus status = PyTState_Initialize(&old.config);
    CHECK_STR_CONTAINS(status.err_msg,
                       "smaller than that of the first version");
}

TEST("a setting that only a newer header knows is refused, if it is set") {
    struct {
        PyTState_Config config;
        long newer;
    } host = {.config = {.size = sizeof host}};
    begin_with(&host.config);
    finish();
    host.newer = 1;
    PyStatus status = PyTState_Initialize(&host.config);
    CHECK_STR_CONTAINS(status.err_msg, "does not know");
}

/* Critical sections (S-CS-01..12): real without a GIL, nothing under one. */
#include "host.h"

#include <errno.h>

enum { HAS_PARKED = 2 };

static int mutex_bits(PyMutex *m) {
    return __atomic_load_n(&m->_bits, __ATOMIC_ACQUIRE);
}
static int is_locked(PyMutex *m) { return mutex_bits(m) & _Py_LOCKED; }

/* ---- Objects of a host ------------------------------------------------- */

struct object {
    PyMutex mutex;
    long value;
};

static atomic_int asked;

static PyMutex *mutex_of(PyObject *op) {
    atomic_fetch_add(&asked, 1);
    return op ? &((struct object *)op)->mutex : NULL;
}

static const PyTState_ObjectHooks hooks = {.object_mutex = mutex_of};

#define OBJECT(o) ((PyObject *)(o))

static uintptr_t top(void) { return PyThreadState_Get()->critical_section; }

/* ---- One section ------------------------------------------------------- */

TEST("without a GIL a section holds its mutex until its end") {
    begin_mode(PyTState_GIL_NONE, NULL);
    PyMutex m = {0};
    PyCriticalSection cs;
    CHECK_UINT_EQ(top(), 0);
    PyCriticalSection_BeginMutex(&cs, &m);
    CHECK(is_locked(&m));
    CHECK_UINT_EQ(top(), (uintptr_t)&cs);
    CHECK_PTR_EQ(cs._cs_mutex, &m);
    PyCriticalSection_End(&cs);
    CHECK(!is_locked(&m));
    CHECK_UINT_EQ(top(), 0);
}

TEST("under a GIL a section does nothing and looks at nothing") {
    NEEDS_GIL();
    begin_mode(PyTState_GIL_SHARED, &hooks);
    PyCriticalSection cs;
    PyCriticalSection2 cs2;
    memset(&cs, 0xFF, sizeof cs);
    memset(&cs2, 0xFF, sizeof cs2);
    PyCriticalSection_BeginMutex(&cs, NULL);
    PyCriticalSection2_BeginMutex(&cs2, NULL, NULL);
    CHECK_UINT_EQ(top(), 0);
    PyCriticalSection2_End(&cs2);
    PyCriticalSection_End(&cs);
    struct object o = {0};
    PyCriticalSection_Begin(&cs, OBJECT(&o));
    CHECK(!is_locked(&o.mutex));
    PyCriticalSection_End(&cs);
    PyCriticalSection2_Begin(&cs2, OBJECT(&o), NULL);
    PyCriticalSection2_End(&cs2);
    CHECK_INT_EQ(asked, 0);
}

TEST("the object forms lock the mutex that the host's hook finds") {
    begin_mode(PyTState_GIL_NONE, &hooks);
    struct object a = {0}, b = {0};
    Py_BEGIN_CRITICAL_SECTION(&a);
    CHECK(is_locked(&a.mutex));
    Py_END_CRITICAL_SECTION();
    CHECK(!is_locked(&a.mutex));
    Py_BEGIN_CRITICAL_SECTION2(&a, &b);
    CHECK(is_locked(&a.mutex));
    CHECK(is_locked(&b.mutex));
    Py_END_CRITICAL_SECTION2();
    CHECK(!is_locked(&a.mutex));
    CHECK(!is_locked(&b.mutex));
    CHECK_INT_EQ(asked, 3);
}

TEST("the mutex macros lock what they name") {
    begin_mode(PyTState_GIL_NONE, NULL);
    PyMutex a = {0}, b = {0};
    Py_BEGIN_CRITICAL_SECTION_MUTEX(&a);
    CHECK(is_locked(&a));
    Py_END_CRITICAL_SECTION();
    Py_BEGIN_CRITICAL_SECTION2_MUTEX(&a, &b);
    CHECK(is_locked(&a));
    CHECK(is_locked(&b));
    Py_END_CRITICAL_SECTION2();
    CHECK(!is_locked(&a));
    CHECK(!is_locked(&b));
}

/* ---- Two mutexes (S-CS-06) ---------------------------------------------- */

TEST("a section of two notes the lower address first, whatever the order") {
    begin_mode(PyTState_GIL_NONE, NULL);
    PyMutex pair[2] = {{0}, {0}};
    for (int turn = 0; turn < 2; turn++) {
        PyCriticalSection2 cs;
        PyCriticalSection2_BeginMutex(&cs, &pair[turn], &pair[!turn]);
        CHECK_PTR_EQ(cs._cs_base._cs_mutex, &pair[0]);
        CHECK_PTR_EQ(cs._cs_mutex2, &pair[1]);
        CHECK_UINT_EQ(top(), (uintptr_t)&cs | _Py_CRITICAL_SECTION_TWO_MUTEXES);
        CHECK(is_locked(&pair[0]) && is_locked(&pair[1]));
        PyCriticalSection2_End(&cs);
        CHECK(!is_locked(&pair[0]) && !is_locked(&pair[1]));
    }
}

TEST("a section of two equal mutexes is a section of one") {
    begin_mode(PyTState_GIL_NONE, NULL);
    PyMutex m = {0};
    PyCriticalSection2 cs;
    PyCriticalSection2_BeginMutex(&cs, &m, &m);
    CHECK(is_locked(&m));
    CHECK_NULL(cs._cs_mutex2);
    CHECK_UINT_EQ(top(), (uintptr_t)&cs);
    PyCriticalSection2_End(&cs);
    CHECK(!is_locked(&m));
}

/* ---- Recursion (S-CS-08) ------------------------------------------------ */

TEST("a section of what the innermost one holds locks nothing") {
    begin_mode(PyTState_GIL_NONE, NULL);
    PyMutex pair[2] = {{0}, {0}};
    PyCriticalSection outer, inner;
    PyCriticalSection_BeginMutex(&outer, &pair[0]);
    PyCriticalSection_BeginMutex(&inner, &pair[0]);
    CHECK_UINT_EQ(top(), (uintptr_t)&outer);
    CHECK_NULL(inner._cs_mutex);
    PyCriticalSection_End(&inner);
    CHECK(is_locked(&pair[0]));
    PyCriticalSection_End(&outer);
    CHECK(!is_locked(&pair[0]));

    PyCriticalSection2 two, same;
    PyCriticalSection2_BeginMutex(&two, &pair[0], &pair[1]);
    for (int i = 0; i < 2; i++) {
        PyCriticalSection_BeginMutex(&inner, &pair[i]);
        CHECK_NULL(inner._cs_mutex);
        PyCriticalSection_End(&inner);
        CHECK(is_locked(&pair[i]));
    }
    PyCriticalSection2_BeginMutex(&same, &pair[1], &pair[0]);
    CHECK_NULL(same._cs_base._cs_mutex);
    PyCriticalSection2_End(&same);
    CHECK(is_locked(&pair[0]) && is_locked(&pair[1]));
    PyCriticalSection2_End(&two);
    CHECK(!is_locked(&pair[0]) && !is_locked(&pair[1]));
}

TEST("a section of what a deeper one holds takes it over for a while") {
    begin_mode(PyTState_GIL_NONE, NULL);
    PyMutex a = {0}, b = {0};
    PyCriticalSection one, two, three;
    PyCriticalSection_BeginMutex(&one, &a);
    PyCriticalSection_BeginMutex(&two, &b);
    PyCriticalSection_BeginMutex(&three, &a);
    CHECK_UINT_EQ(top(), (uintptr_t)&three);
    CHECK(is_locked(&a));
    CHECK(!is_locked(&b));
    CHECK_UINT_EQ(three._cs_prev,
                  (uintptr_t)&two | _Py_CRITICAL_SECTION_INACTIVE);
    PyCriticalSection_End(&three);
    CHECK(!is_locked(&a));
    CHECK(is_locked(&b));
    PyCriticalSection_End(&two);
    CHECK(is_locked(&a));
    CHECK(!is_locked(&b));
    PyCriticalSection_End(&one);
    CHECK(!is_locked(&a));
}

TEST("half of a pair held below is no recursion") {
    begin_mode(PyTState_GIL_NONE, NULL);
    PyMutex pair[2] = {{0}, {0}};
    for (int i = 0; i < 2; i++) {
        PyCriticalSection outer;
        PyCriticalSection2 inner;
        PyCriticalSection_BeginMutex(&outer, &pair[i]);
        PyCriticalSection2_BeginMutex(&inner, &pair[0], &pair[1]);
        CHECK(is_locked(&pair[0]) && is_locked(&pair[1]));
        PyCriticalSection2_End(&inner);
        CHECK(is_locked(&pair[i]) && !is_locked(&pair[!i]));
        PyCriticalSection_End(&outer);
        CHECK(!is_locked(&pair[i]));
    }
}

/* ---- Detach and attach (S-CS-03, S-CS-04, S-CS-12) ---------------------- */

TEST("a detach gives up every section, an attach takes the top back") {
    begin_mode(PyTState_GIL_NONE, NULL);
    PyMutex m[4] = {{0}, {0}, {0}, {0}}, plain = {0};
    PyCriticalSection one, three;
    PyCriticalSection2 two;
    PyMutex_Lock(&plain);
    PyCriticalSection_BeginMutex(&one, &m[0]);
    PyCriticalSection2_BeginMutex(&two, &m[1], &m[2]);
    PyCriticalSection_BeginMutex(&three, &m[3]);
    Py_BEGIN_ALLOW_THREADS;
    for (int i = 0; i < 4; i++)
        CHECK(!is_locked(&m[i]));
    CHECK(is_locked(&plain));
    Py_END_ALLOW_THREADS;
    CHECK(!is_locked(&m[0]) && !is_locked(&m[1]) && !is_locked(&m[2]));
    CHECK(is_locked(&m[3]));
    PyCriticalSection_End(&three);
    CHECK(!is_locked(&m[0]) && !is_locked(&m[3]));
    CHECK(is_locked(&m[1]) && is_locked(&m[2]));
    Py_BEGIN_ALLOW_THREADS;
    CHECK(!is_locked(&m[1]) && !is_locked(&m[2]));
    Py_END_ALLOW_THREADS;
    CHECK(is_locked(&m[1]) && is_locked(&m[2]));
    PyCriticalSection2_End(&two);
    CHECK(is_locked(&m[0]) && !is_locked(&m[1]) && !is_locked(&m[2]));
    PyCriticalSection_End(&one);
    CHECK(!is_locked(&m[0]) && is_locked(&plain));
    PyMutex_Unlock(&plain);
}

struct meeting {
    PyMutex a, b;
    PyInterpreterState *interp;
    struct latch entered, leave;
    atomic_int order;
};

/* Holds `a` in a section until it is told to leave. */
static void holder(void *arg) {
    struct meeting *all = arg;
    enter(all->interp);
    PyCriticalSection cs;
    PyCriticalSection_BeginMutex(&cs, &all->a);
    latch_arrive(&all->entered);
    CHECK(latch_wait(&all->leave, LIMIT_MS));
    atomic_store(&all->order, 1);
    PyCriticalSection_End(&cs);
    leave();
}

static struct meeting *start_holder(struct peers *peers) {
    static struct meeting all = {.entered = LATCH_INIT(1),
                                 .leave = LATCH_INIT(1)};
    all.interp = PyInterpreterState_Get();
    peers_add(peers, 1, holder, &all);
    peers_start(peers);
    CHECK(latch_wait(&all.entered, LIMIT_MS));
    return &all;
}

static int parked(void *mutex) { return mutex_bits(mutex) & HAS_PARKED; }

static void *release_when_parked(void *arg) {
    struct meeting *all = arg;
    if (wait_until(parked, &all->a, LIMIT_MS))
        latch_arrive(&all->leave);
    return NULL;
}

TEST("an attach waits for its section and keeps errno") {
    begin_mode(PyTState_GIL_NONE, NULL);
    struct peers peers = PEERS_INIT;
    static struct meeting all = {.entered = LATCH_INIT(1),
                                 .leave = LATCH_INIT(1)};
    PyCriticalSection cs;
    PyCriticalSection_BeginMutex(&cs, &all.a);
    PyThreadState *me = PyEval_SaveThread();
    all.interp = PyInterpreterState_Main();
    peers_add(&peers, 1, holder, &all);
    peers_start(&peers);
    CHECK(latch_wait(&all.entered, LIMIT_MS));
    pthread_t other;
    CHECK_INT_EQ(pthread_create(&other, NULL, release_when_parked, &all), 0);
    errno = ERANGE;
    PyEval_RestoreThread(me);
    CHECK_INT_EQ(errno, ERANGE);
    CHECK_INT_EQ(atomic_load(&all.order), 1);
    CHECK(is_locked(&all.a));
    PyCriticalSection_End(&cs);
    peers_join(&peers, LIMIT_MS);
    pthread_join(other, NULL);
}

/* ---- Waiting gives up what is held (S-CS-02, S-CS-05) ------------------- */

static void *take_b_while_parked(void *arg) {
    struct meeting *all = arg;
    if (!wait_until(parked, &all->a, LIMIT_MS))
        return NULL;
    /* The waiter has given `b` up: this cannot block. */
    PyMutex_Lock(&all->b);
    atomic_store(&all->order, 2);
    PyMutex_Unlock(&all->b);
    latch_arrive(&all->leave);
    return NULL;
}

TEST("a section that waits has given up the ones around it") {
    begin_mode(PyTState_GIL_NONE, NULL);
    struct peers peers = PEERS_INIT;
    struct meeting *all = start_holder(&peers);
    PyCriticalSection outer, inner;
    PyCriticalSection_BeginMutex(&outer, &all->b);
    pthread_t other;
    CHECK_INT_EQ(pthread_create(&other, NULL, take_b_while_parked, all), 0);
    PyCriticalSection_BeginMutex(&inner, &all->a);
    CHECK_INT_EQ(atomic_load(&all->order), 1); /* 2 came before it */
    CHECK(is_locked(&all->a) && !is_locked(&all->b));
    PyCriticalSection_End(&inner);
    CHECK(is_locked(&all->b) && !is_locked(&all->a));
    PyCriticalSection_End(&outer);
    peers_join(&peers, LIMIT_MS);
    pthread_join(other, NULL);
}

/* Accounts: transfers conserve the sum, though sections are lost at every
 * nested Begin and detach. Opposite orders would deadlock plain locks. */
enum { ACCOUNTS = 4, WORKERS = 4, TRANSFERS = 4000 };
static struct object account[ACCOUNTS];
static PyInterpreterState *bank;

static void transfer_many(void *arg) {
    unsigned seed = (unsigned)(uintptr_t)arg;
    enter(bank);
    for (int i = 0; i < TRANSFERS; i++) {
        seed = seed * 1103515245 + 12345;
        struct object *from = &account[(seed >> 16) % ACCOUNTS];
        struct object *to = &account[(seed >> 20) % ACCOUNTS];
        Py_BEGIN_CRITICAL_SECTION(from);
        Py_BEGIN_CRITICAL_SECTION2(from, to);
        from->value--;
        to->value++;
        Py_END_CRITICAL_SECTION2();
        if (seed & 1) {
            Py_BEGIN_ALLOW_THREADS;
            Py_END_ALLOW_THREADS;
        }
        Py_BEGIN_CRITICAL_SECTION(to);
        to->value--;
        Py_END_CRITICAL_SECTION();
        from->value++;
        Py_END_CRITICAL_SECTION();
    }
    leave();
}

TEST("nested sections in any order neither deadlock nor lose an update",
     .limit_s = 60) {
    begin_mode(PyTState_GIL_NONE, &hooks);
    struct peers peers = PEERS_INIT;
    bank = PyInterpreterState_Get();
    for (uintptr_t i = 1; i <= WORKERS; i++)
        peers_add(&peers, 1, transfer_many, (void *)(i * 7919));
    peers_start(&peers);
    peers_join(&peers, 60000);
    long sum = 0;
    for (int i = 0; i < ACCOUNTS; i++)
        sum += account[i].value;
    CHECK_INT_EQ(sum, 0);
}

/* ---- Beside pauses ------------------------------------------------------ */

/* Each pause ends into a crowd that meets a taken mutex at once. */
enum { PAUSERS = 8, PAUSES = 150 };
static struct object counted;
static atomic_int n_inside, n_overlaps, n_pauses;

static void count_and_pause(void *arg) {
    PyThreadState *mine = enter(bank);
    for (long i = (long)(uintptr_t)arg; atomic_load(&n_pauses) < PAUSES; i++) {
        Py_BEGIN_CRITICAL_SECTION(&counted);
        if (atomic_fetch_add(&n_inside, 1) != 0)
            atomic_fetch_add(&n_overlaps, 1);
        for (int k = 0; k < 5000; k++)
            *(volatile long *)&counted.value += 1;
        atomic_fetch_sub(&n_inside, 1);
        Py_END_CRITICAL_SECTION();
        if (arg == NULL && i % 3 == 0) {
            _PyEval_StopTheWorld(bank);
            _PyEval_StartTheWorld(bank);
            atomic_fetch_add(&n_pauses, 1);
        }
        PyTState_Poll(mine);
    }
    leave();
}

TEST("a section locks around the end of a pause", .limit_s = 60) {
    begin_mode(PyTState_GIL_NONE, &hooks);
    struct peers peers = PEERS_INIT;
    bank = PyInterpreterState_Get();
    for (uintptr_t i = 0; i < PAUSERS; i++)
        peers_add(&peers, 1, count_and_pause, (void *)i);
    peers_start(&peers);
    PyThreadState *saved = PyEval_SaveThread();
    peers_join(&peers, 60000);
    PyEval_RestoreThread(saved);
    CHECK_INT_EQ(atomic_load(&n_overlaps), 0);
}

/* No thread asks for a pause here: each fork makes one. */
static atomic_int forks_done;

static void count_until_forked(void *arg) {
    (void)arg;
    PyThreadState *mine = enter(bank);
    while (!atomic_load(&forks_done)) {
        Py_BEGIN_CRITICAL_SECTION(&counted);
        if (atomic_fetch_add(&n_inside, 1) != 0)
            atomic_fetch_add(&n_overlaps, 1);
        for (int k = 0; k < 5000; k++)
            *(volatile long *)&counted.value += 1;
        atomic_fetch_sub(&n_inside, 1);
        Py_END_CRITICAL_SECTION();
        PyTState_Poll(mine);
    }
    leave();
}

TEST("a section locks around a fork in the parent", .limit_s = 60) {
    begin_mode(PyTState_GIL_NONE, &hooks);
    struct peers peers = PEERS_INIT;
    bank = PyInterpreterState_Get();
    peers_add(&peers, 16, count_until_forked, NULL);
    peers_start(&peers);
    for (int i = 0; i < 60; i++) {
        PyOS_BeforeFork();
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        PyOS_AfterFork_Parent();
        CHECK_CHILD_EXIT(pid, 0);
    }
    atomic_store(&forks_done, 1);
    PyThreadState *saved = PyEval_SaveThread();
    peers_join(&peers, 60000);
    PyEval_RestoreThread(saved);
    CHECK_INT_EQ(atomic_load(&n_overlaps), 0);
}

/* ---- Two modes on one thread -------------------------------------------- */

TEST("a section ends as it was begun, whichever interpreter is attached") {
    NEEDS_GIL();
    begin_mode(PyTState_GIL_SHARED, NULL);
    PyThreadState *with = PyThreadState_Get();
    PyThreadState *without = new_interp(PyTState_INTERP_NO_GIL);
    PyMutex m = {0};
    PyCriticalSection cs;

    PyCriticalSection_BeginMutex(&cs, &m);
    CHECK(is_locked(&m));
    PyThreadState_Swap(with);
    CHECK(!is_locked(&m));
    CHECK_UINT_EQ(top(), 0);
    PyThreadState_Swap(without);
    CHECK(is_locked(&m));
    PyCriticalSection_End(&cs);
    CHECK(!is_locked(&m));

    PyThreadState_Swap(with);
    PyCriticalSection_BeginMutex(&cs, &m);
    PyThreadState_Swap(without);
    PyCriticalSection_End(&cs);
    CHECK(!is_locked(&m));
    Py_EndInterpreter(without);
    PyThreadState_Swap(with);
}

/* ---- Misuse ------------------------------------------------------------- */

TEST("misuse of sections is fatal and says what is wrong") {
    PyMutex m = {0}, other = {0};
    PyCriticalSection cs, inner;
    EXPECT_ABORT("PyCriticalSection_BeginMutex: the function must be called") {
        begin_mode(PyTState_GIL_NONE, NULL);
        PyEval_SaveThread();
        PyCriticalSection_BeginMutex(&cs, &m);
    }
    EXPECT_ABORT("'m' must not be NULL") {
        begin_mode(PyTState_GIL_NONE, NULL);
        PyCriticalSection_BeginMutex(&cs, NULL);
    }
    EXPECT_ABORT("the host gave no object_mutex hook") {
        begin_mode(PyTState_GIL_NONE, NULL);
        PyCriticalSection_Begin(&cs, OBJECT(&m));
    }
    EXPECT_ABORT("gave no mutex for object") {
        begin_mode(PyTState_GIL_NONE, &hooks);
        PyCriticalSection_Begin(&cs, NULL);
    }
    EXPECT_ABORT("is not the one that was begun last") {
        begin_mode(PyTState_GIL_NONE, NULL);
        PyCriticalSection_BeginMutex(&cs, &m);
        PyCriticalSection_BeginMutex(&inner, &other);
        PyCriticalSection_End(&cs);
    }
    EXPECT_ABORT("PyCriticalSection_End: unlocking mutex that is not locked") {
        begin_mode(PyTState_GIL_NONE, NULL);
        PyCriticalSection_BeginMutex(&cs, &m);
        PyMutex_Unlock(&m);
        PyCriticalSection_End(&cs);
    }
    EXPECT_ABORT("critical section: unlocking mutex that is not locked") {
        begin_mode(PyTState_GIL_NONE, NULL);
        PyCriticalSection_BeginMutex(&cs, &m);
        PyMutex_Unlock(&m);
        PyEval_SaveThread();
    }
}

/* ---- Fork --------------------------------------------------------------- */

static void hold_while_polling(void *arg) {
    struct meeting *all = arg;
    PyThreadState *state = enter(all->interp);
    PyCriticalSection cs;
    PyCriticalSection_BeginMutex(&cs, &all->a);
    latch_arrive(&all->entered);
    while (!latch_wait(&all->leave, 0)) {
        PyEval_SaveThread();
        PyEval_RestoreThread(state);
    }
    PyCriticalSection_End(&cs);
    leave();
}

TEST("a fork child keeps its own section and finds those of others free") {
    begin_mode(PyTState_GIL_NONE, NULL);
    static struct meeting all = {.entered = LATCH_INIT(1),
                                 .leave = LATCH_INIT(1)};
    struct peers peers = PEERS_INIT;
    PyCriticalSection cs, others;
    all.interp = PyInterpreterState_Get();
    peers_add(&peers, 1, hold_while_polling, &all);
    peers_start(&peers);
    CHECK(latch_wait(&all.entered, LIMIT_MS));
    PyCriticalSection_BeginMutex(&cs, &all.b);
    PyOS_BeforeFork();
    pid_t child = fork();
    if (child == 0) {
        PyOS_AfterFork_Child();
        CHECK(is_locked(&all.b));
        PyCriticalSection_BeginMutex(&others, &all.a);
        PyCriticalSection_End(&others);
        CHECK(is_locked(&all.b));
        PyCriticalSection_End(&cs);
        CHECK(!is_locked(&all.b));
        test_child_done(0);
    }
    PyOS_AfterFork_Parent();
    CHECK_INT_GT(child, 0);
    CHECK_CHILD_EXIT(child, 0);
    PyCriticalSection_End(&cs);
    latch_arrive(&all.leave);
    peers_join(&peers, LIMIT_MS);
}

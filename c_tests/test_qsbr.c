/* Reclamation (S-QS): memory that threads read without a lock. */
#include "host.h"

#include <stdlib.h>
#include <unistd.h>

/* A case that runs with a GIL and without one. */
#define TEST_MODES(name, body)                               \
    TEST(name ", with a GIL") { body(PyTState_GIL_SHARED); } \
    TEST(name ", without a GIL") { body(PyTState_GIL_NONE); }

static void goals_grow(int gil) {
    begin_mode(gil, NULL);
    CHECK_UINT_EQ(PyTState_QSBR_Advance(), 3);
    CHECK_UINT_EQ(PyTState_QSBR_Advance(), 5);
    PyThreadState *mine = PyThreadState_Get();
    PyThreadState *sub = new_interp(PyTState_INTERP_NO_GIL);
    CHECK_UINT_EQ(PyTState_QSBR_Advance(), 3); /* its own numbers */
    Py_EndInterpreter(sub);
    PyEval_RestoreThread(mine);
    finish();
}
TEST_MODES("goals are odd and grow by two in each interpreter", goals_grow)

static void own_state_counts(int gil) {
    begin_mode(gil, NULL);
    uint64_t goal = PyTState_QSBR_Advance();
    CHECK_INT_EQ(PyTState_QSBR_Poll(goal), 0);
    PyTState_QSBR_QuiescentState();
    CHECK_INT_EQ(PyTState_QSBR_Poll(goal), 1);
    uint64_t next = PyTState_QSBR_Advance();
    CHECK_INT_EQ(PyTState_QSBR_Poll(next), 0);
    CHECK_INT_EQ(PyTState_QSBR_Poll(goal), 1);
    finish();
}
TEST_MODES("the caller's own state counts", own_state_counts)

/* ---- Others ------------------------------------------------------------- */

enum order { STAY, REST, LET_GO, COME_BACK, END };
static _Atomic(enum order) wanted, done;

static void obey(void *interp) {
    PyThreadState *state = enter(interp);
    enum order last = STAY;
    atomic_store(&done, STAY);
    while (last != END) {
        enum order now = atomic_load(&wanted);
        if (now == last) {
            sched_yield();
            continue;
        }
        last = now;
        if (now == REST)
            PyTState_QSBR_QuiescentState();
        else if (now == LET_GO)
            PyEval_SaveThread();
        else if (now == COME_BACK)
            PyEval_RestoreThread(state);
        atomic_store(&done, now);
    }
    leave();
}

static void order(enum order what) {
    atomic_store(&wanted, what);
    WAIT_UNTIL(atomic_load(&done) == what, LIMIT_MS);
}

TEST("an attached thread counts until it rests, a detached one never does") {
    PyThreadState *mine = begin_mode(PyTState_GIL_NONE, NULL);
    struct peers peers = PEERS_INIT;
    atomic_store(&done, END);
    peers_add(&peers, 1, obey, mine->interp);
    peers_start(&peers);
    WAIT_UNTIL(atomic_load(&done) == STAY, LIMIT_MS);

    uint64_t goal = PyTState_QSBR_Advance();
    PyTState_QSBR_QuiescentState();
    CHECK_INT_EQ(PyTState_QSBR_Poll(goal), 0);
    order(REST);
    CHECK_INT_EQ(PyTState_QSBR_Poll(goal), 1);

    goal = PyTState_QSBR_Advance();
    PyTState_QSBR_QuiescentState();
    CHECK_INT_EQ(PyTState_QSBR_Poll(goal), 0);
    order(LET_GO);
    CHECK_INT_EQ(PyTState_QSBR_Poll(goal), 1);

    goal = PyTState_QSBR_Advance();
    PyTState_QSBR_QuiescentState();
    order(COME_BACK); /* after the goal: it has nothing from before */
    CHECK_INT_EQ(PyTState_QSBR_Poll(goal), 1);
    order(END);
    join_peers(&peers);
    finish();
}

static atomic_int over, polling;

static void only_poll(void *interp) {
    enter(interp);
    atomic_store(&polling, 1);
    while (!atomic_load(&over))
        poll_once();
    leave();
}

TEST("a thread that a pause stopped does not count") {
    PyThreadState *mine = begin_mode(PyTState_GIL_NONE, NULL);
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, only_poll, mine->interp);
    peers_start(&peers);
    WAIT_UNTIL(atomic_load(&polling), LIMIT_MS);
    uint64_t goal = PyTState_QSBR_Advance();
    PyTState_QSBR_QuiescentState();
    CHECK_INT_EQ(PyTState_QSBR_Poll(goal), 0); /* a poll alone is no rest */
    _PyEval_StopTheWorld(mine->interp);
    CHECK_INT_EQ(PyTState_QSBR_Poll(goal), 1);
    _PyEval_StartTheWorld(mine->interp);
    atomic_store(&over, 1);
    join_peers(&peers);
    finish();
}

/* ---- Freeing later --------------------------------------------------------
 */

static int freed[8], n_freed;
static int number[8] = {0, 1, 2, 3, 4, 5, 6, 7};

static void note_freed(void *block) { freed[n_freed++] = *(int *)block; }

static void free_another(void *block) {
    note_freed(block);
    CHECK_INT_EQ(PyTState_QSBR_FreeLater(&number[7], note_freed), 0);
}

static void frees_in_order(int gil) {
    begin_mode(gil, NULL);
    CHECK_INT_EQ(PyTState_QSBR_Process(), 0);
    CHECK_INT_EQ(PyTState_QSBR_FreeLater(&number[0], note_freed), 0);
    CHECK_INT_EQ(PyTState_QSBR_FreeLater(&number[1], free_another), 0);
    CHECK_INT_EQ(PyTState_QSBR_Process(), 1);
    CHECK_INT_EQ(n_freed, 0);
    PyTState_QSBR_QuiescentState();
    CHECK_INT_EQ(PyTState_QSBR_FreeLater(&number[2], note_freed), 0);
    CHECK_INT_EQ(PyTState_QSBR_Process(), 1);
    CHECK_INT_EQ(n_freed, 2);
    CHECK_INT_EQ(freed[0], 0);
    CHECK_INT_EQ(freed[1], 1);
    PyTState_QSBR_QuiescentState();
    CHECK_INT_EQ(PyTState_QSBR_Process(), 0);
    CHECK_INT_EQ(n_freed, 4);
    CHECK_INT_EQ(freed[2], 2);
    CHECK_INT_EQ(freed[3], 7);
    CHECK_INT_EQ(PyTState_QSBR_FreeLater(&number[3], free_another), 0);
    finish(); /* the end of the interpreter frees the rest */
    CHECK_INT_EQ(n_freed, 6);
    CHECK_INT_EQ(freed[4], 3);
    CHECK_INT_EQ(freed[5], 7);
}
TEST_MODES("blocks are freed in order, when it is time, and at the end",
           frees_in_order)

TEST("what frees a block must be given") {
    EXPECT_FATAL("PyTState_QSBR_FreeLater", "'free_func' must not be NULL") {
        begin();
        (void)PyTState_QSBR_FreeLater(&number[0], NULL);
    }
    EXPECT_FATAL("PyTState_QSBR_Poll", "the function must be called with") {
        begin();
        PyEval_SaveThread();
        (void)PyTState_QSBR_Poll(1);
    }
}

/* ---- Readers without a lock against a writer -------------------------------
 */

enum { READERS = 3, WRITES = 20000 };
enum { ALIVE = 0x11, DEAD = 0xDD };

struct block {
    long value, same;
    int mark;
};
static _Atomic(struct block *) published;
static atomic_long reads, blocks_freed;

static void bury(void *raw) {
    struct block *block = raw;
    block->mark = DEAD; /* a sanitizer sees whoever reads it now */
    atomic_fetch_add(&blocks_freed, 1);
    free(block);
}

static struct block *make(long value) {
    struct block *block = malloc(sizeof *block);
    CHECK_NOT_NULL(block);
    *block = (struct block){value, value, ALIVE};
    return block;
}

static void read_all_the_time(void *interp) {
    PyThreadState *state = enter(interp);
    for (long i = 0; !atomic_load(&over); i++) {
        struct block *block = atomic_load(&published);
        CHECK_INT_EQ(block->mark, ALIVE);
        CHECK_INT_EQ(block->value, block->same);
        CHECK_INT_EQ(block->mark, ALIVE);
        atomic_fetch_add(&reads, 1);
        switch (i % 16) {
        case 0:
            PyEval_SaveThread();
            PyEval_RestoreThread(state);
            break;
        case 1:
        case 9:
            PyTState_QSBR_QuiescentState();
            break;
        default: /* polls may detach: no pointer lives over them */
            poll_once();
        }
    }
    leave();
}

static void readers_and_a_writer(int gil) {
    PyThreadState *mine = begin_mode(gil, NULL);
    struct peers peers = PEERS_INIT;
    peers_add(&peers, READERS, read_all_the_time, mine->interp);
    atomic_store(&published, make(0));
    peers_start(&peers);
    for (long i = 1; i <= WRITES; i++) {
        struct block *old = atomic_exchange(&published, make(i));
        CHECK_INT_EQ(PyTState_QSBR_FreeLater(old, bury), 0);
        PyTState_QSBR_QuiescentState();
        if (i % 8 == 0)
            PyTState_QSBR_Process();
        poll_once();
    }
    WAIT_DETACHED(atomic_load(&reads) > 1000);
    CHECK_INT_GT(atomic_load(&blocks_freed), 0);
    atomic_store(&over, 1);
    join_peers(&peers);
    PyTState_QSBR_QuiescentState();
    CHECK_INT_EQ(PyTState_QSBR_Process(), 0);
    CHECK_INT_EQ(atomic_load(&blocks_freed), WRITES);
    free(atomic_load(&published));
    finish();
}
TEST_MODES("nobody reads what was freed", readers_and_a_writer)

/* ---- Fork
 * -------------------------------------------------------------------- */

TEST("a fork child frees what its parent's threads can no longer read") {
    PyThreadState *mine = begin_mode(PyTState_GIL_NONE, NULL);
    struct peers peers = PEERS_INIT;
    atomic_store(&done, END);
    peers_add(&peers, 1, obey, mine->interp);
    peers_start(&peers);
    WAIT_UNTIL(atomic_load(&done) == STAY, LIMIT_MS);
    CHECK_INT_EQ(PyTState_QSBR_FreeLater(&number[4], note_freed), 0);
    PyTState_QSBR_QuiescentState();
    CHECK_INT_EQ(PyTState_QSBR_Process(), 1); /* the other may read it */
    order(LET_GO);
    PyOS_BeforeFork();
    pid_t child = fork();
    if (child == 0) {
        PyOS_AfterFork_Child();
        CHECK_INT_EQ(PyTState_QSBR_Process(), 0);
        CHECK_INT_EQ(n_freed, 1);
        CHECK_INT_EQ(freed[0], 4);
        test_child_done(Py_FinalizeEx());
    }
    PyOS_AfterFork_Parent();
    CHECK_INT_GT(child, 0);
    CHECK_CHILD_EXIT(child, 0);
    order(COME_BACK);
    order(END);
    join_peers(&peers);
    finish();
    CHECK_INT_EQ(n_freed, 1);
}

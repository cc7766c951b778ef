/* PyTState_WaitForThreads: which threads it lists, and by which names. */
#include "host.h"

static atomic_long natives[4];

static void keep_native(void *slot) {
    atomic_store((atomic_long *)slot, test_native_id());
}

static void note_and_wait(void *slot) {
    keep_native(slot);
    PyThreadState *state = PyEval_SaveThread();
    PyTState_Sync_Point("test.stays");
    PyEval_RestoreThread(state);
}

TEST("threads that are gone are not listed, though none has joined them") {
    PyThreadHandle *handles[4];
    PyTState_ThreadInfo late[8];
    size_t n_late = 0;
    PyThreadState *state = begin();
    hold("test.stays");
    for (int i = 0; i < 3; i++)
        handles[i] = start(keep_native, &natives[i]);
    handles[3] =
        start(note_and_wait, &natives[3]); /* newest: looked at first */
    wait_held("test.stays");
    for (int i = 0; i < 3; i++)
        WAIT_DETACHED(atomic_load(&natives[i]) != 0 &&
                      !test_thread_exists(atomic_load(&natives[i])));
    CHECK_INT_EQ(
        PyTState_WaitForThreads(state->interp, 50 * MS, late, 8, &n_late), 1);
    CHECK_UINT_EQ(n_late, 1);
    CHECK_UINT_EQ(late[0].native_thread_id, atomic_load(&natives[3]));
    CHECK_UINT_NE(late[0].id, 0);
    for (int i = 0; i < 3; i++) {
        CHECK_INT_EQ(PyThreadHandle_IsDone(handles[i]), 1);
        CHECK_INT_EQ(PyThreadHandle_Join(handles[i], 0), 0);
    }
    let_go("test.stays");
    for (int i = 0; i < 4; i++)
        join_and_drop(handles[i]);
    finish();
}

static pthread_key_t ending_key;

static void stay_in_destructor(void *value) {
    (void)value;
    PyTState_Sync_Point("test.destructor");
}

static uint64_t ending_id;

static void end_slowly(void *slot) {
    keep_native(slot);
    PyThreadState *state = PyThreadState_Get();
    PyTState_SetName(state, "ending");
    ending_id = PyThreadState_GetID(state);
    pthread_setspecific(ending_key, slot);
}

TEST("a thread whose state is gone is listed by that state's id and name") {
    PyTState_ThreadInfo late[2] = {{.id = 77}};
    size_t n_late = 0;
    PyThreadState *state = begin();
    CHECK_INT_EQ(pthread_key_create(&ending_key, stay_in_destructor), 0);
    hold("test.destructor");
    PyThreadHandle *handle = start(end_slowly, &natives[0]);
    wait_held("test.destructor");
    CHECK_NULL(PyThreadHandle_ThreadState(handle));
    CHECK_UINT_EQ(n_states(NULL), 1);
    CHECK_INT_EQ(PyTState_WaitForThreads(state->interp, 0, late, 2, &n_late),
                 1);
    CHECK_UINT_EQ(n_late, 1);
    CHECK_UINT_EQ(late[0].id, ending_id);
    CHECK_INT_EQ(late[0].interp_id, 0);
    CHECK_STR_EQ(late[0].name, "ending");
    CHECK_UINT_EQ(late[0].native_thread_id, atomic_load(&natives[0]));
    CHECK_INT_GT(late[0].age_ns, 0);
    CHECK_INT_LE(late[0].in_state_ns, late[0].age_ns);
    CHECK_INT_EQ(late[0].is_daemon, 0);
    let_go("test.destructor");
    join_and_drop(handle);
    finish();
}

static void read_until_ending(void *fd) {
    static char text[1 << 14];
    size_t n = 0;
    do {
        ssize_t got = read(*(int *)fd, text + n, sizeof text - 1 - n);
        CHECK_INT_GT(got, 0);
        n += (size_t)got;
    } while (strstr(text, "thread 'ending' (tid ") == NULL ||
             strstr(text, "is deleted, its OS thread is ending") == NULL);
    let_go("test.destructor");
}

TEST("a report names a thread whose state is gone and that still ends") {
    struct peers reader = PEERS_INIT;
    int report[2];
    CHECK_INT_EQ(pipe(report), 0);
    begin();
    CHECK_INT_EQ(pthread_key_create(&ending_key, stay_in_destructor), 0);
    hold("test.destructor");
    PyThreadHandle_Decref(start(end_slowly, &natives[0]));
    wait_held("test.destructor");
    PyTState_SetShutdownReport(50 * MS, report[1]);
    peers_add(&reader, 1, read_until_ending, &report[0]);
    peers_start(&reader);
    finish();
    peers_join(&reader, LIMIT_MS);
}

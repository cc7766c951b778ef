/* What dumps say of threads that wait: for what, and since when. */
#include "host.h"

static char dumped[1 << 16];

static const char *dump_by(void (*print)(int)) {
    FILE *file = tmpfile();
    CHECK_NOT_NULL(file);
    print(fileno(file));
    rewind(file);
    dumped[fread(dumped, 1, sizeof dumped - 1, file)] = 0;
    fclose(file);
    return dumped;
}

static int count_lines(const char *text) {
    int n = 0;
    for (; *text != 0; text++)
        n += *text == '\n';
    return n;
}

/* The line of the dump that begins with this. */
static const char *line_of(const char *name, void (*print)(int)) {
    static char line[2048];
    const char *found = dump_by(print);
    while (strncmp(found, name, strlen(name)) != 0) {
        found = strchr(found, '\n');
        if (found++ == NULL)
            return "";
    }
    size_t length = strcspn(found, "\n");
    CHECK_UINT_LT(length, sizeof line);
    memcpy(line, found, length);
    line[length] = 0;
    return line;
}

/* Both dumps come to say this of the thread. */
static void check_waits(const char *name, const char *text) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "thread '%s' (tid ", name);
    WAIT_DETACHED(strstr(line_of(quoted, PyTState_DumpWaits), text) != NULL);
    CHECK_STR_CONTAINS(line_of(quoted, PyTState_DumpThreads), text);
}

static void check_no_wait(const char *name) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "thread '%s' (tid ", name);
    CHECK_STR_EQ(line_of(quoted, PyTState_DumpWaits), "");
    CHECK_STR_LACKS(line_of(quoted, PyTState_DumpThreads), " waits ");
}

static const char *waits_for(const char *what, const void *object) {
    static char text[128];
    snprintf(text, sizeof text, " s for %s 0x%zx", what, (size_t)object);
    return text;
}

/* ---- One thread of each kind ------------------------------------------ */

static PyEvent event;
static PyMutex mutex;
static PyThread_type_lock lock;
static atomic_int may_end;

static void wait_event(void *arg) {
    (void)arg;
    PyEvent_Wait(&event);
}

static void wait_mutex(void *arg) {
    (void)arg;
    PyMutex_Lock(&mutex);
    PyMutex_Unlock(&mutex);
}

static void wait_lock(void *arg) {
    (void)arg;
    PyThreadState *mine = PyEval_SaveThread();
    PyThread_acquire_lock(lock, 1);
    PyThread_release_lock(lock);
    PyEval_RestoreThread(mine);
}

static void wait_join(void *handle) {
    CHECK_INT_EQ(PyThreadHandle_Join(handle, FOREVER), 0);
}

static void work_elsewhere(void *arg) {
    (void)arg;
    WAIT_DETACHED(atomic_load(&may_end));
}

static PyThreadHandle *start_named(void (*func)(void *), void *arg,
                                   const char *name) {
    PyThreadHandle *handle = start(func, arg);
    CHECK_INT_EQ(PyThreadHandle_SetName(handle, name), 0);
    return handle;
}

TEST("dumps say what each thread waits for, and nothing of a thread that "
     "works detached") {
    begin();
    lock = PyThread_allocate_lock();
    CHECK_INT_EQ(PyThread_acquire_lock(lock, 1), 1);
    PyMutex_Lock(&mutex);
    PyThreadHandle *handles[] = {
        start_named(wait_event, NULL, "ann"),
        start_named(wait_mutex, NULL, "bob"),
        start_named(wait_lock, NULL, "cat"),
        start_named(work_elsewhere, NULL, "dan"),
        NULL,
    };
    handles[4] = start_named(wait_join, handles[0], "eve");
    check_waits("ann", waits_for("event", &event));
    check_waits("bob", waits_for("mutex", &mutex));
    check_waits("cat", " s for PyThread lock 0x");
    check_waits("eve", " s for the end of thread 'ann' (tid ");
    check_no_wait("dan");
    CHECK_INT_EQ(count_lines(dump_by(PyTState_DumpWaits)), 4);

    atomic_store(&may_end, 1);
    _PyEvent_Notify(&event);
    PyMutex_Unlock(&mutex);
    PyThread_release_lock(lock);
    for (int i = 4; i >= 0; i--)
        join_and_drop(handles[i]);
    CHECK_STR_EQ(dump_by(PyTState_DumpWaits), "");
    PyThread_free_lock(lock);
    finish();
}

static void do_little(void *arg) { (void)arg; }

TEST("a thread that waits for the GIL is shown with the GIL's holder") {
    PyThreadState *mine = begin();
    if (!mine->holds_gil)
        SKIP("without a GIL no thread waits for it");
    PyTState_SetName(mine, "main");
    PyThreadHandle *handle = PyThreadHandle_New();
    CHECK_INT_EQ(PyThreadHandle_SetName(handle, "ann"), 0);
    CHECK_INT_EQ(PyThreadHandle_Start(handle, PyInterpreterState_Get(),
                                      do_little, NULL, 0),
                 0);
    WAIT_UNTIL(strstr(dump_by(PyTState_DumpWaits),
                      " s for the GIL of interpreter 0, held by thread 'main' "
                      "(tid ") != NULL,
               LIMIT_MS);
    CHECK_STR_CONTAINS(dumped, "thread 'ann' (tid ");
    join_and_drop(handle);
    CHECK_STR_EQ(dump_by(PyTState_DumpWaits), "");
    finish();
}

/* ---- Without a state, in a signal handler, in a fork child ------------- */

static void *wait_foreign(void *arg) {
    (void)arg;
    PyMutex_Lock(&mutex);
    PyMutex_Unlock(&mutex);
    return NULL;
}

static FILE *file;
static atomic_int n_dumps;

static void dump_on_signal(int number) {
    (void)number;
    PyTState_DumpWaits(fileno(file));
    atomic_fetch_add(&n_dumps, 1);
}

TEST("a thread without a state is shown, also by a signal handler that "
     "interrupts its wait") {
    struct sigaction action = {.sa_handler = dump_on_signal,
                               .sa_flags = SA_RESTART};
    pthread_t thread;
#ifdef __SANITIZE_THREAD__
    SKIP("ThreadSanitizer puts signals off while a thread sleeps");
#endif
    file = tmpfile();
    CHECK_NOT_NULL(file);
    PyMutex_Lock(&mutex);
    CHECK_INT_EQ(sigaction(SIGUSR1, &action, NULL), 0);
    CHECK_INT_EQ(pthread_create(&thread, NULL, wait_foreign, NULL), 0);
    WAIT_UNTIL(
        strstr(dump_by(PyTState_DumpWaits), waits_for("mutex", &mutex)) != NULL,
        LIMIT_MS);
    CHECK_STR_CONTAINS(dumped, ", without a thread state\n");
    CHECK_INT_EQ(pthread_kill(thread, SIGUSR1), 0);
    WAIT_UNTIL(atomic_load(&n_dumps) == 1, LIMIT_MS);
    rewind(file);
    dumped[fread(dumped, 1, sizeof dumped - 1, file)] = 0;
    CHECK_STR_CONTAINS(dumped, waits_for("mutex", &mutex));
    PyMutex_Unlock(&mutex);
    CHECK_INT_EQ(pthread_join(thread, NULL), 0);
    CHECK_STR_EQ(dump_by(PyTState_DumpWaits), "");
}

TEST("a fork child has no waits of its parent's threads") {
    begin();
    PyThreadHandle *handle = start_named(wait_event, NULL, "ann");
    check_waits("ann", waits_for("event", &event));
    pid_t pid = fork_here();
    if (pid == 0)
        _exit(dump_by(PyTState_DumpWaits)[0] == 0 ? 0 : 1);
    int status = 0;
    CHECK_INT_EQ(waitpid(pid, &status, 0), pid);
    CHECK_INT_EQ(status, 0);
    _PyEvent_Notify(&event);
    join_and_drop(handle);
    finish();
}

TEST("a dump of waits to a bad descriptor does nothing") {
    PyTState_DumpWaits(-1);
    PyTState_DumpWaits(9999);
}

/* What others on the same machine cannot steer (docs/security.md). */
#include "captured.h"
#include "host.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define OTHER_USER 65534

static char folder[64];  /* of ours, nobody else can write to it */
static char shared[128]; /* in it; all can write to this one */
static struct capture errors;

static void make_folders(void) {
    strcpy(folder, "/tmp/pytstate-XXXXXX");
    CHECK_NOT_NULL(mkdtemp(folder));
    CHECK_INT_EQ(chmod(folder, 0755), 0);
    snprintf(shared, sizeof shared, "%s/shared", folder);
    CHECK_INT_EQ(mkdir(shared, 0700), 0);
    CHECK_INT_EQ(chmod(shared, 01777), 0);
}

static void remove_folders(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    CHECK_INT_EQ(system(command), 0);
}

/* A path in one of the folders; good until the eighth further call. */
static const char *in(const char *where, const char *name) {
    static char paths[8][256];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", where, name);
    return path;
}

static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK_INT_GE(fd, 0);
    CHECK_INT_EQ(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static const char *content(const char *path) {
    static char text[256];
    int fd = open(path, O_RDONLY);
    CHECK_INT_GE(fd, 0);
    ssize_t n = read(fd, text, sizeof text - 1);
    CHECK_INT_GE(n, 0);
    text[n] = 0;
    close(fd);
    return text;
}

/* A trace into `path` is refused, with this errno. */
static void check_refused(const char *path, int number) {
    errno = 0;
    CHECK_INT_EQ(PyTState_TraceStart(path), -1);
    CHECK_INT_EQ(errno, number);
}

static void check_traced(const char *path) {
    CHECK_INT_EQ(PyTState_TraceStart(path), 0);
    CHECK_INT_EQ(PyTState_TraceStop(), 0);
    CHECK_STR_EQ(content(path), "[\n]\n");
}

/* ---- Files ------------------------------------------------------------- */

TEST("a trace is made for its owner's eyes alone, and an own file's mode is "
     "left as it is") {
    make_folders();
    umask(0);
    check_traced(in(folder, "new"));
    struct stat found;
    CHECK_INT_EQ(stat(in(folder, "new"), &found), 0);
    CHECK_INT_EQ(found.st_mode & 07777, 0600);
    write_file(in(folder, "old"), "old and longer than a trace");
    CHECK_INT_EQ(chmod(in(folder, "old"), 0644), 0);
    check_traced(in(folder, "old"));
    CHECK_INT_EQ(stat(in(folder, "old"), &found), 0);
    CHECK_INT_EQ(found.st_mode & 07777, 0644);
    remove_folders();
}

TEST("no link in a folder that all can write is followed, wherever in the "
     "path") {
    make_folders();
    write_file(in(folder, "target"), "precious");
    CHECK_INT_EQ(symlink(in(folder, "target"), in(shared, "last")), 0);
    CHECK_INT_EQ(symlink(in(folder, "none"), in(shared, "dangling")), 0);
    CHECK_INT_EQ(symlink(folder, in(shared, "middle")), 0);
    CHECK_INT_EQ(symlink("shared/last", in(folder, "onward")), 0);
    check_refused(in(shared, "last"), ELOOP);
    check_refused(in(shared, "dangling"), ELOOP);
    check_refused(in(shared, "middle/target"), ELOOP);
    check_refused(in(shared, "middle/new"), ELOOP);
    check_refused(in(folder, "onward"), ELOOP);
    CHECK_STR_EQ(content(in(folder, "target")), "precious");
    CHECK_INT_EQ(access(in(folder, "none"), F_OK), -1);
    CHECK_INT_EQ(access(in(folder, "new"), F_OK), -1);
    remove_folders();
}

TEST("links elsewhere are followed, relative, absolute and to a folder") {
    make_folders();
    CHECK_INT_EQ(symlink("absolute", in(folder, "relative")), 0);
    CHECK_INT_EQ(symlink(in(folder, "dir/target"), in(folder, "absolute")), 0);
    CHECK_INT_EQ(mkdir(in(folder, "real"), 0700), 0);
    CHECK_INT_EQ(symlink("real/", in(folder, "dir")), 0);
    check_traced(in(folder, "relative"));
    CHECK_STR_EQ(content(in(folder, "real/target")), "[\n]\n");
    CHECK_INT_EQ(symlink("circle", in(folder, "circle")), 0);
    check_refused(in(folder, "circle"), ELOOP);
    check_refused(in(folder, "real/"), EISDIR);
    check_refused(in(folder, "none/new"), ENOENT);
    CHECK_INT_EQ(chdir(folder), 0);
    check_traced("here");
    check_traced("./real/../there");
    remove_folders();
}

TEST("what the standard output is, is traced into by its name") {
    EXPECT_CHILD_EXIT(0) {
        make_folders();
        int fd = open(in(folder, "out"), O_RDWR | O_CREAT, 0600);
        CHECK_INT_GE(dup2(fd, STDOUT_FILENO), 0);
        CHECK_INT_EQ(PyTState_TraceStart("/dev/stdout"), 0);
        CHECK_INT_EQ(PyTState_TraceStop(), 0);
        CHECK_STR_EQ(content(in(folder, "out")), "[\n]\n");
        remove_folders();
    }
}

TEST("in a folder that all can write, a file with two names is not written") {
    make_folders();
    check_traced(in(shared, "own"));
    check_traced(in(shared, "own")); /* emptied and written again */
    write_file(in(folder, "target"), "precious");
    CHECK_INT_EQ(link(in(folder, "target"), in(shared, "second")), 0);
    check_refused(in(shared, "second"), EACCES);
    CHECK_STR_EQ(content(in(folder, "target")), "precious");
    remove_folders();
}

TEST("in a folder that all can write, another user's file or pipe is not "
     "opened") {
    if (geteuid() != 0)
        SKIP("needs root");
    make_folders();
    write_file(in(shared, "theirs"), "theirs");
    CHECK_INT_EQ(chown(in(shared, "theirs"), OTHER_USER, OTHER_USER), 0);
    CHECK_INT_EQ(mkfifo(in(shared, "pipe"), 0666), 0);
    CHECK_INT_EQ(chown(in(shared, "pipe"), OTHER_USER, OTHER_USER), 0);
    check_refused(in(shared, "theirs"), EACCES);
    check_refused(in(shared, "pipe"), EACCES); /* and does not block */
    CHECK_STR_EQ(content(in(shared, "theirs")), "theirs");
    remove_folders();
}

/* ---- Text -------------------------------------------------------------- */

TEST("names and places from outside forge no line of any report") {
    PyTState_Config config = {.compat = 0x030D0000};
    begin_with(&config);
    capture_begin(&errors);
    PyTState_Here("pool.c:1\nforged place\033[2J");
    PyThreadState *other = PyThreadState_New(PyInterpreterState_Main());
    PyTState_SetName(other, "a\nforged name\033[2J");
    PyTState_DumpThreads(STDERR_FILENO);
    const char *text = capture_end(&errors);
    CHECK_STR_CONTAINS(text, "'a?forged name?[2J'");
    CHECK_STR_CONTAINS(text, "created at pool.c:1?forged place?[2J");
    CHECK_INT_EQ(count_of(text, "\n"), 2);
    EXPECT_ABORT("not the last thread: 'a?forged name?[2J'") {
        PyThreadState *first = new_interp(PyInterpreterConfig_OWN_GIL);
        PyThreadState *left = PyThreadState_New(first->interp);
        PyTState_SetName(left, "a\nforged name\033[2J");
        Py_EndInterpreter(first);
    }
    EXPECT_ABORT("Fatal Python error: f?g: two\nlines?[2J\n") {
        _Py_FatalErrorFunc("f\ng", "two\nlines\033[2J");
    }
    PyThreadState_Clear(other);
    PyThreadState_Delete(other);
    finish();
}

/* ---- Rights ------------------------------------------------------------ */

#define ROLE "SECURITY_ROLE"

TEST("the set-user-id part: any life of the runtime") {
    if (getenv(ROLE) == NULL)
        SKIP("is run by the next case");
    CHECK_INT_EQ(geteuid(), 0);
    CHECK_INT_EQ(getuid(), OTHER_USER);
    begin();
    PyTState_Sync_Point("anything");
    CHECK(signal(SIGUSR2, SIG_DFL) == SIG_DFL);
    finish();
    exit(0);
}

static void copy_program(const char *to) {
    static char block[1 << 16];
    int from = open("/proc/self/exe", O_RDONLY);
    int fd = open(to, O_WRONLY | O_CREAT | O_EXCL, 0700);
    CHECK_INT_GE(from, 0);
    CHECK_INT_GE(fd, 0);
    ssize_t n;
    while ((n = read(from, block, sizeof block)) > 0)
        CHECK_INT_EQ(write(fd, block, (size_t)n), n);
    CHECK_INT_EQ(n, 0);
    close(fd);
    close(from);
}

TEST("a set-user-id program reads nothing from its caller's environment") {
#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
    SKIP("a sanitizer's runtime does not start in such a program");
#endif
    if (geteuid() != 0)
        SKIP("needs root");
    make_folders();
    struct statvfs system_of;
    CHECK_INT_EQ(statvfs(folder, &system_of), 0);
    if (system_of.f_flag & ST_NOSUID) {
        remove_folders();
        SKIP("set-user-id programs have no rights on this file system");
    }
    const char *program = in(folder, "program");
    copy_program(program);
    CHECK_INT_EQ(chmod(program, 04755), 0);
    write_file(in(folder, "secret"), "only root may write this");
    char trace[300];
    snprintf(trace, sizeof trace, "PYTSTATE_TRACE=%s", in(folder, "secret"));
    char *const environment[] = {ROLE "=1",
                                 trace,
                                 "PYTSTATE_DUMP_SIGNAL=USR2",
                                 "PYTSTATE_COMPAT=junk",
                                 "PYTSTATE_NOTHING=1",
                                 NULL};
    char *const arguments[] = {(char *)program, "--no-fork",
                               "the set-user-id part", NULL};
    capture_begin(&errors);
    EXPECT_CHILD_EXIT(0) {
        CHECK_INT_EQ(setgroups(0, NULL), 0);
        CHECK_INT_EQ(setgid(OTHER_USER), 0);
        CHECK_INT_EQ(setuid(OTHER_USER), 0);
        execve(program, arguments, environment);
        FAIL("execve: %s", strerror(errno));
    }
    const char *text = capture_end(&errors);
    CHECK_STR_EQ(content(in(folder, "secret")), "only root may write this");
    CHECK_INT_EQ(count_of(text, "no variable of the environment is read"), 1);
    CHECK_INT_EQ(count_of(text, "PYTSTATE_"), 0);
    remove_folders();
}

/* What the harness itself must report; c_tests/harness/selftest judges. */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

TEST("passes") { CHECK_INT_EQ(2 + 2, 4); }

TEST("fails with both values") {
    int four = 2 + 2;
    CHECK_INT_EQ(four, 5);
}

TEST("fails with both strings") { CHECK_STR_EQ("left one", "right one"); }

static void fail_here(void *arg) { CHECK_PTR_EQ(arg, NULL); }

TEST("fails from a thread") {
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 1, fail_here, &peers);
    peers_start(&peers);
    peers_join(&peers, 5000);
}

TEST("is skipped") { SKIP("there is a reason"); }

TEST("hangs", .limit_s = 1) {
    HERE();
    for (;;)
        pause();
}

TEST("crashes") { raise(SIGSEGV); }

TEST("exits with 3") { exit(3); }

static void complain_and_abort(void) {
    fprintf(stderr, "Fatal: complaint 17\n");
    abort();
}

TEST("sees the child abort") {
    EXPECT_ABORT("complaint 17") { complain_and_abort(); }
}

TEST("misses the text of an abort") {
    EXPECT_ABORT("complaint 18") { complain_and_abort(); }
}

TEST("misses an abort") {
    EXPECT_ABORT("") { HERE(); }
}

TEST("sees exit statuses") {
    EXPECT_CHILD_EXIT(0) { HERE(); }
    EXPECT_CHILD_EXIT(7) { _exit(7); }
    EXPECT_EXIT(4, "bye") {
        fprintf(stderr, "good bye\n");
        exit(4);
    }
    pid_t pid = fork();
    if (pid == 0)
        test_child_done(5);
    CHECK_CHILD_EXIT(pid, 5);
}

TEST("misses an exit status") {
    EXPECT_CHILD_EXIT(0) { _exit(7); }
}

TEST("fails with its child's check") {
    EXPECT_CHILD_EXIT(0) { CHECK_INT_LT(9, 8); }
}

static atomic_int together;

static void meet(void *arg) {
    struct peers *all = arg;
    for (int round = 1; round <= 50; round++) {
        atomic_fetch_add(&together, 1);
        peers_meet(all);
        CHECK_INT_GE(atomic_load(&together), 4 * round);
    }
}

TEST("peers meet") {
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 4, meet, &peers);
    peers_start(&peers);
    peers_join(&peers, 5000);
    CHECK_INT_EQ(atomic_load(&together), 200);
}

static void stay(void *arg) {
    struct latch *gate = arg;
    latch_wait(gate, 10000);
}

TEST("reports a peer that stays") {
    static struct latch gate = LATCH_INIT(1);
    struct peers peers = PEERS_INIT;
    peers_add(&peers, 2, stay, &gate);
    peers_start(&peers);
    peers_join(&peers, 100);
}

TEST("waits for what never comes") { WAIT_UNTIL(getpid() == 0, 50); }

TEST("leaves a child behind") {
    if (fork() == 0)
        for (;;)
            pause();
}

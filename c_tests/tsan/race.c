/* Two threads that write one variable. race rust|c: a race in that language;
 * race ordered: the same write after an acquire of a release.
 *
 * The sanitizer may miss accesses to the same eight bytes that happen at the
 * same instant. So one write comes after the other, in time only: a relaxed
 * flag orders nothing. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

void racy_write(int value);
int racy_read(void);
void ordered_write(int value);
void ordered_rewrite(int value);

/* Each with shadow of its own. */
static _Alignas(64) int c_value;
static _Alignas(64) atomic_int written;
static const char *mode;

static void note_write(void) {
    atomic_store_explicit(&written, 1, memory_order_relaxed);
}

static void wait_for_write(void) {
    while (!atomic_load_explicit(&written, memory_order_relaxed))
        sched_yield();
}

static void *other(void *unused) {
    (void)unused;
    if (strcmp(mode, "rust") == 0)
        racy_write(1);
    else if (strcmp(mode, "c") == 0)
        c_value = 1;
    else
        ordered_rewrite(1);
    note_write();
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t thread;
    if (argc != 2)
        return 2;
    mode = argv[1];
    if (pthread_create(&thread, NULL, other, NULL) != 0)
        return 2;
    if (strcmp(mode, "ordered") == 0)
        ordered_write(2);
    wait_for_write();
    if (strcmp(mode, "rust") == 0)
        racy_write(2);
    else if (strcmp(mode, "c") == 0)
        c_value = 2;
    pthread_join(thread, NULL);
    printf("came to its end, %d %d\n", c_value, racy_read());
    return 0;
}

/* Two threads that write one variable. race rust|c: a race in that language;
 * race ordered: the same write after an acquire of a release. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

void racy_write(int value);
int racy_read(void);
void ordered_write(int value);
void ordered_rewrite(int value);

static int c_value;
static const char *mode;

static void *other(void *unused) {
    (void)unused;
    if (strcmp(mode, "rust") == 0)
        racy_write(1);
    else if (strcmp(mode, "c") == 0)
        c_value = 1;
    else
        ordered_rewrite(1);
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t thread;
    if (argc != 2)
        return 2;
    mode = argv[1];
    if (pthread_create(&thread, NULL, other, NULL) != 0)
        return 2;
    if (strcmp(mode, "rust") == 0)
        racy_write(2);
    else if (strcmp(mode, "c") == 0)
        c_value = 2;
    else
        ordered_write(2);
    pthread_join(thread, NULL);
    printf("came to its end, %d %d\n", c_value, racy_read());
    return 0;
}

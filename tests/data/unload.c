/* Loads the library, uses it in two threads, finalizes and closes it while the
 * second thread lives: that one still ends through code of the library. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static void *library;
static pthread_barrier_t met;

/* The address of a function, as POSIX allows it. */
static void find(const char *name, void *function) {
    void *found = dlsym(library, name);
    if (found == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    *(void **)function = found;
}

static void *use(void *unused) {
    int (*ensure)(void);
    void (*release)(int);
    find("PyGILState_Ensure", &ensure);
    find("PyGILState_Release", &release);
    release(ensure());
    pthread_barrier_wait(&met);
    pthread_barrier_wait(&met);
    return unused;
}

int main(int argc, char **argv) {
    void (*initialize)(int);
    int (*finalize)(void);
    void *(*save)(void);
    void (*restore)(void *);
    pthread_t thread;
    if (argc < 2 || (library = dlopen(argv[1], RTLD_NOW)) == NULL) {
        fprintf(stderr, "%s\n", argc < 2 ? "no library named" : dlerror());
        return 1;
    }
    find("Py_InitializeEx", &initialize);
    find("Py_FinalizeEx", &finalize);
    find("PyEval_SaveThread", &save);
    find("PyEval_RestoreThread", &restore);
    pthread_barrier_init(&met, NULL, 2);
    initialize(0);
    void *state = save();
    if (pthread_create(&thread, NULL, use, NULL) != 0)
        return 1;
    pthread_barrier_wait(&met);
    restore(state);
    printf("finalized %d\n", finalize());
    printf("closed %d\n", dlclose(library));
    fflush(stdout);
    pthread_barrier_wait(&met);
    pthread_join(thread, NULL);
    printf("ended\n");
    return 0;
}

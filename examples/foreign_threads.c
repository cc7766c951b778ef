/* Threads that the host made itself call into the runtime.
 *
 * Uses only what CPython's <Python.h> has too: the same file links with a
 * libpython.
 *
 * Prints:
 *   8 threads counted to 8000
 *   nothing is attached while the host waits
 */
#include <Python.h>

#include <pthread.h>

enum { THREADS = 8, ROUNDS = 1000 };

/* No lock, no atomic: only an attached thread touches it. */
static long counter;

static void *work(void *unused) {
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        /* Makes a state for this thread, or finds it, and attaches it. */
        PyGILState_STATE before = PyGILState_Ensure();
        counter++;
        PyGILState_Release(before);
    }
    return NULL;
}

int main(void) {
    pthread_t threads[THREADS];
    int idle;

    Py_InitializeEx(0);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, NULL) != 0)
            return 1;

    /* The threads can only work while this one lets go. */
    Py_BEGIN_ALLOW_THREADS
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    idle = !PyGILState_Check();
    Py_END_ALLOW_THREADS

    printf("%d threads counted to %ld\n", THREADS, counter);
    if (idle)
        printf("nothing is attached while the host waits\n");
    return Py_FinalizeEx() == 0 && counter == THREADS * ROUNDS ? 0 : 1;
}

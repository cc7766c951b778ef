/* uWSGI's worker threads: each has a state in a pthread key. */
#include <uwsgi_python.h>

#include <stdio.h>

void gil_real_get(void);
void gil_real_release(void);

struct uwsgi_server uwsgi;
struct uwsgi_python up;
static PyInterpreterState *interp;
static long requests; /* touched with the GIL only */

static void *worker(void *unused) {
    (void)unused;
    pthread_setspecific(up.upt_gil_key, PyThreadState_New(interp));
    for (int i = 0; i < 200; i++) {
        gil_real_get();
        requests++;
        gil_real_release();
    }
    gil_real_get();
    PyThreadState_Clear(PyThreadState_Get());
    PyThreadState_DeleteCurrent();
    return NULL;
}

int main(void) {
    pthread_t threads[4];
    Py_InitializeEx(0);
    interp = PyInterpreterState_Get();
    pthread_key_create(&up.upt_gil_key, NULL);
    gil_real_release();
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, worker, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    gil_real_get();
    long seen = requests;
    if (Py_FinalizeEx() != 0 || seen != 800)
        return 1;
    puts("ok");
    return 0;
}

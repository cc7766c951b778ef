/* Stub of uWSGI's header: what plugins/python/gil.c uses of it. */
#include <Python.h>
#include <pthread.h>
#define PYTHREE 1
struct uwsgi_server {
    int mywid;
};
struct uwsgi_python {
    pthread_key_t upt_gil_key;
};

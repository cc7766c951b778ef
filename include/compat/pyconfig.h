/* Stands in for CPython's <pyconfig.h>: what thread code asks of it. */
#ifndef Py_COMPAT_PYCONFIG_H
#define Py_COMPAT_PYCONFIG_H

/** There are threads: code from before CPython 3.7 asks. */
#ifndef WITH_THREAD
#define WITH_THREAD 1
#endif
/** The native threads are those of POSIX. */
#ifndef _POSIX_THREADS
#define _POSIX_THREADS 1
#endif

#endif /* Py_COMPAT_PYCONFIG_H */

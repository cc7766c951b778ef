/* What Rust cannot export of the internal names. internal.h includes this at
 * its end; on its own it brings internal.h first. */
#ifndef PYTSTATE_INTERNAL_MACROS_H
#define PYTSTATE_INTERNAL_MACROS_H

#include "internal.h"

/** What _PyParkingLot_Unpark() calls under the bucket's lock: `park_arg` is
 * what the chosen waiter gave, NULL when nobody waits. */
typedef void _Py_unpark_fn_t(void *arg, void *park_arg, int has_more_waiters);

/** What _PyOnceFlag_CallOnce() calls: 0 when done, -1 to be tried again. */
typedef int _Py_once_fn_t(void *arg);

#endif /* PYTSTATE_INTERNAL_MACROS_H */

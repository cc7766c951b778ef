/* pytstate: the names that CPython itself keeps internal.
 * Generated from src/ by `make header`; not edited by hand. */
/* clang-format off */
#ifndef PYTSTATE_INTERNAL_H
#define PYTSTATE_INTERNAL_H

#include "../pytstate.h"

#ifdef __cplusplus
extern "C" {
#endif

extern _Py_NO_RETURN void pthread_exit(void *value);

extern int pthread_clockjoin_np(OsThread thread,
                                void **value,
                                clockid_t clock,
                                const timespec *deadline);

extern TlsBlock *pytstate_tls_address(void);

#ifdef __cplusplus
}
#endif

#include "internal_macros.h"

#endif /* PYTSTATE_INTERNAL_H */

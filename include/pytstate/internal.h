/* pytstate: the names that CPython itself keeps internal.
 * Generated from src/ by `make header`; not edited by hand. */
/* clang-format off */
#ifndef PYTSTATE_INTERNAL_H
#define PYTSTATE_INTERNAL_H

#include "../pytstate.h"

#ifdef __cplusplus
extern "C" {
#endif



#ifdef __cplusplus
}
#endif

#include "internal_macros.h"

#endif /* PYTSTATE_INTERNAL_H */

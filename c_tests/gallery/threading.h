/* CPython's threading module as it was, without Python: the old protocols.
 *
 * Lib/threading.py and Modules/_threadmodule.c of 3.4 to 3.12 let a thread's
 * end be seen through a lock: taken when the thread starts, released by the
 * on_delete hook of its thread state. What follows does the same steps in the
 * same order, under the same names. Everything here is guarded by the GIL, as
 * it was there; where Python code could lose the GIL and a race needs that,
 * there is a sync point, and the thread holds nothing while it is held:
 *
 *   threading.lock.wait       about to sleep for a lock, detached
 *   threading.join.acquired   a joiner took the lock, and has it
 *   threading.join.released   a joiner gave it back; _stop() comes next
 *   threading.limbo           a starter put a thread into `_limbo`, and has
 *                             the lock of both lists
 *   threading.deleted         a thread left `_active`; its state still lives
 *   threading.os_exit         a thread's state is deleted, its OS thread ends
 */
#ifndef PYTSTATE_GALLERY_THREADING_H
#define PYTSTATE_GALLERY_THREADING_H

#include <pytstate.h>

/* How threading._shutdown() knows whom to wait for. */
enum era {
    /* 3.4 to 3.7.3: it joins whom enumerate() lists. */
    TRUSTS_ACTIVE,
    /* 3.7.4 to 3.8: a set of locks; who is joined leaves it. */
    LOCKS,
    /* 3.10 to 3.12: the set is also swept when a thread starts or stops. */
    SWEPT_LOCKS,
};

/* ---- _thread.lock ------------------------------------------------------ */

struct lock;
struct lock *lock_new(void);
void lock_incref(struct lock *lock);
void lock_decref(struct lock *lock);
/* 1 when it was acquired. Microseconds: -1 for ever, 0 only tries. */
int lock_acquire(struct lock *lock, long long microseconds);
void lock_release(struct lock *lock);
int lock_locked(struct lock *lock);

/* ---- threading --------------------------------------------------------- */

struct thread; /* threading.Thread */

/* The module as one interpreter imports it: the caller becomes its main
 * thread. One import per interpreter. */
struct threading *threading_import(enum era era);
/* What the module's end would free; every thread must be gone. */
void threading_forget(struct threading *module);
/* threading._shutdown(); -1 if an assertion failed. */
int threading_shutdown(struct threading *module);
/* threading.active_count(); -1 if the lists' lock was not to be had in time. */
int threading_active_count(struct threading *module, long long microseconds);
/* len(_shutdown_locks). */
size_t threading_shutdown_locks(const struct threading *module);

/* Thread(target=run, args=(arg,), daemon=daemon): a new reference. */
struct thread *thread_new(struct threading *module, void (*run)(void *),
                          void *arg, int daemon);
void thread_decref(struct thread *thread);
/* Thread.start(): returns when the thread runs. */
void thread_start(struct thread *thread);
/* Thread.join(timeout); -1 if an assertion failed (AssertionError). */
int thread_join(struct thread *thread, long long microseconds);
int thread_is_alive(struct thread *thread);
/* Thread.native_id. */
long thread_native_id(const struct thread *thread);

#endif

/* See threading.h. The sections stand in the order of their originals:
 * _thread's locks, the sentinel, thread start, then threading.py. */
#include "threading.h"
#include "gallery.h"

#include <stdlib.h>

/* ---- _thread.lock ------------------------------------------------------ */

/* A weak reference: NULL once the lock is dead. */
struct weakref {
    struct lock *object;
};

struct lock {
    int refs;
    int locked;
    PyThread_type_lock raw;
    struct weakref *weak;
};

static void *allocate(size_t size) {
    void *block = calloc(1, size);
    need(block != NULL);
    return block;
}

struct lock *lock_new(void) {
    struct lock *lock = allocate(sizeof *lock);
    lock->refs = 1;
    lock->raw = PyThread_allocate_lock();
    need(lock->raw != NULL);
    return lock;
}

void lock_incref(struct lock *lock) { lock->refs++; }

void lock_decref(struct lock *lock) {
    if (lock == NULL || --lock->refs > 0)
        return;
    if (lock->weak != NULL)
        lock->weak->object = NULL;
    if (lock->locked)
        PyThread_release_lock(lock->raw);
    PyThread_free_lock(lock->raw);
    free(lock);
}

int lock_acquire(struct lock *lock, long long microseconds) {
    PyLockStatus status = PyThread_acquire_lock_timed(lock->raw, 0, 0);
    if (status != PY_LOCK_ACQUIRED && microseconds != 0) {
        Py_BEGIN_ALLOW_THREADS;
        PyTState_Sync_Point("threading.lock.wait");
        status = PyThread_acquire_lock_timed(lock->raw, microseconds, 0);
        Py_END_ALLOW_THREADS;
    }
    if (status != PY_LOCK_ACQUIRED)
        return 0;
    lock->locked = 1;
    return 1;
}

void lock_release(struct lock *lock) {
    need(lock->locked);
    lock->locked = 0;
    PyThread_release_lock(lock->raw);
}

int lock_locked(struct lock *lock) { return lock->locked; }

/* ---- _thread._set_sentinel --------------------------------------------- */

/* The on_delete hook: releases the lock, if it still lives. */
static void release_sentinel(void *data) {
    struct weakref *weak = data;
    struct lock *lock = weak->object;
    if (lock != NULL) {
        lock->weak = NULL;
        if (lock->locked)
            lock_release(lock);
    }
    free(weak);
}

/* A lock that the end of the calling thread's state releases. The caller owns
 * it; the state has a weak reference. */
static struct lock *set_sentinel(void) {
    PyThreadState *tstate = PyThreadState_Get();
    struct lock *lock = lock_new();
    lock->weak = allocate(sizeof *lock->weak);
    lock->weak->object = lock;
    tstate->on_delete_data = lock->weak;
    tstate->on_delete = release_sentinel;
    return lock;
}

/* ---- threading.Thread -------------------------------------------------- */

struct thread {
    int refs;
    struct threading *module;
    void (*run)(void *);
    void *arg;
    int daemon;
    unsigned long ident;
    long native_id;
    PyEvent started;
    struct lock *tstate_lock; /* None once it is known to be released */
    int is_stopped;
    struct thread *next; /* in _limbo or _active */
};

struct threading {
    enum era era;
    struct thread *main_thread;
    struct lock *active_limbo_lock;
    struct thread *limbo, *active;
    struct lock **shutdown_locks;
    size_t locks_used, locks_room;
};

struct thread *thread_new(struct threading *module, void (*run)(void *),
                          void *arg, int daemon) {
    struct thread *self = allocate(sizeof *self);
    self->refs = 1;
    self->module = module;
    self->run = run;
    self->arg = arg;
    self->daemon = daemon;
    return self;
}

void thread_decref(struct thread *self) {
    if (self == NULL || --self->refs > 0)
        return;
    lock_decref(self->tstate_lock);
    free(self);
}

static void lock_lists(struct threading *module) {
    need(lock_acquire(module->active_limbo_lock, -1));
}

static void unlock_lists(struct threading *module) {
    lock_release(module->active_limbo_lock);
}

static void enter(struct thread **list, struct thread *self) {
    self->refs++;
    self->next = *list;
    *list = self;
}

static void leave(struct thread **list, struct thread *self) {
    while (*list != self) {
        need(*list != NULL);
        list = &(*list)->next;
    }
    *list = self->next;
    thread_decref(self);
}

/* ---- _shutdown_locks: a set -------------------------------------------- */

static void locks_add(struct threading *module, struct lock *lock) {
    if (module->locks_used == module->locks_room) {
        module->locks_room = module->locks_room ? module->locks_room * 2 : 8;
        module->shutdown_locks =
            realloc(module->shutdown_locks,
                    module->locks_room * sizeof *module->shutdown_locks);
        need(module->shutdown_locks != NULL);
    }
    lock_incref(lock);
    module->shutdown_locks[module->locks_used++] = lock;
}

static void locks_remove(struct threading *module, size_t at) {
    struct lock *lock = module->shutdown_locks[at];
    module->shutdown_locks[at] = module->shutdown_locks[--module->locks_used];
    lock_decref(lock);
}

static void locks_discard(struct threading *module, struct lock *lock) {
    for (size_t i = 0; i < module->locks_used; i++)
        if (module->shutdown_locks[i] == lock) {
            locks_remove(module, i);
            return;
        }
}

/* _maintain_shutdown_locks(): a released lock is a thread that has ended. */
static void maintain_shutdown_locks(struct threading *module) {
    for (size_t i = module->locks_used; i-- > 0;)
        if (!lock_locked(module->shutdown_locks[i]))
            locks_remove(module, i);
}

size_t threading_shutdown_locks(const struct threading *module) {
    return module->locks_used;
}

/* ---- The life of a thread ---------------------------------------------- */

static void set_tstate_lock(struct thread *self) {
    struct threading *module = self->module;
    self->tstate_lock = set_sentinel();
    need(lock_acquire(self->tstate_lock, -1));
    if (self->daemon || module->era == TRUSTS_ACTIVE)
        return;
    if (module->era == SWEPT_LOCKS)
        maintain_shutdown_locks(module);
    locks_add(module, self->tstate_lock);
}

static void bootstrap_inner(struct thread *self) {
    struct threading *module = self->module;
    self->ident = PyThreadState_Get()->thread_id;
    set_tstate_lock(self);
    self->native_id = own_task();
    lock_lists(module);
    enter(&module->active, self);
    leave(&module->limbo, self);
    unlock_lists(module);
    _PyEvent_Notify(&self->started);
    self->run(self->arg);
    /* _delete() */
    lock_lists(module);
    leave(&module->active, self);
    unlock_lists(module);
    swapped_out("threading.deleted");
}

struct bootstate {
    struct thread *self;
    PyThreadState *tstate;
};

/* t_bootstrap(): what the OS thread of a Python thread ran. */
static void t_bootstrap(void *arg) {
    struct bootstate *boot = arg;
    PyThreadState *tstate = boot->tstate;
    PyEval_AcquireThread(tstate);
    bootstrap_inner(boot->self);
    thread_decref(boot->self);
    free(boot);
    PyThreadState_Clear(tstate);
    PyThreadState_DeleteCurrent();
    PyTState_Sync_Point("threading.os_exit");
}

void thread_start(struct thread *self) {
    struct bootstate *boot = allocate(sizeof *boot);
    lock_lists(self->module);
    enter(&self->module->limbo, self);
    swapped_out("threading.limbo");
    unlock_lists(self->module);
    self->refs++;
    boot->self = self;
    boot->tstate = _PyThreadState_Prealloc(PyInterpreterState_Get());
    need(boot->tstate != NULL);
    need(PyThread_start_new_thread(t_bootstrap, boot) !=
         PYTHREAD_INVALID_THREAD_ID);
    PyEvent_Wait(&self->started);
}

long thread_native_id(const struct thread *self) { return self->native_id; }

/* ---- join -------------------------------------------------------------- */

/* The lock must have been released before: `assert not lock.locked()`. */
static int stop(struct thread *self) {
    struct threading *module = self->module;
    struct lock *lock = self->tstate_lock;
    if (lock != NULL && lock_locked(lock))
        return -1; /* AssertionError */
    self->is_stopped = 1;
    self->tstate_lock = NULL;
    if (!self->daemon) {
        if (module->era == LOCKS && lock != NULL)
            locks_discard(module, lock);
        if (module->era == SWEPT_LOCKS)
            maintain_shutdown_locks(module);
    }
    lock_decref(lock);
    return 0;
}

static int wait_for_tstate_lock(struct thread *self, long long microseconds) {
    struct lock *lock = self->tstate_lock;
    int result = 0;
    if (lock == NULL) {
        need(self->is_stopped);
        return 0;
    }
    lock_incref(lock);
    if (lock_acquire(lock, microseconds)) {
        swapped_out("threading.join.acquired");
        lock_release(lock);
        swapped_out("threading.join.released");
        result = stop(self);
    }
    lock_decref(lock);
    return result;
}

int thread_join(struct thread *self, long long microseconds) {
    need(_PyEvent_IsSet(&self->started));
    self->refs++;
    int result = wait_for_tstate_lock(self, microseconds);
    thread_decref(self);
    return result;
}

int thread_is_alive(struct thread *self) {
    if (self->is_stopped || !_PyEvent_IsSet(&self->started))
        return 0;
    need(wait_for_tstate_lock(self, 0) == 0);
    return !self->is_stopped;
}

/* ---- The module -------------------------------------------------------- */

struct threading *threading_import(enum era era) {
    struct threading *module = allocate(sizeof *module);
    module->era = era;
    module->active_limbo_lock = lock_new();
    /* _MainThread() */
    struct thread *self = thread_new(module, NULL, NULL, 0);
    set_tstate_lock(self);
    _PyEvent_Notify(&self->started);
    self->ident = PyThreadState_Get()->thread_id;
    self->native_id = own_task();
    enter(&module->active, self);
    module->main_thread = self;
    return module;
}

void threading_forget(struct threading *module) {
    leave(&module->active, module->main_thread);
    need(module->active == NULL && module->limbo == NULL);
    while (module->locks_used > 0)
        locks_remove(module, module->locks_used - 1);
    thread_decref(module->main_thread);
    lock_decref(module->active_limbo_lock);
    free(module->shutdown_locks);
    free(module);
}

int threading_active_count(struct threading *module, long long microseconds) {
    int n = 0;
    if (!lock_acquire(module->active_limbo_lock, microseconds))
        return -1;
    for (struct thread *one = module->active; one != NULL; one = one->next)
        n++;
    for (struct thread *one = module->limbo; one != NULL; one = one->next)
        n++;
    unlock_lists(module);
    return n;
}

/* 3.4: the first of enumerate() that is neither a daemon nor stopped. */
static struct thread *pick_some_non_daemon_thread(struct threading *module) {
    struct thread *found = NULL;
    lock_lists(module);
    struct thread *lists[] = {module->active, module->limbo};
    for (int i = 0; i < 2 && found == NULL; i++)
        for (struct thread *one = lists[i]; one != NULL; one = one->next)
            if (!one->daemon && thread_is_alive(one)) {
                found = one;
                break;
            }
    unlock_lists(module);
    return found;
}

static int join_active(struct threading *module) {
    struct thread *one;
    while ((one = pick_some_non_daemon_thread(module)) != NULL)
        if (thread_join(one, -1) < 0)
            return -1;
    return 0;
}

static int wait_for_locks(struct threading *module) {
    while (module->locks_used > 0) {
        struct lock *lock = module->shutdown_locks[0];
        lock_incref(lock);
        locks_remove(module, 0);
        need(lock_acquire(lock, -1));
        lock_release(lock);
        lock_decref(lock);
    }
    return 0;
}

int threading_shutdown(struct threading *module) {
    struct thread *main_thread = module->main_thread;
    need(main_thread->tstate_lock != NULL);
    need(lock_locked(main_thread->tstate_lock));
    lock_release(main_thread->tstate_lock);
    if (stop(main_thread) < 0)
        return -1;
    if (module->era == TRUSTS_ACTIVE)
        return join_active(module);
    return wait_for_locks(module);
}

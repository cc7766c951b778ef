/* The end of a runtime, state by state: who may still attach, who waits for
 * whom, what a thread that comes too late leaves behind, and the next life.
 *
 * One step here is what the library does under the head lock, or with one
 * atomic operation. Every assertion carries the label of an invariant that
 * stands in a comment of src/ (tests/model.rs compares); a hang is an invalid
 * end state, which spin reports by itself.
 *
 * Scenarios (one of them is defined): threads that take part beside Main.
 *   ENDS   a second finalizer, a worker, a guard, and the next life
 *   LATE   a worker, a daemon and a joiner that share a mutex
 *   FORK   a forker, a daemon, a guard
 *   SUBS   a second interpreter that shares the GIL, a thread that ends it, and
 *          a daemon in it
 * NOGIL: the main interpreter has no GIL.
 *
 * Planted bugs, of which the model must find each (model/run):
 *   BUG_LOOK_FIRST      finalize looks whether there is a life, then claims
 *   BUG_GUARD_EARLY     a guard is closed before the state that it protects is deleted
 *   BUG_WAIT_FIRST      a wait sits on the first handle and lists the others unseen
 *   BUG_LATE_LOCK       a late thread keeps the lock that it was given
 *   BUG_JOIN_LOCKED     a joiner attaches again with `joining` in its hand
 *   BUG_COMMIT_UNSEEN   the commit does not look again at threads and guards
 *   BUG_PAUSE_KEPT      a late requester leaves its pause behind (NOGIL)
 *   BUG_OLD_VIEW        a view names the interpreter of whatever life there is
 *   BUG_SUB_UNCLAIMED   an interpreter is ended without a claim
 *   BUG_LATE_GIL        an attach that meets the verdict keeps the GIL
 */

#define N 6
#define NONE 15

/* Threads, which are numbers of states as well. */
#define MAIN 0
#define SECOND 1 /* another finalizer, or the forker */
#define WORKER 2 /* started, awaited */
#define DAEMON 3 /* started, a daemon */
#define GUARD 4  /* foreign, attaches through a view's guard */
#define JOINER 5 /* foreign, joins the worker */

#define FINI 5   /* the finalizer's state in the second interpreter */

#ifdef ENDS
#define HAS_WORKER true
#endif
#ifdef LATE
#define HAS_WORKER true
#endif
#ifndef HAS_WORKER
#define HAS_WORKER false
#endif

/* The state word (src/state/word.rs). */
#define DETACHED 0
#define ATTACHED 1
#define SUSPENDED 2
#define SHUT 3

byte word[N];
bool linked[N];
bool late[N];      /* the last attach met the verdict */
byte made_in[N];   /* the life that the state was made in */

bool in_sub[N];    /* its interpreter is the second one */

byte gil = NONE;
byte pauser = NONE;

byte life = 1;
bool initialized = true;
bool committed = false;
byte finalizer = NONE;

bool sub_alive = false;
bool sub_ending = false;

byte guards = 0;
byte guard_life = 0; /* what GUARD's view names */
bool protected = false; /* GUARD is between its attach and the end of its release */

/* Handles of WORKER and DAEMON. */
bool event[N];
bool os_gone[N];
bool joined[N];
byte joining[N];

byte owner = NONE; /* of the host's mutex */
bool waits[N];

/* ---- Attach, detach ------------------------------------------------------- */

#ifdef NOGIL
#define GIL_FREE true
#define GIL_TAKE(me) skip
#define GIL_DROP(me) skip
#else
#define GIL_FREE (gil == NONE)
#define GIL_TAKE(me) gil = me
#define GIL_DROP(me) assert(gil == me); gil = NONE
#endif

/* Is held by a pause that another thread made. */
#define ASKED(me) (pauser != NONE && pauser != me)

/* The GIL first, then the word. `late[me]` says that there is no coming back. */
inline attach(me) {
    late[me] = false;
    do
    :: atomic { word[me] == SHUT -> late[me] = true; break }
    :: atomic { GIL_FREE -> GIL_TAKE(me) }; /* a free GIL is taken without a look */
        if
        :: atomic {
            word[me] == DETACHED -> word[me] = ATTACHED;
            assert(made_in[me] == life); /* LIFE-2 */
            break
        }
        :: atomic { word[me] == SUSPENDED -> GIL_DROP(me) };
            word[me] != SUSPENDED
#ifdef BUG_LATE_GIL
        :: atomic { word[me] == SHUT -> late[me] = true; break }
#else
        :: atomic { word[me] == SHUT -> GIL_DROP(me); late[me] = true; break }
#endif
        fi
    od
}

inline detach(me) {
    atomic {
        assert(word[me] == ATTACHED);
        word[me] = (ASKED(me) -> SUSPENDED : DETACHED);
        GIL_DROP(me)
    }
}

/* A state that is linked during a pause begins suspended. Refused past the
 * commit: then `linked` stays false. */
inline make_state(me) {
    d_step {
        if
        :: !committed && initialized && (!in_sub[me] || sub_alive) ->
            linked[me] = true; made_in[me] = life;
            word[me] = (pauser != NONE -> SUSPENDED : DETACHED)
        :: else -> skip
        fi
    }
}

/* Clear and delete the attached state. */
inline delete_current(me) {
    atomic {
        assert(word[me] == ATTACHED);
        linked[me] = false; word[me] = DETACHED;
        GIL_DROP(me)
    }
}

/* ---- Pauses ----------------------------------------------------------------- */

#define STANDS(me, i) (i == me || !linked[i] || word[i] == SUSPENDED || word[i] == SHUT)
#define ALL_STAND(me) (STANDS(me, 0) && STANDS(me, 1) && STANDS(me, 2) && \
                       STANDS(me, 3) && STANDS(me, 4) && STANDS(me, 5))
#define CAN_STOP(me, i) (i != me && linked[i] && word[i] == DETACHED)
#define ONE_CAN_STOP(me) (CAN_STOP(me, 0) || CAN_STOP(me, 1) || CAN_STOP(me, 2) || \
                          CAN_STOP(me, 3) || CAN_STOP(me, 4) || CAN_STOP(me, 5))

/* Detached states are suspended at once, attached ones suspend themselves. */
inline suspend_others(me) {
    do
    :: atomic { ALL_STAND(me) -> break }
    :: d_step {
        ONE_CAN_STOP(me) -> i_ = 0;
        do
        :: i_ < N ->
            if
            :: CAN_STOP(me, i_) -> word[i_] = SUSPENDED
            :: else -> skip
            fi;
            i_++
        :: else -> break
        od;
        i_ = 0
    }
    od
}

inline start(me) {
    d_step {
        assert(pauser == me);
        i_ = 0;
        do
        :: i_ < N ->
            if
            :: word[i_] == SUSPENDED -> word[i_] = DETACHED
            :: else -> skip
            fi;
            i_++
        :: else -> break
        od;
        i_ = 0;
        pauser = NONE
    }
}

/* Attached caller. It waits for its turn detached, and may be too late to come
 * back from there: `late[me]`, and then its pause is over. */
inline stop(me) {
    late[me] = false;
    if
    :: atomic { pauser == NONE -> pauser = me };
        suspend_others(me)
    :: atomic {
        ASKED(me) -> assert(word[me] == ATTACHED); word[me] = SUSPENDED; GIL_DROP(me)
    };
        atomic { pauser == NONE -> pauser = me };
        suspend_others(me);
        if
        :: word[me] == SHUT -> late[me] = true;
#ifndef BUG_PAUSE_KEPT
            start(me)
#endif
        :: atomic {
            word[me] == DETACHED && GIL_FREE ->
            GIL_TAKE(me); word[me] = ATTACHED
        }
        fi
    fi
}

/* What an attached thread does at a poll. */
inline poll(me) {
    if
    :: ASKED(me) -> detach(me); attach(me)
    :: else -> late[me] = false
    fi
}

/* ---- The host's mutex: a waiter is handed it ------------------------------- */

inline unlock() {
    d_step {
        owner = NONE; i_ = 0;
        do
        :: i_ < N ->
            if
            :: waits[i_] -> owner = i_; waits[i_] = false; break
            :: else -> i_++
            fi
        :: else -> break
        od;
        i_ = 0
    }
}

/* Attached caller; detaches while it waits. What it was given it gives back
 * before it meets the policy. */
inline lock(me) {
    late[me] = false;
    if
    :: atomic { owner == NONE -> owner = me }
    :: atomic { owner != NONE -> waits[me] = true };
        detach(me);
        owner == me;
        attach(me);
#ifndef BUG_LATE_LOCK
        if
        :: late[me] -> unlock()
        :: else -> skip
        fi
#endif
    fi
}

/* A late thread ends (or hangs): what others wait for it has given back. */
inline meet(me) {
    assert(owner != me);                                      /* LIFE-5 */
    assert(pauser != me);                                     /* LIFE-5 */
    assert(joining[WORKER] != me);                            /* LIFE-5 */
    assert(gil != me);                                        /* LIFE-5 */
    assert(!(me == GUARD && protected))                       /* LIFE-4 */
}

/* ---- Handles ---------------------------------------------------------------- */

inline end_thread(me) {
    assert(!linked[me]);                                      /* HANDLE-3 */
    assert(!event[me]);                                       /* HANDLE-3 */
    event[me] = true;
    os_gone[me] = true
}

/* Attached caller; `late[me]` as above, with nothing in its hands. */
inline join(me, h) {
    late[me] = false;
    detach(me);
    event[h];
    atomic { joining[h] == NONE -> joining[h] = me };
    if
    :: joined[h] -> skip
    :: else ->
        os_gone[h];
        assert(!joined[h]);                                   /* HANDLE-2 */
        joined[h] = true
    fi;
#ifdef BUG_JOIN_LOCKED
    attach(me);
    if
    :: !late[me] -> joining[h] = NONE
    :: else -> skip
    fi
#else
    joining[h] = NONE;
    attach(me)
#endif
}

/* A wait with a deadline. When that has passed, it lists who is left. */
inline wait_and_list() {
    d_step {
#ifndef BUG_WAIT_FIRST
        /* Every handle is looked at, and what is gone is joined. */
        if
        :: os_gone[WORKER] && joining[WORKER] == NONE -> joined[WORKER] = true
        :: else -> skip
        fi;
#endif
        if
        :: !joined[WORKER] && joining[WORKER] == NONE ->
            assert(!os_gone[WORKER])                          /* LIFE-6 */
        :: else -> skip
        fi
    }
}

/* ---- The end ------------------------------------------------------------------ */

#define AWAITED(i) (linked[i] && i == WORKER)

/* The other states of the caller's interpreter. */
inline give_up_others(me) {
    d_step {
        i_ = 0;
        do
        :: i_ < N ->
            if
            :: linked[i_] && i_ != me && in_sub[i_] == in_sub[me] ->
                assert(word[i_] == SUSPENDED);                /* LIFE-3 */
                word[i_] = SHUT; linked[i_] = false
            :: else -> skip
            fi;
            i_++
        :: else -> break
        od;
        i_ = 0
    }
}

/* Ends the second interpreter with the attached state `me`, which is the last. */
inline end_sub(me) {
    stop(me);
    assert(!late[me]);                                        /* LIFE-9 */
    assert(sub_alive);                                        /* LIFE-9 */
    give_up_others(me);
    start(me);
    delete_current(me);
    assert(sub_alive);                                        /* LIFE-9 */
    sub_alive = false
}

/* The end of the runtime ends the second interpreter, or waits for the thread
 * that does. */
inline end_subs(me) {
    if
    :: !sub_alive -> skip
#ifdef BUG_SUB_UNCLAIMED
    :: sub_alive ->
#else
    :: atomic { sub_alive && !sub_ending -> sub_ending = true };
#endif
        detach(me);
        make_state(FINI);
        assert(linked[FINI]);                                 /* LIFE-9 */
        attach(FINI);
        assert(!late[FINI]);                                  /* LIFE-9 */
        end_sub(FINI);
        attach(me);
        assert(!late[me])
#ifndef BUG_SUB_UNCLAIMED
    :: atomic { sub_alive && sub_ending -> skip };
        detach(me);
        !sub_alive;
        attach(me);
        assert(!late[me])
#endif
    fi
}

/* Nothing is attached when it returns. `own`: the caller's state is attached;
 * else one is made. */
inline finalize(me, own) {
#ifdef BUG_LOOK_FIRST
    if
    :: !initialized -> goto over
    :: else -> skip
    fi;
#endif
    if
    :: atomic { finalizer == NONE -> finalizer = me }
    :: atomic { finalizer != NONE -> goto elsewhere }
    fi;
#ifndef BUG_LOOK_FIRST
    if
    :: !initialized -> finalizer = NONE; goto over
    :: else -> skip
    fi;
#endif
    assert(initialized);                                      /* LIFE-1 */
    if
    :: own -> skip
    :: else -> make_state(me); assert(linked[me]); attach(me); assert(!late[me])
    fi;
again:
    if
    :: HAS_WORKER && !joined[WORKER] -> join(me, WORKER); assert(!late[me])
    :: else -> skip
    fi;
#ifdef SUBS
    end_subs(me);
#endif
    if
    :: guards > 0 -> detach(me); guards == 0; attach(me); assert(!late[me])
    :: else -> skip
    fi;
    stop(me);
    assert(!late[me]);
    d_step {
        if
#ifdef BUG_COMMIT_UNSEEN
        :: true ->
#else
        :: guards == 0 && !AWAITED(WORKER) && !sub_alive ->
#endif
            assert(initialized && !committed);                /* LIFE-1 */
            assert(guards == 0 && !AWAITED(WORKER));          /* LIFE-3 */
            committed = true; initialized = false
        :: else -> skip
        fi
    };
    if
    :: !committed -> start(me); goto again
    :: else -> skip
    fi;
    give_up_others(me);
    start(me);
    delete_current(me);
    committed = false;
    finalizer = NONE
}

/* The end is over, or was never this thread's. */
inline initialize(me) {
    atomic {
        finalizer == NONE && !initialized ->
        life++; linked[me] = true; made_in[me] = life; word[me] = DETACHED
    };
    attach(me);
    assert(!late[me]);
    initialized = true
}

/* ---- Threads -------------------------------------------------------------------- */

proctype Main() {
    byte i_;
    attach(MAIN);
    if
    :: late[MAIN] -> goto over
    :: else -> skip
    fi;
    finalize(MAIN, true);
    goto next;
elsewhere:
over:
    /* Another thread ends this life, and gives this one's state up. */
    if
    :: atomic { word[MAIN] == ATTACHED -> word[MAIN] = (ASKED(MAIN) -> SUSPENDED : DETACHED); GIL_DROP(MAIN) }
    :: word[MAIN] != ATTACHED -> skip
    fi;
    word[MAIN] == SHUT;
next:
    initialize(MAIN);
    detach(MAIN)
}

#ifdef FORK
/* Forks, as a foreign thread that has a state. */
proctype Forker() {
    byte i_;
    make_state(SECOND);
    if
    :: !linked[SECOND] -> goto end
    :: else -> skip
    fi;
    attach(SECOND);
    if
    :: late[SECOND] -> meet(SECOND); goto end
    :: else -> skip
    fi;
    stop(SECOND);
    if
    :: late[SECOND] -> meet(SECOND); goto end
    :: else -> skip
    fi;
    /* The child finds each other state at rest, and no end half committed. */
    assert(ALL_STAND(SECOND) && word[SECOND] == ATTACHED);    /* LIFE-7 */
    assert(!committed && initialized);                        /* LIFE-7 */
    start(SECOND);
    delete_current(SECOND);
end:
    skip
}
#endif

#ifdef SUBS
/* Ends the second interpreter, in which it has a state. */
proctype Ender() {
    byte i_;
    attach(SECOND);
    if
    :: late[SECOND] -> meet(SECOND); goto end
    :: else -> skip
    fi;
#ifdef BUG_SUB_UNCLAIMED
    sub_ending = true;
#else
    if
    :: atomic { !sub_ending -> sub_ending = true }
    :: atomic { sub_ending -> skip };
        /* The other thread ends it, and gives this state up. */
        detach(SECOND);
        !sub_alive;
        goto end
    fi;
#endif
    end_sub(SECOND);
end:
    skip
}
#endif

#ifdef ENDS
/* Finalizes, at any time, from a thread without a state. */
proctype Second() {
    byte i_;
    finalize(SECOND, false);
elsewhere:
over:
    skip
}
#endif

proctype Worker() {
    byte i_;
    attach(WORKER);
    assert(!late[WORKER]);                                    /* LIFE-3 */
    lock(WORKER);
    assert(!late[WORKER]);                                    /* LIFE-3 */
    unlock();
    delete_current(WORKER);
    end_thread(WORKER)
}

/* Lets go of its state with the mutex in its hands, and unlocks then. */
proctype Daemon() {
    byte i_;
    attach(DAEMON);
    if
    :: late[DAEMON] -> goto gone
    :: else -> skip
    fi;
    lock(DAEMON);
    if
    :: late[DAEMON] -> goto gone
    :: else -> skip
    fi;
    detach(DAEMON);
    unlock();
    attach(DAEMON);
    if
    :: late[DAEMON] -> goto gone
    :: else -> delete_current(DAEMON)
    fi;
    goto end;
gone:
    meet(DAEMON);
end:
    end_thread(DAEMON)
}

/* Attaches through a view: the guard is open until the state is gone. */
proctype Guard() {
    byte i_;
    d_step {
        if
#ifdef BUG_OLD_VIEW
        :: initialized && !committed ->
#else
        :: initialized && !committed && life == guard_life ->
#endif
            assert(life == guard_life);                       /* LIFE-8 */
            guards++; protected = true
        :: else -> skip
        fi
    };
    if
    :: !protected -> goto end
    :: else -> skip
    fi;
    make_state(GUARD);
    assert(linked[GUARD]);                                    /* LIFE-4 */
    attach(GUARD);
    if
    :: late[GUARD] -> meet(GUARD)
    :: else -> skip
    fi;
#ifdef BUG_GUARD_EARLY
    guards--;
#endif
    detach(GUARD);
    attach(GUARD);
    if
    :: late[GUARD] -> meet(GUARD)
    :: else -> skip
    fi;
    delete_current(GUARD);
    protected = false;
#ifndef BUG_GUARD_EARLY
    guards--;
#endif
end:
    skip
}

proctype Joiner() {
    byte i_;
    make_state(JOINER);
    if
    :: !linked[JOINER] -> goto end
    :: else -> skip
    fi;
    attach(JOINER);
    if
    :: late[JOINER] -> goto gone
    :: else -> skip
    fi;
    wait_and_list();
    join(JOINER, WORKER);
    if
    :: late[JOINER] -> goto gone
    :: else -> skip
    fi;
    lock(JOINER);
    if
    :: late[JOINER] -> goto gone
    :: else -> skip
    fi;
    unlock();
    delete_current(JOINER);
    goto end;
gone:
    meet(JOINER);
end:
    skip
}

/* A state that is there from the beginning. */
#define HAS_STATE(me) linked[me] = true; made_in[me] = 1

init {
    byte i_;
    atomic {
        i_ = 0;
        do
        :: i_ < N -> joining[i_] = NONE; i_++
        :: else -> break
        od;
        guard_life = 1;
        HAS_STATE(MAIN);
        run Main();
#ifdef FORK
        run Forker();
        HAS_STATE(DAEMON);
        run Daemon();
        run Guard();
#endif
#ifdef ENDS
        run Second();
        HAS_STATE(WORKER);
        run Worker();
        run Guard();
#endif
#ifdef SUBS
        sub_alive = true;
        in_sub[SECOND] = true; in_sub[DAEMON] = true; in_sub[FINI] = true;
        HAS_STATE(SECOND);
        run Ender();
        HAS_STATE(DAEMON);
        run Daemon();
#endif
#ifdef LATE
        HAS_STATE(WORKER);
        run Worker();
        HAS_STATE(DAEMON);
        run Daemon();
        run Joiner();
#endif
    }
}

"""The calls of the programs: when each is legal, and what it does to the model.

call(model, thread, *numbers) checks with `need` and returns a generator; a
chooser picks numbers for a new program (None: none to pick)."""
from model import EXIT, NO_GIL, OWN, SHARED, Guard, Handle, Interp, State, Thread, need

CALLS = {}


def call(weight, choose):
    def enter(function):
        CALLS[function.__name__] = (function, weight, choose)
        return function
    return enter


def none(model, thread, random):
    return ()


def one_of(random, some):
    some = list(some)
    return random.choice(some) if some else None


def a_state(want):
    def choose(model, thread, random):
        number = one_of(random, [n for n, s in model.states.items()
                                 if n < 250 and s.thread is thread
                                 and (not s.deleted or s.given_up)])
        return None if number is None else (number,)
    return choose


any_state = lambda m, t, r: (lambda n: None if n is None else (n,))(
    one_of(r, [n for n, s in m.states.items() if n < 250 and not s.deleted]))
mutex = lambda m, t, r: (r.randrange(3),)
small = lambda m, t, r: (r.randrange(2),)
a_view = lambda m, t, r: (lambda n: None if n is None else (n,))(one_of(r, m.views))


def finish(value=0):
    return value
    yield


# ---- The runtime ---------------------------------------------------------

@call(30, lambda m, t, r: (r.choice((0, 0, 1)), m.settings["compat"], m.settings["late"]))
def initialize(m, t, gil, compat, late):
    need(not m.initialized and m.finalizer is None and t.attached is None and not t.tokens)
    def go():
        m.initialized = True
        m.life += 1
        m.main_thread = t
        m.interps = {}
        for state in m.states.values():
            state.deleted = True
        # A thread that begins a new life has nothing of the old one any more.
        m.states = {n: s for n, s in m.states.items() if n and s.given_up and s.thread is not t}
        t.blocked_in = None
        m.next_id = 1
        m.main = m.interps[0] = Interp(0, 0, NO_GIL if gil else SHARED, __import__("model").Gil(), m.life)
        m.states[0] = State(0, m.main, t, False, True)
        yield from m.attach(t, m.states[0])
        return 0
    return go()


@call(5, none)
def finalize(m, t):
    need(not t.tokens and not t.locks)
    need(m.initialized and m.finalizer is None)
    need(all(not g.interp.alive or g.thread is not t for g in m.guards.values() if g))
    need(not (t.attached and t.attached.blocking))
    need(t.handle is None)
    need(m.quiet(t))
    # Nobody else ends an interpreter, or it would be waited for.
    need(not any(i.ender for i in m.interps.values() if i.alive))
    # One end after another takes the GIL in an order that only it knows.
    need(not any(th.call for th in m.threads.values()))
    return m.finalize(t)


@call(8, lambda m, t, r: (m.fresh("state"), m.fresh("interp"), r.choice((SHARED, OWN, NO_GIL))))
def new_interp(m, t, state, interp, gil):
    need(m.initialized and m.finalizer is None and t.attached and m.quiet(t))
    need(not t.attached.blocking and len(m.interps) < 6)
    # It has no name before the call returns, so the call may not wait.
    shared = m.main.gil
    need(gil != SHARED or shared is None or shared.holder in (None, t) and not shared.queue)
    def go():
        m.had_sub = True
        ident = m.next_id
        m.next_id += 1
        new = Interp(interp, ident, gil, shared, m.life)
        if gil == SHARED and shared is None:
            new.gil = None
        m.interps[interp] = new
        m.states[state] = State(state, new, t, False, True)
        m.detach(t)
        yield from m.attach(t, m.states[state])
        return ident
    return go()


@call(40, none)
def end_interp(m, t):
    need(t.attached and t.attached.interp is not m.main and m.finalizer is None)
    interp = t.attached.interp
    need(interp.ender is None and m.quiet(t) and not t.tokens)
    need(not any(g and g.interp is interp and g.thread is t for g in m.guards.values()))
    if m.settings["compat"] < 0x030E0000:
        need(len(interp.states) == 1 and not interp.guards)
    need(not any(th.call for th in m.threads.values()))
    need(not m.pending)
    def go():
        yield from m.end_sub(interp, t)
        return 0
    return go()


@call(3, none)
def is_initialized(m, t):
    return finish(m.initialized)


@call(8, lambda m, t, r: (r.choice([-1] + list(m.interps)),))
def census(m, t, interp):
    need(m.initialized and m.finalizer is None)
    some = m.interps.values() if interp < 0 else [m.interps[interp]]
    need(all(i.alive for i in some) if interp >= 0 else True)
    return finish(sum(len(i.states) for i in some if i.alive))


@call(4, lambda m, t, r: (r.choice(list(m.interps) or [None]),))
def count_guards(m, t, interp):
    need(interp is not None and m.interps[interp].alive and m.finalizer is None)
    return finish(len(m.interps[interp].guards))


@call(2, lambda m, t, r: (r.randrange(6),))
def look_up(m, t, ident):
    need(m.initialized and m.finalizer is None and t.attached)
    def go():
        found = any(i.alive and i.ident == ident for i in m.interps.values())
        if not found:
            t.attached.error = 3
        return found
        yield
    return go()


@call(3, lambda m, t, r: (r.choice(list(m.interps) or [None]),))
def at_exit(m, t, interp):
    need(t.attached and interp in m.interps and t.attached.interp is m.interps[interp])
    need(m.finalizer is None and t.attached.interp.ender is None)
    def go():
        m.interps[interp].at_exit += 1
        return 0
        yield
    return go()


@call(3, lambda m, t, r: (r.choice(list(m.interps) or [None]),))
def at_shutdown(m, t, interp):
    need(t.attached and interp in m.interps and t.attached.interp is m.interps[interp])
    return at_exit(m, t, interp)


@call(4, none)
def n_at_exit(m, t):
    need(m.finalizer is None)
    return finish(m.at_exit)


# ---- States --------------------------------------------------------------

@call(10, lambda m, t, r: (m.fresh("state"), r.choice(list(m.interps) or [None])))
def new_state(m, t, state, interp):
    need(m.initialized and interp in m.interps and m.interps[interp].alive)
    need(m.finalizer is None and len(m.states) < 40)
    need(m.interps[interp].ender is None)
    def go():
        m.states[state] = new = State(state, m.interps[interp], t, True)
        if t.gilstate is None:
            t.gilstate = new
        return 1
        yield
    return go()


def usable(m, t, number):
    need(number in m.states)
    state = m.states[number]
    if state.given_up:
        need(state.thread is t and state.interp.ender is not t)
        return state
    need(m.of(t, state) and not state.blocking)
    need(state.interp.life == m.life)
    return state


def attaching(m, t, number):
    need(t.attached is None and not t.tokens)
    return m.attach(t, usable(m, t, number))


@call(40, a_state(0))
def restore(m, t, number):
    return attaching(m, t, number)


@call(4, a_state(0))
def acquire(m, t, number):
    return attaching(m, t, number)


def detaching(m, t):
    need(t.attached and not t.tokens and not t.attached.blocking)
    def go():
        m.detach(t)
        return 0
        yield
    return go()


@call(25, none)
def save(m, t):
    return detaching(m, t)


@call(3, a_state(0))
def release(m, t, number):
    need(number in m.states and t.attached is m.states[number])
    return detaching(m, t)


@call(8, lambda m, t, r: (r.choice([-1] + [n for n, s in m.states.items() if n < 250 and s.thread is t]),))
def swap(m, t, number):
    need(not t.tokens and not (t.attached and t.attached.blocking))
    new = None if number < 0 else usable(m, t, number)
    need(new is not t.attached)
    def go():
        before = t.attached
        if before:
            m.detach(t)
        if new:
            yield from m.attach(t, new)
        return shown(before)
    return go()


def clearable(m, t, state):
    need(not state.cleared and not state.deleted and not state.first and not state.started)
    need(state.ensures == 0 and not state.in_call and not state.blocking)
    need(not any(k == "gil" and th is state.thread for th in m.threads.values() for k, *_ in th.tokens))
    need(state.number >= 0 and not state.kept)
    need(not any(th.call and th is state.thread for th in m.threads.values()))


@call(8, any_state)
def delete(m, t, number):
    state = m.states[number]
    need(t.attached and t.attached is not state and state.interp is t.attached.interp)
    need(not any(th.attached is state for th in m.threads.values()))
    clearable(m, t, state)
    state.pair = None
    def go():
        m.clear(state)
        m.delete(state)
        return 0
        yield
    return go()


@call(8, none)
def delete_current(m, t):
    need(t.attached and not t.tokens)
    state = t.attached
    clearable(m, t, state)
    def go():
        m.clear(state)
        gil = state.interp.gil
        m.delete(state)
        t.attached = None
        if gil is not None:
            gil.holder = None
        return 0
        yield
    return go()


@call(5, any_state)
def rebind(m, t, number):
    state = m.states[number]
    need(state.interp.alive and state.interp.life == m.life and m.finalizer is None)
    old = state.thread
    need(not old.tokens and not state.cleared and not state.first and not state.started)
    need(not state.kept and (old is t or old.idle()))
    refused = any(th.attached is state for th in m.threads.values()) or state.blocking
    need(not (refused and old is t))
    def go():
        if not refused and old is not t:
            if old.gilstate is state:
                old.gilstate = None
            state.thread = t
            if t.gilstate is None:
                t.gilstate = state
        elif refused and t.attached:
            t.attached.error = 1
        return -1 if refused else 0
        yield
    return go()


@call(4, lambda m, t, r: (lambda n: None if n is None else (n[0], r.randrange(2)))(any_state(m, t, r)))
def daemon(m, t, number, value):
    state = m.states[number]
    need(t.attached is state and m.finalizer is None and not state.started)
    def go():
        state.daemon = bool(value)
        return 0
        yield
    return go()


@call(5, a_state(0))
def hook(m, t, number):
    state = usable(m, t, number)
    need(t.attached is state)
    def go():
        state.hook = True
        return 0
        yield
    return go()


@call(4, none)
def n_deleted(m, t):
    need(m.finalizer is None)
    return finish(m.deleted)


@call(3, lambda m, t, r: (r.randrange(2),))
def keep(m, t, on):
    # What is kept and not in use goes when it is switched off.
    need(m.finalizer is None and not t.tokens and m.quiet(t) and t.attached is None)
    mine = [s for s in m.states.values() if s.thread is t and s.kept and not s.deleted]
    need(not mine or not any(th.call for th in m.threads.values()))
    need(not mine or m.main.gil is None or m.main.gil.holder is None)
    def go():
        before, t.keep = t.keep, bool(on)
        if not on:
            for state in mine:
                m.clear(state)
                m.delete(state)
        return before
        yield
    return go()


# ---- PyGILState and PEP 788 ----------------------------------------------

@call(15, none)
def ensure(m, t):
    need(m.initialized and len(t.tokens) < 4)
    state = t.gilstate
    need(state is None or (not state.cleared and not state.deleted and not state.blocking))
    need(t.attached is None or t.attached is state)
    need(state is not None or (m.finalizer is None and m.main.alive))
    def go():
        nonlocal state
        if t.attached is not None:
            state.counter += 1
            t.tokens.append(("gil", 0, state))
            return 0
        made = state is None
        if made:
            number = 500 + m.fresh("ensured")
            state = m.states[number] = State(number, m.main, t, True)
            state.counter = 0
            t.gilstate = state
        state.counter += 1
        t.tokens.append(("gil", 1, state))
        yield from m.attach(t, state)
        return 1
    return go()


@call(25, lambda m, t, r: (t.tokens[-1][1],) if t.tokens and t.tokens[-1][0] == "gil" else None)
def unensure(m, t, token):
    need(t.tokens and t.tokens[-1][0] == "gil" and t.tokens[-1][1] == token)
    state = t.tokens[-1][2]
    need(t.attached is state and not state.blocking)
    def go():
        t.tokens.pop()
        state.counter -= 1
        if state.counter == 0 and state.ensures:
            # A kept state that PyThreadState_Ensure attached is in use.
            if token == 1:
                m.detach(t)
        elif state.counter == 0:
            if t.keep:
                state.kept = True
                m.detach(t)
                return 0
            m.clear(state)
            gil = state.interp.gil
            m.delete(state)
            t.attached = None
            if gil is not None:
                gil.holder = None
        elif token == 1:
            m.detach(t)
        return 0
        yield
    return go()


@call(6, lambda m, t, r: (m.fresh("guard"),))
def guard(m, t, number):
    need(t.attached and m.finalizer is None and t.attached.interp.ender is None)
    def go():
        m.guards[number] = Guard(t.attached.interp, t)
        return 1
        yield
    return go()


@call(5, lambda m, t, r: (lambda v: None if v is None else (m.fresh("guard"), v[0]))(a_view(m, t, r)))
def guard_view(m, t, number, view):
    need(view in m.views)
    interp = m.seen_by(view)
    need(m.finalizer is None and interp.ender is None or not interp.alive)
    def go():
        if not interp.alive:
            return 0
        m.guards[number] = Guard(interp, t)
        return 1
        yield
    return go()


@call(12, lambda m, t, r: (lambda n: None if n is None else (n,))(one_of(r, [n for n, g in m.guards.items() if g])))
def guard_close(m, t, number):
    need(m.guards.get(number) is not None)
    guard = m.guards[number]
    need(not any(k == "guard" and b == number for th in m.threads.values() for k, b, *_ in th.tokens))
    def go():
        if guard.interp.alive:
            guard.close()
        m.guards[number] = None
        return 0
        yield
    return go()


@call(6, lambda m, t, r: (m.fresh("view"),))
def view(m, t, number):
    need(t.attached)
    def go():
        m.views[number] = t.attached.interp
        return 1
        yield
    return go()


@call(4, lambda m, t, r: (m.fresh("view"),))
def view_main(m, t, number):
    need(m.initialized)
    def go():
        m.views[number] = None  # whatever is the main interpreter then
        return 1
        yield
    return go()


@call(1, a_view)
def view_close(m, t, number):
    need(number in m.views)
    def go():
        del m.views[number]
        return 0
        yield
    return go()


def enter(m, t, number, interp, kind, own_guard):
    """The attached state if it is of that interpreter, else the one that this
    thread used last, if it is, else a new one."""
    before = t.attached
    if before and before.interp is interp:
        state = before
    elif t.gilstate and t.gilstate.interp is interp and not t.gilstate.deleted:
        state = t.gilstate
    else:
        made = 600 + m.fresh("made")
        state = m.states[made] = State(made, interp, t, True)
        state.ensure_deletes = True
        if t.gilstate is None:
            t.gilstate = state
    state.ensures += 1
    if own_guard and state.guard is None:
        state.guard = Guard(interp, t)
    t.tokens.append((kind, number[1], before, state, number[0]))
    if state is not before:
        if before:
            before.in_call = True
            m.detach(t)
        yield from m.attach(t, state)
    return 1


def may_enter(m, t):
    need(len(t.tokens) < 4 and not (t.attached and t.attached.blocking))
    need(not (t.gilstate and (t.gilstate.cleared or t.gilstate.blocking)))


@call(10, lambda m, t, r: (lambda v: None if v is None else (m.fresh("token"), v[0]))(a_view(m, t, r)))
def visit_view(m, t, number, view):
    need(view in m.views)
    interp = m.seen_by(view)
    may_enter(m, t)
    if not interp.alive:
        return finish(0)
    need(m.finalizer is None and interp.ender is None)
    return enter(m, t, (number, view), interp, "view", True)


@call(6, lambda m, t, r: (lambda n: None if n is None else (m.fresh("token"), n))(one_of(r, [n for n, g in m.guards.items() if g])))
def visit_guard(m, t, number, guard):
    need(m.guards.get(guard) is not None)
    may_enter(m, t)
    need(m.guards[guard].interp.alive)
    return enter(m, t, (number, guard), m.guards[guard].interp, "guard", False)


@call(25, lambda m, t, r: (t.tokens[-1][4],) if t.tokens and t.tokens[-1][0] != "gil" else None)
def leave(m, t, number):
    need(t.tokens and t.tokens[-1][0] != "gil" and t.tokens[-1][4] == number)
    kind, _, before, state, _ = t.tokens[-1]
    need(t.attached is state and not state.blocking)
    # Here the library detaches and attaches again: who gets the GIL then?
    need(before is not state or state.ensures > 1 or m.quiet(t))
    def go():
        t.tokens.pop()
        state.ensures -= 1
        last = state.ensures == 0
        if last and state.ensure_deletes and not (t.keep and state.interp is m.main):
            m.clear(state)
            gil = state.interp.gil
            m.delete(state)
            t.attached = None
            if gil is not None:
                gil.holder = None
        elif last and state.ensure_deletes:
            state.kept = True
            m.detach(t)
        elif before is not state:
            m.detach(t)
        if last and state.guard:
            state.guard.close()
            state.guard = None
        if before and before is not state:
            before.in_call = False
            yield from m.attach(t, before)
        return 0
    return go()


@call(4, lambda m, t, r: (lambda v: None if v is None else (v[0], r.choice((3, 30)), r.randrange(3)))(a_view(m, t, r)))
def visits(m, t, view, rounds, mutex):
    need(view in m.views and t.attached is None and not t.keep)
    may_enter(m, t)
    interp = m.seen_by(view)
    if not interp.alive:
        return finish(0)
    need(m.finalizer is None and interp.ender is None and m.mutexes[mutex].owner is None)
    need(interp.gil is None or interp.gil.holder is None and not interp.gil.queue)
    need(not any(th.call for th in m.threads.values()))
    return finish(rounds)


# ---- Queries -------------------------------------------------------------

@call(8, none)
def gil_check(m, t):
    need(not m.had_sub)  # from then on it says 1, as in CPython
    # Without a runtime it says 1 by the rules of 3.14 and before. While a
    # finalization goes on, the moment at which there is none is not modelled.
    need(m.initialized or m.settings["compat"] == 0)
    return finish(t.attached is not None)


def shown(state):
    return -1 if state is None or state.number >= 500 or state.number < 0 else state.number


@call(8, none)
def current(m, t):
    return finish(shown(t.attached))


@call(8, none)
def gilstate(m, t):
    return finish(shown(t.gilstate))


@call(4, lambda m, t, r: (r.randrange(1, 3),))
def error_set(m, t, kind):
    need(t.attached)
    def go():
        t.attached.error = kind
        return 0
        yield
    return go()


@call(6, none)
def error(m, t):
    need(t.attached)
    return finish(t.attached.error)


@call(2, none)
def error_clear(m, t):
    need(t.attached)
    t_state = t.attached
    def go():
        t_state.error = 0
        return 0
        yield
    return go()


# ---- Locks ---------------------------------------------------------------

def locking(m, t, lock, name):
    need(lock.owner is not t and len(t.locks) < 2)
    need(not any(l is lock for _, l in t.locks))
    def go():
        state = t.attached
        if lock.owner is not None:
            if state:
                state.in_call = True
                m.detach(t)
            lock.queue.append(t)
            yield lambda: lock.owner is t
            if state:
                try:
                    yield from m.attach(t, state)
                except Exception:
                    unlock_now(lock)
                    raise
                state.in_call = False
        lock.owner = t
        t.locks.append((name, lock))
        return 0 if name == "mutex" else 1
    return go()


def unlock_now(lock):
    """Handed to the one that waits longest."""
    lock.owner = lock.queue.pop(0) if lock.queue else None


def unlocking(m, t, lock):
    need(any(l is lock for _, l in t.locks))
    def go():
        t.locks = [(n, l) for n, l in t.locks if l is not lock]
        unlock_now(lock)
        return 0
        yield
    return go()


@call(12, mutex)
def lock(m, t, number):
    return locking(m, t, m.mutexes[number], "mutex")


@call(14, mutex)
def unlock(m, t, number):
    return unlocking(m, t, m.mutexes[number])


@call(4, mutex)
def is_locked(m, t, number):
    return finish(m.mutexes[number].owner is not None)


@call(5, lambda m, t, r: (m.fresh("event") if r.random() < .3 or not m.events else one_of(r, m.events),))
def event_wait(m, t, number):
    need(number < 60)
    event = m.events.setdefault(number, [False, 0])
    need(event[0] or event[1] == 0)  # one waiter: who comes back first?
    def go():
        if event[0]:
            return 0
        state = t.attached
        event[1] += 1
        if state:
            state.in_call = True
            m.detach(t)
        yield lambda: event[0]
        if state:
            yield from m.attach(t, state)
            state.in_call = False
        return 0
    return go()


@call(5, lambda m, t, r: (lambda n: None if n is None else (n,))(one_of(r, m.events)))
def event_set(m, t, number):
    event = m.events.setdefault(number, [False, 0])
    def go():
        event[0] = True
        return 0
        yield
    return go()


# ---- Threads -------------------------------------------------------------

@call(6, lambda m, t, r: (m.fresh("handle"),))
def new_handle(m, t, number):
    need(number < 60)
    def go():
        m.handles[number] = Handle()
        return 1
        yield
    return go()


@call(12, lambda m, t, r: (lambda h: None if h is None or not m.interps else (
    h, r.choice(list(m.interps)) + 100 * r.randrange(2), max(m.threads) + 1))(
        one_of(r, [n for n, h in m.handles.items() if h and not h.started])))
def start(m, t, number, where, new):
    handle = m.handles.get(number)
    need(handle is not None and not handle.started and t.attached and new < 60)
    need(new not in m.threads and where % 100 in m.interps)
    interp = m.interps[where % 100]
    need(interp.alive and interp.ender is None and m.finalizer is None)
    need(t.attached.interp is interp and m.quiet(t))
    need(len([x for x in m.threads.values() if not x.gone and not x.dead]) < 7)
    def go():
        handle.started, handle.daemon = True, where >= 100
        other = m.threads[new] = Thread(new, handle)
        state = State(900 + new, interp, other, handle.daemon)
        state.started = True
        m.states[state.number] = state
        handle.state, handle.thread = state, other
        other.gilstate = state
        def begin():
            yield from m.attach(other, state)
            return "tid"
        other.call, other.wait = begin(), None
        m.ticket += 1
        other.ticket = m.ticket
        return 0
        yield
    return go()


@call(10, none)
def end(m, t):
    """The thread's function returns."""
    need(t.number != 0 and not t.tokens and not t.locks)
    need(not any(g and g.thread is t for g in m.guards.values()))
    if t.handle:
        need(t.attached is t.handle.state and not t.attached.blocking)
    else:
        need(t.attached is None)
        need(not any(s.kept for s in m.states.values() if s.thread is t and not s.deleted))
    def go():
        if t.handle:
            state = t.attached
            m.clear(state)
            gil = state.interp.gil
            m.delete(state)
            t.attached = None
            if gil is not None:
                gil.holder = None
            t.handle.done, t.handle.state = True, None
        t.gone = True
        t.gilstate = None
        return 0
        yield
    return go()


@call(8, lambda m, t, r: (lambda h: None if h is None else (h, r.choice((-1, 0))))(
    one_of(r, [n for n, h in m.handles.items() if h])))
def join(m, t, number, limit):
    handle = m.handles.get(number)
    need(handle is not None and m.quiet(t) and not (t.attached and t.attached.blocking))
    need(limit != 0 or handle.done or not handle.started or True)
    need(not any(getattr(th, "joins", None) is handle for th in m.threads.values()))
    need(m.finalizer is None)
    def go():
        if not handle.started or handle.thread is t:
            if t.attached:
                t.attached.error = 1
            return -1
        if handle.done:
            return 0
        if limit == 0:
            return 1
        state = t.attached
        t.joins = handle
        if state:
            state.in_call = True
            m.detach(t)
        yield lambda: handle.done
        t.joins = None
        if state:
            yield from m.attach(t, state)
            state.in_call = False
        return 0
    return go()


@call(5, lambda m, t, r: (lambda h: None if h is None else (h,))(one_of(r, [n for n, h in m.handles.items() if h])))
def is_done(m, t, number):
    need(m.handles.get(number) is not None)
    return finish(m.handles[number].done)


@call(3, lambda m, t, r: (lambda h: None if h is None else (h,))(one_of(r, [n for n, h in m.handles.items() if h])))
def decref(m, t, number):
    handle = m.handles.get(number)
    need(handle is not None)
    need(not any(getattr(th, "joins", None) is handle for th in m.threads.values()))
    def go():
        m.handles[number] = None
        return 0
        yield
    return go()


# ---- Requests ------------------------------------------------------------

@call(6, none)
def pending(m, t):
    need(m.initialized and m.finalizer is None and m.pending < 8)
    def go():
        m.pending += 1
        return 0
        yield
    return go()


@call(6, none)
def make_pending(m, t):
    need(t.attached and t is m.main_thread and t.attached.interp is m.main and m.quiet(t))
    need(m.finalizer is None)
    def go():
        m.called += m.pending
        m.pending = 0
        return 0
        yield
    return go()


@call(6, none)
def n_called(m, t):
    need(m.finalizer is None and m.pending == 0)
    return finish(m.called)


@call(5, none)
def begin_blocking(m, t):
    need(t.attached and not t.attached.blocking and not t.tokens)
    def go():
        state = t.attached
        state.blocking = True
        t.blocked_in = state
        m.detach(t)
        return 0
        yield
    return go()


@call(25, lambda m, t, r: () if getattr(t, "blocked_in", None) else None)
def end_blocking(m, t):
    state = getattr(t, "blocked_in", None)
    need(state and t.attached is None and state.interp.ender is not t)
    def go():
        yield from m.attach(t, state)
        state.blocking, t.blocked_in = False, None
        return 0
    return go()


@call(4, lambda m, t, r: (r.choice([-1] + list(m.interps)),))
def pause(m, t, interp):
    need(t.attached and m.quiet(t) and m.finalizer is None)
    need(interp < 0 or m.interps.get(interp) and m.interps[interp].alive)
    where = [i for i in m.interps.values() if i.alive] if interp < 0 else [m.interps[interp]]
    need(not any(m.attached_in(i, t) for i in where))
    need(not any(th.call for th in m.threads.values()))
    return finish(t.attached.interp in where)


@call(2, none)
def fork(m, t):
    need(t.attached and t.attached.interp is m.main and m.quiet(t) and not t.tokens)
    need(m.finalizer is None and not any(th.call for th in m.threads.values()))
    need(not any(m.attached_in(i, t) for i in m.interps.values()))
    need(not m.pending)
    return finish(0)

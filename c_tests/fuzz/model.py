"""The reference model: what every call of a program must return, and who waits.

A call is a generator. It yields a condition where it has to wait, and goes on
when the condition is true. `Model.settle` lets everything go on that can, in the
order of arrival; what a call returns is its prediction. A thread that attaches
to an interpreter whose end is committed raises Late: it never comes back.

The model knows nothing of how the library does it: there are no bits, no queue
of a lock, no epochs, only who has what."""

SHARED, OWN, NO_GIL = 1, 2, 3
HANG, EXIT = 0, 1


class Late(Exception):
    pass


class Illegal(Exception):
    """The call may not be made now: the program leaves it out."""


def need(condition):
    if not condition:
        raise Illegal()


class Gil:
    def __init__(self):
        self.holder = None
        self.queue = []
        self.chosen = None


class State:
    def __init__(self, number, interp, thread, daemon, first=False):
        self.number, self.interp, self.thread = number, interp, thread
        self.daemon, self.first = daemon, first
        self.cleared = self.deleted = self.hook = False
        self.exit_event = False  # a reference is held
        self.counter = 1  # of PyGILState
        self.ensures, self.ensure_deletes, self.guard = 0, False, None
        self.kept = False
        self.error = 0
        self.async_exc = None
        self.blocking = False
        self.started = False  # by the library
        self.given_up = False  # by the end of its interpreter: attaching it is late
        self.in_call = False
        interp.states.append(self)


class Interp:
    def __init__(self, number, ident, gil_kind, main_gil, life):
        self.number, self.ident, self.gil_kind, self.life = number, ident, gil_kind, life
        self.gil = {SHARED: main_gil, OWN: Gil(), NO_GIL: None}[gil_kind]
        self.states, self.guards = [], []
        self.alive, self.over, self.ender = True, False, None
        self.at_exit = 0
        self.pausing = None  # the thread that stops this interpreter's threads


NOTHING = Interp(-1, -1, NO_GIL, None, 0)
NOTHING.alive = False


class Guard:
    def __init__(self, interp, thread):
        self.interp, self.thread = interp, thread
        interp.guards.append(self)

    def close(self):
        self.interp.guards.remove(self)


class Thread:
    def __init__(self, number, started=None):
        self.number = number
        self.handle = started
        self.attached = self.gilstate = None
        self.keep = False
        self.tokens = []  # (kind, number, what was attached before)
        self.locks = []
        self.call = None  # the generator of the call under way
        self.dead = self.gone = False
        self.name = "start"

    def idle(self):
        return self.call is None and not self.dead and not self.gone


class Handle:
    def __init__(self):
        self.started = self.done = False
        self.state = self.thread = None
        self.daemon = False


class Lock:
    def __init__(self):
        self.owner, self.queue, self.readers = None, [], []


class Model:
    def __init__(self, settings):
        self.settings = settings
        self.threads = {0: Thread(0)}
        self.states, self.interps, self.handles = {}, {}, {}
        self.guards, self.views = {}, {}
        self.mutexes = [Lock() for _ in range(3)]
        self.locks = [Lock() for _ in range(2)]
        self.rws = [Lock() for _ in range(2)]
        self.events = {}
        self.initialized, self.finalizer, self.life = False, None, 0
        self.main_thread = None
        self.main = None
        self.next_id = 0
        self.pending = self.called = self.deleted = self.at_exit = 0
        self.ticket = 0
        self.had_sub = False
        self.died = 0
        # Several threads wait for a GIL: any may be next. Asked of the library.
        self.who_is_next = lambda queue: queue[0]
        self.done = []  # (thread, result) since the last look
        self.numbers = {}

    # ---- Machinery -------------------------------------------------------

    def fresh(self, kind):
        self.numbers[kind] = self.numbers.get(kind, 0) + 1
        return self.numbers[kind]

    def begin(self, thread, call):
        """Makes the call; everything that can go on goes on."""
        self.ticket += 1
        thread.call, thread.wait, thread.ticket = call, None, self.ticket
        self.settle()

    def advance(self, thread):
        try:
            thread.wait = next(thread.call)
            thread.ticket = self.ticket = self.ticket + 1
        except StopIteration as end:
            thread.call = None
            value = end.value if end.value == "tid" else int(end.value or 0)
            self.done.append((thread.number, value))
        except Late:
            thread.call = None
            self.die(thread)

    def settle(self):
        while True:
            ready = [t for t in self.threads.values()
                     if t.call and (t.wait is None or t.wait())]
            if not ready:
                return
            self.advance(min(ready, key=lambda t: t.ticket))

    def seen_by(self, view):
        """The interpreter that a view names, perhaps one that is gone."""
        return self.views[view] or self.main or NOTHING

    def waits(self):
        return any(t.call for t in self.threads.values())

    def die(self, thread):
        """What a thread has that met the policy: guards and handle are given
        up; the host's locks stay."""
        thread.dead = True
        thread.attached = None
        self.died += 1
        for state in [s for s in self.states.values() if s.thread is thread]:
            if state.guard:
                state.guard.close()
                state.guard = None
        if thread.handle:
            thread.handle.done = True
            thread.handle.state = None

    def of(self, thread, state):
        return state.thread is thread and not state.deleted and not state.cleared

    # ---- Attaching -------------------------------------------------------

    def can_take(self, gil, thread):
        if gil.holder is not None:
            return False
        if len(gil.queue) > 1 and gil.chosen not in gil.queue:
            gil.chosen = self.who_is_next(gil.queue)
        return (gil.chosen if gil.chosen in gil.queue else gil.queue[0]) is thread

    def attach(self, thread, state):
        interp = state.interp
        if interp.over and interp.ender is not thread:
            raise Late()
        gil = interp.gil
        late = lambda: interp.over and interp.ender is not thread
        if gil is None and interp.pausing:
            yield lambda: not interp.pausing or late()
            if late():
                raise Late()
        if gil is not None:
            gil.queue.append(thread)
            if not self.can_take(gil, thread):
                yield lambda: late() or self.can_take(gil, thread)
            gil.queue.remove(thread)
            gil.chosen = None
            if late():
                raise Late()
            gil.holder = thread
        thread.attached = thread.gilstate = state

    def detach(self, thread):
        gil = thread.attached.interp.gil
        if gil is not None:
            gil.holder = None
        thread.attached = None

    def quiet(self, thread):
        """No other thread waits for the GIL that this one has."""
        gil = thread.attached.interp.gil if thread.attached else None
        return gil is None or not gil.queue

    def delete(self, state):
        state.deleted = True
        state.interp.states.remove(state)
        if state.thread.gilstate is state:
            state.thread.gilstate = None

    def clear(self, state):
        state.cleared = True
        self.deleted += state.hook
        state.hook = False

    def attached_in(self, interp, but):
        return [t for t in self.threads.values()
                if t is not but and t.attached and t.attached.interp is interp]

    # ---- Ends ------------------------------------------------------------

    def awaited(self, interp, thread):
        """Non-daemon states that an end waits for."""
        return [s for s in interp.states
                if not s.daemon and not s.first and s.thread is not thread]

    def while_detached(self, thread, condition):
        """Waits for the condition, detached."""
        if condition():
            return
        state = thread.attached
        state.in_call = True
        self.detach(thread)
        yield condition
        yield from self.attach(thread, state)
        state.in_call = False

    def commit_interp(self, interp, thread, mine):
        """Everything before the commit; then nobody else attaches."""
        while True:
            yield from self.while_detached(thread, lambda: not self.awaited(interp, thread))
            yield from self.while_detached(thread, lambda: not interp.guards)
            yield from self.stop(interp, thread)
            if not self.awaited(interp, thread) and not interp.guards:
                break
        interp.over, interp.ender = True, thread

    def stop(self, interp, thread):
        """Waits until no other thread is attached; none attaches meanwhile."""
        interp.pausing = thread
        if self.attached_in(interp, thread):
            yield lambda: not self.attached_in(interp, thread)
        interp.pausing = None

    def bury(self, interp, keep=None):
        for state in list(interp.states):
            if not state.cleared:
                self.clear(state)
            if state.guard:
                state.guard.close()
                state.guard = None
            self.delete(state)
            state.given_up = True
        interp.alive = False

    def end_sub(self, interp, thread):
        yield from self.commit_interp(interp, thread, None)
        self.at_exit += interp.at_exit
        self.detach(thread)
        self.bury(interp)

    def finalize(self, thread):
        main = self.main
        self.finalizer = thread
        main_thread = thread is self.main_thread
        attached = thread.attached
        if main_thread:
            wanted = self.states[0]
        else:
            wanted = attached if attached and attached.interp is main else None
        if wanted is None:
            wanted = State(-1, main, thread, False)
        if attached is not wanted:
            if attached:
                self.detach(thread)
            yield from self.attach(thread, wanted)
        while True:
            yield from self.while_detached(thread, lambda: not self.awaited(main, thread))
            # Those that only the main thread runs are given up elsewhere.
            self.called += self.pending if main_thread else 0
            self.pending = 0
            others = [i for i in self.interps.values() if i.alive and i is not main]
            for sub in sorted(others, key=lambda i: -i.ident):
                self.detach(thread)
                fini = State(-1, sub, thread, False)
                yield from self.attach(thread, fini)
                yield from self.end_sub(sub, thread)
                yield from self.attach(thread, wanted)
            yield from self.while_detached(thread, lambda: not main.guards)
            yield from self.stop(main, thread)
            again = self.awaited(main, thread) or main.guards or any(
                i.alive and i is not main for i in self.interps.values())
            if not again and not self.pending:
                break
        main.over, main.ender = True, thread
        self.initialized = False
        self.at_exit += main.at_exit
        self.detach(thread)
        self.bury(main)
        self.finalizer = None
        self.main = None
        return 0

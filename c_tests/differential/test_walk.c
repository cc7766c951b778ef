/* Random walks over states and interpreters of one thread, against a model of
 * what S-TS, S-BD, S-GS, S-DL and S-IN say. After each step everything that can
 * be asked is compared: what is attached, the gilstate slot, every nesting
 * counter, every list and id. */
#include <Python.h>

#include "common.h"

#if PY_VERSION_HEX < V3_12

TEST("the model of the walk is that of 3.12 and later") {
    SKIP("before 3.12 neither Swap nor the gilstate slot work like this");
}

#else

/* ---- The model ---------------------------------------------------------- */

enum { STATES = 24, INTERPS = 6, TOKENS = 12, NONE = -1 };

struct model_state {
    PyThreadState *pointer; /* NULL: a free place */
    int interp, counter, tokens;
    uint64_t id;
};

struct model_interp {
    PyInterpreterState *pointer; /* NULL: a free place */
    int64_t id;
    uint64_t last_id;
    int newest_first[STATES], count;
};

struct model_token {
    PyGILState_STATE token;
    int state;
};

static struct model_state states[STATES];
static struct model_interp interps[INTERPS];
static int interp_order[INTERPS], interp_count; /* newest first */
static struct model_token tokens[TOKENS];
static int token_count;
static int attached, gilstate, subs_made;
static int64_t last_interp_id;

static void push_front(int *list, int *count, int one) {
    memmove(list + 1, list, (size_t)*count * sizeof(*list));
    list[0] = one;
    ++*count;
}

static void take_out(int *list, int *count, int one) {
    int i = 0;
    while (list[i] != one)
        i++;
    memmove(list + i, list + i + 1, (size_t)(*count - i - 1) * sizeof(*list));
    --*count;
}

static int free_state(void) {
    for (int i = 0; i < STATES; i++)
        if (states[i].pointer == NULL)
            return i;
    return NONE;
}

static int free_interp(void) {
    for (int i = 0; i < INTERPS; i++)
        if (interps[i].pointer == NULL)
            return i;
    return NONE;
}

/* From 3.13 on, an import in a sub-interpreter may make a state in the main one
 * for a moment: only there the ids may jump. */
static void check_id(struct model_interp *interp, uint64_t id) {
    if (interp->id == 0 && subs_made)
        CHECK_UINT_GT(id, interp->last_id);
    else
        CHECK_UINT_EQ(id, interp->last_id + 1);
    interp->last_id = id;
}

static int add_state(int interp, PyThreadState *pointer, int counter) {
    int one = free_state();
    CHECK_NOT_NULL(pointer);
    uint64_t id = PyThreadState_GetID(pointer);
    check_id(&interps[interp], id);
    states[one] = (struct model_state){
        .pointer = pointer, .interp = interp, .counter = counter, .id = id};
    push_front(interps[interp].newest_first, &interps[interp].count, one);
    if (gilstate == NONE)
        gilstate = one;
    return one;
}

static void remove_state(int one) {
    struct model_interp *interp = &interps[states[one].interp];
    take_out(interp->newest_first, &interp->count, one);
    states[one].pointer = NULL;
    if (attached == one)
        attached = NONE;
    if (gilstate == one)
        gilstate = NONE;
}

static void add_interp(PyInterpreterState *pointer) {
    int one = free_interp();
    interps[one] =
        (struct model_interp){.pointer = pointer, .id = last_interp_id++};
    push_front(interp_order, &interp_count, one);
}

static void attach(int one) {
    attached = one;
    if (one != NONE)
        gilstate = one;
}

/* ---- Comparing ---------------------------------------------------------- */

static PyThreadState *pointer_of(int one) {
    return one == NONE ? NULL : states[one].pointer;
}

static void compare_states(const struct model_interp *interp) {
    PyThreadState *listed = PyInterpreterState_ThreadHead(interp->pointer);
    for (int i = 0; i < interp->count; i++) {
        struct model_state *one = &states[interp->newest_first[i]];
        CHECK_PTR_EQ(listed, one->pointer);
        CHECK_UINT_EQ(PyThreadState_GetID(listed), one->id);
        CHECK_INT_EQ(listed->gilstate_counter, one->counter);
        CHECK_PTR_EQ(PyThreadState_GetInterpreter(listed), interp->pointer);
        listed = PyThreadState_Next(listed);
    }
    CHECK_NULL(listed);
}

static void compare(void) {
    CHECK_PTR_EQ(PyThreadState_GetUnchecked(), pointer_of(attached));
    CHECK_PTR_EQ(PyGILState_GetThisThreadState(), pointer_of(gilstate));
    CHECK_INT_EQ(PyGILState_Check(), subs_made || attached != NONE);
    PyInterpreterState *listed = PyInterpreterState_Head();
    for (int i = 0; i < interp_count; i++) {
        struct model_interp *one = &interps[interp_order[i]];
        CHECK_PTR_EQ(listed, one->pointer);
        CHECK_INT_EQ(PyInterpreterState_GetID(listed), one->id);
        compare_states(one);
        listed = PyInterpreterState_Next(listed);
    }
    CHECK_NULL(listed);
    if (attached != NONE)
        CHECK_PTR_EQ(PyInterpreterState_Get(),
                     interps[states[attached].interp].pointer);
}

/* ---- Steps: each is taken only where the API defines what it does -------- */

static uint64_t seed;

static int any(int n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (int)((seed >> 33) % (uint64_t)n);
}

static int any_state(void) {
    int start = any(STATES);
    for (int i = 0; i < STATES; i++)
        if (states[(start + i) % STATES].pointer != NULL)
            return (start + i) % STATES;
    return NONE;
}

static void step_new(void) {
    if (free_state() == NONE)
        return;
    int interp = interp_order[any(interp_count)];
    PyThreadState *made = PyThreadState_New(interps[interp].pointer);
    add_state(interp, made, 1);
}

static void step_swap(void) {
    int next = any(4) == 0 ? NONE : any_state();
    CHECK_PTR_EQ(PyThreadState_Swap(pointer_of(next)), pointer_of(attached));
    attach(next);
}

static void step_detach(void) {
    if (attached == NONE)
        return;
    if (any(2))
        CHECK_PTR_EQ(PyEval_SaveThread(), pointer_of(attached));
    else
        PyEval_ReleaseThread(pointer_of(attached));
    attached = NONE;
}

static void step_attach(void) {
    if (attached != NONE)
        return;
    int one = any_state();
    if (any(2))
        PyEval_RestoreThread(pointer_of(one));
    else
        PyEval_AcquireThread(pointer_of(one));
    attach(one);
}

static void step_ensure(void) {
    if (token_count == TOKENS || free_state() == NONE)
        return;
    int was_attached = attached != NONE;
    PyGILState_STATE token = PyGILState_Ensure();
    CHECK_INT_EQ(token, was_attached ? PyGILState_LOCKED : PyGILState_UNLOCKED);
    if (gilstate == NONE) {
        int main_interp = interp_order[interp_count - 1];
        attach(add_state(main_interp, PyThreadState_GetUnchecked(), 0));
    } else {
        attach(gilstate);
    }
    states[attached].counter++;
    states[attached].tokens++;
    tokens[token_count++] = (struct model_token){token, attached};
}

static void step_release(void) {
    if (token_count == 0)
        return;
    struct model_token top = tokens[token_count - 1];
    if (attached != top.state)
        return;
    token_count--;
    states[attached].tokens--;
    int left = --states[attached].counter;
    PyGILState_Release(top.token);
    if (left == 0)
        remove_state(attached);
    else if (top.token == PyGILState_UNLOCKED)
        attached = NONE;
}

/* The main state stays: state 0. Every interpreter keeps one. */
static void step_delete(void) {
    if (attached == NONE)
        return;
    struct model_interp *interp = &interps[states[attached].interp];
    int one = interp->newest_first[any(interp->count)];
    if (one == 0 || states[one].tokens > 0 || interp->count == 1)
        return;
    PyThreadState_Clear(pointer_of(one));
    if (one == attached)
        PyThreadState_DeleteCurrent();
    else
        PyThreadState_Delete(pointer_of(one));
    remove_state(one);
}

static void step_new_interpreter(void) {
    static const PyInterpreterConfig isolated = _PyInterpreterConfig_INIT;
    if (free_interp() == NONE || free_state() == NONE || any(5) != 0)
        return;
    PyThreadState *made = NULL;
    if (any(2))
        made = Py_NewInterpreter();
    else
        CHECK_INT_EQ(
            PyStatus_Exception(Py_NewInterpreterFromConfig(&made, &isolated)),
            0);
    add_interp(PyThreadState_GetInterpreter(made));
    attach(add_state(interp_order[0], made, 1));
    subs_made = 1;
}

static void step_end_interpreter(void) {
    if (attached == NONE || states[attached].tokens > 0)
        return;
    int interp = states[attached].interp;
    if (interps[interp].id == 0 || interps[interp].count != 1)
        return;
    Py_EndInterpreter(pointer_of(attached));
    remove_state(attached);
    take_out(interp_order, &interp_count, interp);
    interps[interp].pointer = NULL;
}

static void walk(uint64_t with_seed, int steps) {
    static void (*const step[])(void) = {
        step_new,
        step_swap,
        step_swap,
        step_detach,
        step_attach,
        step_attach,
        step_ensure,
        step_ensure,
        step_release,
        step_release,
        step_release,
        step_delete,
        step_delete,
        step_delete,
        step_new_interpreter,
        step_end_interpreter,
    };
    seed = with_seed;
    attached = gilstate = NONE;
    PyThreadState *first = begin();
    add_interp(PyInterpreterState_Get());
    attach(add_state(interp_order[0], first, 1));
    for (int i = 0; i < steps; i++) {
        int kind = any((int)(sizeof(step) / sizeof(step[0])));
        HERE();
        step[kind]();
        compare();
    }
    NOTE("%d sub-interpreters were made, %d are left; the main one made %d "
         "states",
         (int)last_interp_id - 1, interp_count - 1,
         (int)interps[interp_order[interp_count - 1]].last_id);
    /* The walk went somewhere. */
    CHECK_INT_GT(last_interp_id, 5);
    CHECK_INT_GT(interps[interp_order[interp_count - 1]].last_id, 20);
}

TEST("a random walk keeps to the model (1)") { walk(1, 1500); }
TEST("a random walk keeps to the model (2)") { walk(20, 1500); }
TEST("a random walk keeps to the model (3)") { walk(300, 1500); }
TEST("a random walk keeps to the model (4)") { walk(4000, 1500); }

#endif

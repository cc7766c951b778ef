/* Scenarios that go wrong, each in its way: the gallery must say so. Built with
 * gallery.c and stage.c, and with SCENARIOS(X) defined to be these;
 * tests/gallery.rs knows what the lines must be. */
#include "../gallery.h"

#include <stdlib.h>

static enum outcome behave(void) { return BEHAVED; }

static enum outcome misbehave(void) { return MISBEHAVED; }

static enum outcome misbehave_first(void) {
    return round_number() == 0 ? MISBEHAVED : BEHAVED;
}

static enum outcome break_down(void) {
    need(round_number() < 2);
    return MISBEHAVED;
}

static enum outcome die(void) { abort(); }

static void abort_loudly(void) { Py_FatalError("on purpose"); }

static enum outcome see_abort(void) {
    struct ending end;
    in_child(abort_loudly, &end);
    return aborted_with(&end, "on purpose") ? MISBEHAVED : BEHAVED;
}

static enum outcome miss_text(void) {
    struct ending end;
    in_child(abort_loudly, &end);
    return aborted_with(&end, "something else") ? MISBEHAVED : BEHAVED;
}

static void break_child(void) { need(!"in a child"); }

static enum outcome see_broken_child(void) {
    struct ending end;
    in_child(break_child, &end);
    return BEHAVED;
}

static void measure(void) { say("measured %d", rounds_in_all()); }

#define SCENARIO(symbol, title, old_round, ours_round, ours_every)   \
    const struct scenario symbol = {                                 \
        .name = title,                                               \
        .story = "goes wrong",                                       \
        .old = {.what = "happened", .every = 1, .round = old_round}, \
        .ours = {.what = "happened",                                 \
                 .every = ours_every,                                \
                 .round = ours_round,                                \
                 .end = measure},                                    \
    };

SCENARIO(right, "right", see_abort, behave, 0)
SCENARIO(old_once, "old-once", misbehave_first, behave, 0)
SCENARIO(ours_once, "ours-once", misbehave, misbehave_first, 0)
SCENARIO(broken_down, "broken", break_down, see_broken_child, 0)
SCENARIO(dead, "dead", die, misbehave, 1)
SCENARIO(other_text, "other-text", miss_text, behave, 1)

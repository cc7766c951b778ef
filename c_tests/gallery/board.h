/* What a protocol's process and the gallery share, through one shared page. */
#ifndef PYTSTATE_GALLERY_BOARD_H
#define PYTSTATE_GALLERY_BOARD_H

#include <stdatomic.h>
#include <sys/types.h>

/* Exit status of a process whose need() did not hold. */
#define EXIT_BROKEN 99

struct board {
    int rounds; /* how many there will be */
    atomic_int done, counted;
    char what[160];    /* empty: the protocol's own */
    char trouble[256]; /* the need() that did not hold */
};

extern struct board *board;

/* Dies with its parent, leaves no core file. For a process just forked. */
void settle(pid_t parent);

#endif

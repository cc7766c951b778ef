/* What a plug-in of examples/plugin_host.c exports, and what it may call. */
#ifndef EXAMPLES_PLUGIN_H
#define EXAMPLES_PLUGIN_H

#include <pytstate.h>

/* Offered by the host; may be called by any thread. */
typedef struct Host {
    void (*log)(const char *text);
} Host;

/* Called once, attached to an interpreter that belongs to this plug-in alone.
 * Threads that it starts there must have exited before the plug-in's code can
 * be unloaded; Py_EndInterpreter() waits for them. Returns 0, or -1. */
int plugin_start(const Host *host);

#endif

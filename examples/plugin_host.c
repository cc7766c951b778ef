/* A host that gives each plug-in an interpreter with a GIL of its own, and
 * unloads it so that none of its code can run any more.
 *
 * Arguments: the plug-ins, built from examples/plugins/.
 *
 * Prints:
 *   greeter: hello
 *   listener: started
 *   2 plug-ins, 3 interpreters
 *   greeter is unloaded
 *   listener: its thread was woken, and returns
 *   listener: its interpreter is finalized
 *   listener is unloaded
 *   1 interpreter is left
 */
#include "plugins/plugin.h"

#include <dlfcn.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 8 };

typedef struct Plugin {
    char name[64];
    char *path;
    void *code;           /* of dlopen() */
    PyThreadState *first; /* the interpreter's first state, of this thread */
} Plugin;

/* Several interpreters with a GIL each may log at once. */
static PyMutex log_lock;

static void log_line(const char *text) {
    PyMutex_Lock(&log_lock);
    printf("%s\n", text);
    fflush(stdout);
    PyMutex_Unlock(&log_lock);
}

static const Host host = {log_line};

/* Loads a plug-in and starts it in an interpreter of its own. */
static int load(Plugin *plugin, char *path) {
    PyThreadState *before = PyThreadState_Get();
    const PyInterpreterConfig config = _PyInterpreterConfig_INIT;
    int (*start)(const Host *) = NULL;
    void *symbol;

    plugin->path = path;
    snprintf(plugin->name, sizeof(plugin->name), "%s", basename(path));
    plugin->name[strcspn(plugin->name, ".")] = '\0';
    plugin->code = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (plugin->code == NULL ||
        (symbol = dlsym(plugin->code, "plugin_start")) == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return -1;
    }
    memcpy(&start, &symbol, sizeof(start));
    /* The new interpreter's first state is attached when this returns. */
    PyStatus status = Py_NewInterpreterFromConfig(&plugin->first, &config);
    if (PyStatus_Exception(status)) {
        fprintf(stderr, "%s: %s\n", plugin->name, status.err_msg);
        return -1;
    }
    int failed = start(&host);
    PyThreadState_Swap(before);
    return failed;
}

/* Finalizes the plug-in's interpreter, then unloads its code. No thread of the
 * plug-in is left in between: Py_EndInterpreter() has waited until the states
 * are deleted and the OS threads have exited. */
static void unload(Plugin *plugin) {
    PyThreadState *before = PyThreadState_Swap(plugin->first);
    Py_EndInterpreter(plugin->first);
    PyThreadState_Swap(before);
    dlclose(plugin->code);
    if (dlopen(plugin->path, RTLD_NOW | RTLD_NOLOAD) == NULL)
        printf("%s is unloaded\n", plugin->name);
}

static int interpreters(void) {
    int n = 0;
    for (PyInterpreterState *interp = PyInterpreterState_Head(); interp != NULL;
         interp = PyInterpreterState_Next(interp))
        n++;
    return n;
}

int main(int argc, char **argv) {
    Plugin plugins[MOST];
    int n = argc - 1 < MOST ? argc - 1 : MOST;

    Py_InitializeEx(0);
    for (int i = 0; i < n; i++)
        if (load(&plugins[i], argv[i + 1]) != 0)
            return 1;
    printf("%d plug-ins, %d interpreters\n", n, interpreters());
    for (int i = 0; i < n; i++)
        unload(&plugins[i]);
    printf("%d interpreter is left\n", interpreters());
    return Py_FinalizeEx();
}

/* The simplest plug-in: it does its work at once and keeps nothing. */
#include "plugin.h"

int plugin_start(const Host *host) {
    host->log("greeter: hello");
    return 0;
}

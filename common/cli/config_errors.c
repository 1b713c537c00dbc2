/* Prints what is wrong with a configuration. Thread: main. */
#include "common/cli/config_errors.h"

#include <stdio.h>

#include "common/cli/cli.h"

#define ERRORS_MAX 50

void config_errors_print(const struct error *err, void *arg) {
    struct config_errors *e = arg;
    if (e->n++ < ERRORS_MAX) cli_print_error(e->program, err);
}

void config_errors_end(const struct config_errors *e) {
    if (e->n > ERRORS_MAX) fprintf(stderr, "%s: and %zu more errors\n", e->program, e->n - ERRORS_MAX);
}

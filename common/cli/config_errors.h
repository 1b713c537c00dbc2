/* Prints the errors of a configuration, at most 50, because a wrong file may have thousands. Thread: main. */
#ifndef ENTREPOT_CLI_CONFIG_ERRORS_H
#define ENTREPOT_CLI_CONFIG_ERRORS_H

#include "common/core/error.h"

struct config_errors {
    const char *program;
    size_t n; /* how many there were */
};

/* For config_source.each and config_check_files; arg is a struct config_errors. The first 50 are printed. */
void config_errors_print(const struct error *err, void *arg);
/* Says how many more there were. */
void config_errors_end(const struct config_errors *e);

#endif

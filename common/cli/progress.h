/* Shows the progress of a long command in one line; prints nothing if standard error is not a terminal. Thread:
 * one at a time (its user). */
#ifndef ENTREPOT_CLI_PROGRESS_H
#define ENTREPOT_CLI_PROGRESS_H

#include "common/core/base.h"

struct progress {
    bool on, shown;
    int64_t started_ms, drawn_ms;
    const char *what; /* borrowed */
};
/* quiet: never shown (--json). */
void progress_init(struct progress *p, const char *what, bool quiet);
/* total 0: unknown. Draws at most ten times a second. */
void progress_show(struct progress *p, int64_t bytes, int64_t total);
/* Wipes the line. */
void progress_end(struct progress *p);

#endif

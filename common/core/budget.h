/* Named bounds on what the whole process keeps. Whoever keeps something takes its size from the budget first, and gives
 * it back when it is gone; what is not given is not kept, and whoever asked for it waits or is refused.
 * Thread: any (atomic); budget_limit before others use it. */
#ifndef ENTREPOT_CORE_BUDGET_H
#define ENTREPOT_CORE_BUDGET_H

#include "common/core/base.h"

enum budget {
#define BUDGET_MEMORY(id, name, mib, doc) BUDGET_##id,
#include "common/core/budget_list.h"
    BUDGET_COUNT
};

/* How it stands, in bytes. */
struct budget_state {
    const char *name;
    int64_t limit, used;
    int64_t peak;    /* the most that was ever used */
    int64_t refused; /* times that something did not fit */
};

/* Replaces the default. */
void budget_limit(enum budget b, int64_t limit);
/* Takes n, all or nothing. False, and counted as refused: they do not fit. */
bool budget_take(enum budget b, int64_t n) must_check;
/* The same of a caller that tries again, and counts itself once. */
bool budget_try(enum budget b, int64_t n) must_check;
void budget_refused(enum budget b);
/* Takes n of what has to be kept all the same; the next one does not fit then. */
void budget_force(enum budget b, int64_t n);
/* Gives back n of what was taken. */
void budget_give(enum budget b, int64_t n);
void budget_read(enum budget b, struct budget_state *out);

#endif

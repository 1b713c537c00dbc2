/* Named limits on the memory that the whole process keeps. Code that wants to keep something takes its size from the
 * budget first, and gives it back when the memory is freed. If the budget does not allow it, nothing is kept: the
 * request waits or is refused. What is only kept for convenience is dropped first (budget_set_drop). Thread: any
 * (atomic, and a lock when something is to be dropped); call budget_limit before other threads use the budget. */
#ifndef ENTREPOT_CORE_BUDGET_H
#define ENTREPOT_CORE_BUDGET_H

#include "common/core/base.h"

enum budget {
#define BUDGET_MEMORY(id, name, mib, least, doc) BUDGET_##id,
#include "common/core/budget_list.h"
    BUDGET_COUNT
};

/* The state of a budget, in bytes. */
struct budget_state {
    const char *name;
    int64_t limit, used;
    int64_t peak;    /* the most that was ever used */
    int64_t refused; /* how often something did not fit; a count */
};

/* Replaces the default limit, in bytes. */
void budget_limit(enum budget b, int64_t limit);
/* Takes n bytes, all or nothing; first drops what may be dropped until they fit. False: they do not fit, and a refusal
 * is counted. Do not hold a lock that the drop takes. */
bool budget_take(enum budget b, int64_t n) must_check;
/* The same without dropping anything and without counting a refusal, for a caller that tries again. It calls
 * budget_refused once when it gives up. */
bool budget_try(enum budget b, int64_t n) must_check;
void budget_refused(enum budget b);
/* Takes n bytes and waits until they fit, for a thread that may block and holds nothing of this budget. False, at once:
 * they would never fit. */
bool budget_wait(enum budget b, int64_t n) must_check;
/* Takes n bytes even over the limit, for what must be kept in any case. Until enough is given back, nothing else
 * fits. */
void budget_force(enum budget b, int64_t n);
/* Gives back n bytes that were taken. */
void budget_give(enum budget b, int64_t n);
/* Sets how room is made: drop gives back the bytes of one thing that can be spared, the oldest, or returns false if
 * there is none. It is called on any thread that takes, one call at a time, and never after it is set to NULL. It must
 * not take from a budget. NULL: nothing can be spared. */
void budget_set_drop(enum budget b, bool (*drop)(enum budget b, void *arg), void *arg);
void budget_read(enum budget b, struct budget_state *out);

#endif

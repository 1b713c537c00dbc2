/* See failure.h for the rule. Thread: any. */
#include "common/source/failure.h"

/* How informative a failure is; the highest rank is reported. */
static int rank(int code) {
    switch (code) {
    case ERR_NOT_FOUND:
        return 1;
    case ERR_UNREACHABLE:
        return 2;
    case ERR_TIMEOUT:
        return 3;
    case ERR_DENIED:
        return 5;
    case ERR_RATE_LIMITED:
        return 6;
    default:
        return 4;
    }
}

void failure_note(struct failures *f, const void *by, const struct fetch_end *end) {
    bool same = f->told.code && f->by == by;
    if (f->told.code && !same && rank(end->code) <= rank(f->told.code)) return;
    f->told = *end;
    f->by = by;
}

/* No answer at all, a wanted one that broke off or was wrong, or an error that says it may pass. */
static bool status_may_pass(int status) {
    return status == 0 || status == 200 || status == 206 || status == 408 || (status >= 500 && status != 501);
}

enum failure_step failure_next(const struct fetch_end *end) {
    if (!status_may_pass(end->status)) return FAILURE_ASK_OTHER;
    switch (end->code) {
    case ERR_UNREACHABLE:
        return FAILURE_AWAIT;
    case ERR_UPSTREAM:
    case ERR_TIMEOUT:
    case ERR_MISMATCH:
        return FAILURE_ASK_AGAIN;
    case ERR_BUSY: /* with a status the other side is busy; without one our own share is full for this caller */
        return end->status ? FAILURE_ASK_AGAIN : FAILURE_ASK_OTHER;
    default:
        return FAILURE_ASK_OTHER;
    }
}

enum failure_step failure_next_of_source(const struct fetch_end *end, bool began) {
    bool answered = end->status >= 400 && end->status != 503;
    return answered && !began ? FAILURE_ASK_OTHER : failure_next(end);
}

/* Words for how a fetch ended. Thread: any. */
#include "common/source/source.h"

#include "common/core/hide.h"
#include "common/core/printable.h"

#include <stdarg.h>
#include <stdio.h>

int fetch_end_set(struct fetch_end *e, int code, const char *fmt, ...) {
    *e = (struct fetch_end){.code = code};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
    va_end(ap);
    hide_users(e->msg);
    text_make_printable(e->msg);
    return code;
}

int fetch_end_no_source(struct fetch_end *e) {
    return fetch_end_set(
        e, ERR_NOT_FOUND,
        "it is hosted, has no other source, and is not here: missing or damaged; load it (again) on central");
}

int fetch_end_no_answer(struct fetch_end *e, const char *repo, int64_t waited_ms) {
    fetch_end_set(e, ERR_TIMEOUT, "no source of %.150s has agreed to send this within %lld s; it is still being asked",
                  repo, (long long)(waited_ms / 1000));
    e->retry_after_s = 1;
    return e->code;
}

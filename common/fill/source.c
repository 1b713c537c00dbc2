/* Words for how a fetch ended. Thread: any. */
#include "common/fill/source.h"

#include <stdarg.h>
#include <stdio.h>

int fetch_end_set(struct fetch_end *e, int code, const char *fmt, ...) {
    *e = (struct fetch_end){.code = code};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
    va_end(ap);
    return code;
}

/* Filling and wrapping struct error. Thread: any. */
#include "common/core/error.h"
#include "common/core/hide.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *e, int code, const char *fmt, ...) {
    if (!e) return code;
    e->code = code;
    e->hint[0] = '\0';
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
    va_end(ap);
    hide_users(e->msg);
    return code;
}

int error_errno(struct error *e, const char *fmt, ...) {
    int saved = errno;
    int code = saved == ENOSPC || saved == EDQUOT ? ERR_NO_SPACE : -saved;
    if (!e) return code;
    e->code = code;
    e->hint[0] = '\0';
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
    va_end(ap);
    hide_users(e->msg);
    n = n < 0 ? n : (int)strlen(e->msg);
    if (n >= 0 && (size_t)n < sizeof(e->msg)) {
        snprintf(e->msg + n, sizeof(e->msg) - (size_t)n, ": %s", strerror(saved));
    }
    return code;
}

int error_wrap(struct error *e, const char *fmt, ...) {
    if (!e) return ERR_INTERNAL;
    char context[sizeof(e->msg)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(context, sizeof(context), fmt, ap);
    va_end(ap);
    hide_users(context);
    char inner[sizeof(e->msg)];
    memcpy(inner, e->msg, sizeof(inner));
    size_t n = strnlen(context, sizeof(e->msg) - 1);
    memcpy(e->msg, context, n);
    snprintf(e->msg + n, sizeof(e->msg) - n, ": %.*s", (int)(sizeof(e->msg) - n), inner);
    return e->code;
}

void error_hint(struct error *e, const char *fmt, ...) {
    if (!e) return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->hint, sizeof(e->hint), fmt, ap);
    va_end(ap);
    hide_users(e->hint);
}

const char *error_name(int code) {
    switch (code) {
    case ERR_OK:
        return "ok";
    case ERR_INVALID:
        return "invalid";
    case ERR_NOT_FOUND:
        return "not found";
    case ERR_TOO_BIG:
        return "too big";
    case ERR_MISMATCH:
        return "content does not match its digest or length";
    case ERR_UPSTREAM:
        return "the other side failed";
    case ERR_TIMEOUT:
        return "timed out";
    case ERR_UNREACHABLE:
        return "unreachable";
    case ERR_DENIED:
        return "denied";
    case ERR_RATE_LIMITED:
        return "rate limited";
    case ERR_CANCELLED:
        return "cancelled";
    case ERR_BUSY:
        return "busy";
    case ERR_NO_SPACE:
        return "no space left";
    case ERR_CORRUPT:
        return "stored data is damaged";
    case ERR_UNSUPPORTED:
        return "unsupported";
    case ERR_INTERNAL:
        return "internal error";
    case ERR_OUTDATED:
        return "decided under other settings";
    default:
        return code < 0 && code > -1000 ? strerror(-code) : "unknown error";
    }
}

/* How functions report failure. They return 0 or a negative enum err. Those whose failure a person will read also fill
 * a struct error. Thread: any (values only). */
#ifndef ENTREPOT_CORE_ERROR_H
#define ENTREPOT_CORE_ERROR_H

#include "common/core/base.h"

/* Negative results. errno values are folded in as -(errno) for the range 1..999; ours start at -1000. */
enum err {
    ERR_OK = 0,
    ERR_INVALID = -1000,      /* input breaks its grammar or a limit */
    ERR_NOT_FOUND = -1001,    /* it does not exist, and that is certain */
    ERR_TOO_BIG = -1002,      /* over a size limit */
    ERR_MISMATCH = -1003,     /* bytes do not match their digest or length */
    ERR_UPSTREAM = -1004,     /* the other side failed (5xx, reset, short body, protocol error) */
    ERR_TIMEOUT = -1005,      /* the other side was too slow */
    ERR_UNREACHABLE = -1006,  /* could not connect: refused, no route, name not known, breaker open */
    ERR_DENIED = -1007,       /* 401 or 403 although all known credentials were sent */
    ERR_RATE_LIMITED = -1008, /* 429; retry_after says when to ask again, if known */
    ERR_CANCELLED = -1009,    /* this side gave up */
    ERR_BUSY = -1010,         /* a bounded queue or limit is full */
    ERR_NO_SPACE = -1011,     /* disk full */
    ERR_CORRUPT = -1012,      /* our own stored data is damaged */
    ERR_UNSUPPORTED = -1013,
    ERR_INTERNAL = -1014,
    ERR_OUTDATED = -1015, /* a name was decided under other settings than the other side's; decide it again */
};

/* A failure as a person reads it: what was wrong (msg) and what to try (hint, may be empty). */
struct error {
    int code; /* enum err or -errno; 0 when unset */
    char msg[512];
    char hint[256];
};

/* Fills *e (which may be NULL: then only the code is returned). Returns code, so callers `return error_set(...)`. */
int error_set(struct error *e, int code, const char *fmt, ...) printf_like(3, 4);
/* As error_set with -errno and ": strerror(errno)" appended. Returns -errno (ENOSPC and EDQUOT as ERR_NO_SPACE). */
int error_errno(struct error *e, const char *fmt, ...) printf_like(2, 3);
/* Puts "context: " in front of e->msg. Returns e->code. */
int error_wrap(struct error *e, const char *fmt, ...) printf_like(2, 3);
/* Sets what to try. e may be NULL. */
void error_hint(struct error *e, const char *fmt, ...) printf_like(2, 3);
/* Short words for a code ("timed out", "not found"); strerror for -errno. Static storage or strerror's own. */
const char *error_name(int code);

#endif

/* Growable byte buffer. Thread: owned by its user. */
#include "common/core/buf.h"

#include "common/core/alloc.h"
#include "common/core/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void buf_init(struct buf *b, size_t limit) {
    *b = (struct buf){.limit = limit ? limit : 64 * 1024 * 1024};
}

void buf_fini(struct buf *b) {
    free(b->data);
    b->data = NULL;
    b->len = b->cap = 0;
}

void buf_clear(struct buf *b) {
    b->len = 0;
    if (b->data) b->data[0] = '\0';
}

/* Makes room for len more bytes and a NUL. */
static int buf_reserve(struct buf *b, size_t len) {
    if (len > b->limit - b->len) return ERR_TOO_BIG;
    size_t need = b->len + len + 1;
    if (need <= b->cap) return 0;
    size_t cap = b->cap ? b->cap : 256;
    while (cap < need)
        cap *= 2;
    char *data = xrealloc(b->data, cap, 1);
    b->data = data;
    b->cap = cap;
    return 0;
}

int buf_add(struct buf *b, const void *data, size_t len) {
    int r = buf_reserve(b, len);
    if (r < 0) return r;
    if (len) memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
    return 0;
}

int buf_add_str(struct buf *b, const char *s) {
    return buf_add(b, s, strlen(s));
}

int buf_printf(struct buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    int r = n < 0 ? ERR_INVALID : buf_reserve(b, (size_t)n);
    if (r == 0) {
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return r;
}

char *buf_steal(struct buf *b, size_t *len) {
    if (buf_reserve(b, 0) < 0) out_of_memory();
    b->data[b->len] = '\0';
    char *data = b->data;
    if (len) *len = b->len;
    b->data = NULL;
    b->len = b->cap = 0;
    return data;
}

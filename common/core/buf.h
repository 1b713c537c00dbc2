/* A growable byte buffer with a hard limit. Thread: owned by its user. */
#ifndef ENTREPOT_CORE_BUF_H
#define ENTREPOT_CORE_BUF_H

#include "common/core/base.h"

struct buf {
    char *data; /* NUL follows data[len] once anything was added; NULL when empty */
    size_t len;
    size_t cap;
    size_t limit; /* 0: 64 MiB */
};

/* limit: bytes the buffer may ever hold; adding beyond fails with ERR_TOO_BIG and changes nothing. */
void buf_init(struct buf *b, size_t limit);
void buf_fini(struct buf *b);
void buf_clear(struct buf *b); /* len = 0, memory kept */
int buf_add(struct buf *b, const void *data, size_t len) must_check;
int buf_add_str(struct buf *b, const char *s) must_check;
int buf_printf(struct buf *b, const char *fmt, ...) printf_like(2, 3) must_check;
/* Hands the memory (NUL-terminated, len in *len if wanted) to the caller, who frees it; b is empty again. */
char *buf_steal(struct buf *b, size_t *len);

#endif

/* Allocation that does not fail. Without memory a node can do nothing useful, and the service manager starts a new one.
 * So these functions end the process instead of returning NULL, and their callers need no error path. Sizes that come
 * from outside must be bounded before they get here. Thread: any. */
#ifndef ENTREPOT_CORE_ALLOC_H
#define ENTREPOT_CORE_ALLOC_H

#include "common/core/base.h"

/* Writes a line to standard error and aborts. For failed allocations inside libraries. */
_Noreturn void out_of_memory(void);

/* As malloc, calloc, reallocarray, strdup, strndup and asprintf. The caller frees. For size 0 they return memory that
 * may be freed but not used. */
void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *old, size_t n, size_t size) __attribute__((returns_nonnull, warn_unused_result));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *fmt, ...) printf_like(1, 2) __attribute__((malloc, returns_nonnull));
/* As xstrdup; NULL for NULL. */
char *xstrdup_or_null(const char *s) __attribute__((malloc));

#endif

/* Memory that is there. A node without memory cannot keep any promise, and the service manager starts a new one: so
 * these end the process rather than return NULL, and their callers have no error path for it. What strangers decide the
 * size of is bounded before it gets here. Thread: any. */
#ifndef ENTREPOT_CORE_ALLOC_H
#define ENTREPOT_CORE_ALLOC_H

#include "common/core/base.h"

/* Says so on standard error, and aborts. For what other libraries could not allocate. */
_Noreturn void out_of_memory(void);

/* As malloc, calloc, reallocarray, strdup, strndup and asprintf; the caller frees. Of a size of 0 they return memory
 * that may be freed but not used. */
void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *old, size_t n, size_t size) __attribute__((returns_nonnull, warn_unused_result));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *fmt, ...) printf_like(1, 2) __attribute__((malloc, returns_nonnull));

#endif

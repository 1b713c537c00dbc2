/* Allocation that ends the process when memory is out. Thread: any. */
#include "common/core/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void out_of_memory(void) {
    static const char said[] = "entrepot: out of memory\n";
    ssize_t n = write(STDERR_FILENO, said, sizeof(said) - 1); /* not by the log, which may allocate */
    (void)n;
    abort();
}

void *xmalloc(size_t size) {
    void *p = malloc(size ? size : 1);
    if (!p) out_of_memory();
    return p;
}

void *xcalloc(size_t n, size_t size) {
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p) out_of_memory();
    return p;
}

void *xrealloc(void *old, size_t n, size_t size) {
    void *p = reallocarray(old, n ? n : 1, size ? size : 1);
    if (!p) out_of_memory();
    return p;
}

char *xstrdup(const char *s) {
    char *p = strdup(s);
    if (!p) out_of_memory();
    return p;
}

char *xstrdup_or_null(const char *s) {
    return s ? xstrdup(s) : NULL;
}

char *xstrndup(const char *s, size_t n) {
    char *p = strndup(s, n);
    if (!p) out_of_memory();
    return p;
}

char *xasprintf(const char *fmt, ...) {
    va_list ap;
    char *p;
    va_start(ap, fmt);
    if (vasprintf(&p, fmt, ap) < 0) out_of_memory();
    va_end(ap);
    return p;
}

/* Files that are noticed when they are damaged: the SHA-256 of their content stands before it. Thread: any that may block.
 */
#ifndef ENTREPOT_CORE_SEALED_H
#define ENTREPOT_CORE_SEALED_H

#include "common/core/error.h"

/* The content, at most max bytes; the caller frees *data. -ENOENT; ERR_INVALID: it is cut short or damaged. */
int sealed_read(const char *path, size_t max, char **data, size_t *len, struct error *err) must_check;
/* Writes it at once, with mode 0600. */
int sealed_write(const char *path, const void *data, size_t len, struct error *err) must_check;

#endif

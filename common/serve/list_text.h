/* The text of a list, from the moment it is made until the client has it, in the budget LISTS. Thread: one at a time.
 */
#ifndef ENTREPOT_SERVE_LIST_TEXT_H
#define ENTREPOT_SERVE_LIST_TEXT_H

#include "common/core/base.h"

struct list_text;

/* Takes text, NUL-terminated and allocated; in the budget it has its place whatever else is there, for it exists
 * already. */
struct list_text *list_text_new(char *text);
/* Borrowed; *len: its bytes. */
const char *list_text_get(const struct list_text *t, size_t *len);
/* A struct list_text, for whoever sends it; NULL is fine. */
void list_text_free(void *t);

#endif

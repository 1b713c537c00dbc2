/* Thread: one at a time. */
#include "common/serve/list_text.h"

#include "common/core/alloc.h"
#include "common/core/budget.h"

#include <string.h>

struct list_text {
    char *text;
    size_t len;
};

struct list_text *list_text_new(char *text) {
    struct list_text *t = xcalloc(1, sizeof(*t));
    t->text = text;
    t->len = strlen(text);
    budget_force(BUDGET_LISTS, (int64_t)t->len);
    return t;
}

const char *list_text_get(const struct list_text *t, size_t *len) {
    *len = t->len;
    return t->text;
}

void list_text_free(void *arg) {
    struct list_text *t = arg;
    if (!t) return;
    budget_give(BUDGET_LISTS, (int64_t)t->len);
    free(t->text);
    free(t);
}

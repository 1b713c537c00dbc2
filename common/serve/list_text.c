/* Counts the text of a list in the budget. Thread: one at a time. */
#include "common/serve/list_text.h"

#include "common/core/alloc.h"
#include "common/core/budget.h"

#include <string.h>

struct list_text {
    char *text;
    size_t len;
};

/* What was taken beyond the length goes back; what is missing is taken. */
static bool settle(int64_t len, int64_t taken) {
    if (len > taken && !budget_take(BUDGET_LISTS, len - taken)) {
        budget_give(BUDGET_LISTS, taken);
        return false;
    }
    if (len < taken) budget_give(BUDGET_LISTS, taken - len);
    return true;
}

struct list_text *list_text_new(char *text, int64_t taken) {
    size_t len = strlen(text);
    if (!settle((int64_t)len, taken)) {
        free(text);
        return NULL;
    }
    struct list_text *t = xcalloc(1, sizeof(*t));
    t->text = text;
    t->len = len;
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

/* Header lines of an answer. Thread: owned by its user. */
#include "common/http/answer_head.h"

#include "common/core/alloc.h"

#include <string.h>
#include <strings.h>

bool answer_head_add(struct answer_head *h, const char *name, size_t name_len, const char *value, size_t value_len) {
    size_t need = name_len + value_len + 2;
    if (h->n >= ANSWER_HEADERS_MAX || memchr(value, '\0', value_len) || memchr(name, '\0', name_len)) return false;
    char *text = xrealloc(h->text, h->len + need, 1);
    h->text = text;
    memcpy(text + h->len, name, name_len);
    text[h->len + name_len] = '\0';
    memcpy(text + h->len + name_len + 1, value, value_len);
    text[h->len + need - 1] = '\0';
    h->len += need;
    h->n++;
    return true;
}

const char *answer_head_find(const struct answer_head *h, const char *name) {
    const char *found = NULL, *p = h->text;
    for (unsigned i = 0; i < h->n; i++) {
        const char *value = p + strlen(p) + 1;
        if (strcasecmp(p, name) == 0) found = value;
        p = value + strlen(value) + 1;
    }
    return found;
}

const char *answer_head_at(const struct answer_head *h, const char *name, unsigned i) {
    const char *p = h->text;
    for (unsigned k = 0; k < h->n; k++) {
        const char *value = p + strlen(p) + 1;
        if (strcasecmp(p, name) == 0 && i-- == 0) return value;
        p = value + strlen(value) + 1;
    }
    return NULL;
}

/* Digits only, below 10^18; else -2. */
static int64_t length_of(const char *value) {
    size_t digits = strspn(value, "0123456789");
    if (digits == 0 || digits > 18 || value[digits]) return -2;
    return strtoll(value, NULL, 10);
}

int64_t answer_head_length(const struct answer_head *h) {
    int64_t length = -1;
    bool chunked = false;
    const char *p = h->text;
    for (unsigned i = 0; i < h->n; i++) {
        const char *value = p + strlen(p) + 1;
        if (strcasecmp(p, "transfer-encoding") == 0) {
            if (strcasecmp(value, "chunked") != 0) return -2;
            chunked = true;
        } else if (strcasecmp(p, "content-length") == 0) {
            int64_t one = length_of(value);
            if (one < 0 || (length >= 0 && one != length)) return -2;
            length = one;
        }
        p = value + strlen(value) + 1;
    }
    return chunked ? -1 : length;
}

void answer_head_clear(struct answer_head *h) {
    h->len = h->n = 0;
}

void answer_head_fini(struct answer_head *h) {
    free(h->text);
    *h = (struct answer_head){0};
}
